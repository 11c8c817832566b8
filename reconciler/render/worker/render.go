package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// depthCap bounds nesting: the client's JSON reader stops at 128.
const depthCap = 100

func render(wire *connection, id uint64, asked renderRequest) reply {
	files := newSnapshot(wire, id)
	objects, refused := renderFolder(files, asked)
	if files.openAPI {
		openapi.ResetOpenAPI() // else this repository's schema would shape the next one's patches
		openapi.Schema()
	}
	if refused == nil {
		refused = tooDeep(objects)
	}
	if refused != nil {
		return reply{ID: id, Error: refused}
	}
	return reply{ID: id, Objects: objects, Done: true}
}

func renderFolder(files *snapshot, asked renderRequest) ([]json.RawMessage, *fault) {
	folder := files.entry(asked.Path, false)
	if !folder.IsDir {
		found := "has no such folder"
		if folder.File != nil {
			found = "has a file there"
		}
		return nil, &fault{Kind: "notFound", Message: fmt.Sprintf("path %q: the repository %s; name a folder", asked.Path, found)}
	}
	kind := asked.Kind
	if kind == "auto" {
		kind = "plain"
		for _, name := range konfig.RecognizedKustomizationFileNames() {
			if files.entry(path.Join(asked.Path, name), false).File != nil {
				kind = "kustomize"
			}
		}
	}
	if kind == "kustomize" {
		return renderKustomize(files, asked.Path)
	}
	return renderPlain(files, asked.Path)
}

// renderKustomize gives what `kustomize build` prints, in its order. Load restrictions are those
// of the snapshot: a base may be anywhere in the repository, and nothing outside exists.
func renderKustomize(files *snapshot, folder string) ([]json.RawMessage, *fault) {
	build := krusty.MakeKustomizer(&krusty.Options{
		Reorder:          krusty.ReorderOptionUnspecified,
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	})
	built, err := build.Run(files, path.Join(repositoryRoot, folder))
	if files.refused != nil {
		return nil, files.refused
	}
	if err != nil {
		return nil, kustomizeFault(files, folder, err)
	}
	objects := make([]json.RawMessage, 0, built.Size())
	for _, resource := range built.Resources() {
		object, err := resource.MarshalJSON()
		if err != nil {
			return nil, kustomizeFault(files, folder, fmt.Errorf("%s: %w", resource.CurId(), err))
		}
		objects = append(objects, bytes.TrimSpace(object))
	}
	return objects, nil
}

// kustomizeFault words what is wrong beyond one file: the files themselves were checked before.
func kustomizeFault(files *snapshot, folder string, err error) *fault {
	found := &fault{Kind: "invalid", Message: "kustomize: " + readable(err.Error())}
	if strings.Contains(found.Message, "may not add resource with an already registered id") {
		found.Kind = "duplicate"
		if twice := duplicateManifest(files); twice != nil {
			return twice
		}
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if file := path.Join(folder, name); files.known[file].File != nil {
			found.File = file
		}
	}
	return found
}

// duplicateManifest looks for an object that two places in the listed files define, because
// kustomize names only one. Objects that collide by their generated names are left to its message.
func duplicateManifest(files *snapshot) *fault {
	places := newPlainRender(files)
	for _, file := range files.manifests {
		if refused := places.file(file); refused != nil && refused.Kind == "duplicate" {
			return refused
		}
	}
	return nil
}

func isKustomization(file string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file))
}

// tooDeep counts brackets outside of strings.
func tooDeep(objects []json.RawMessage) *fault {
	for _, object := range objects {
		depth, inString, escaped := 0, false, false
		for _, c := range object {
			switch {
			case escaped:
				escaped = false
			case inString && c == '\\':
				escaped = true
			case c == '"':
				inString = !inString
			case inString:
			case c == '{' || c == '[':
				if depth++; depth > depthCap {
					return &fault{Kind: "limit", Message: fmt.Sprintf(
						"%s is nested more than %d levels deep", describe(object), depthCap)}
				}
			case c == '}' || c == ']':
				depth--
			}
		}
	}
	return nil
}
