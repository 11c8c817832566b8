package main

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Plain folders: every manifest below the folder, in the order of their paths. An object given
// twice is refused here, where both places are known.

type identity struct{ group, kind, namespace, name string }

type plainRender struct {
	files   *snapshot
	objects []json.RawMessage
	seen    map[identity]string // where each object was defined
}

func newPlainRender(files *snapshot) *plainRender {
	return &plainRender{files: files, seen: map[identity]string{}}
}

func renderPlain(files *snapshot, folder string) ([]json.RawMessage, *fault) {
	rendering := newPlainRender(files)
	if refused := rendering.folder(folder); refused != nil {
		return nil, refused
	}
	return rendering.objects, nil
}

func isManifest(file string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file))
}

func (r *plainRender) folder(folder string) *fault {
	for _, name := range r.files.list(folder) {
		inner := path.Join(folder, name)
		var refused *fault
		switch {
		case strings.HasSuffix(name, "/"):
			refused = r.folder(inner)
		case isKustomization(inner):
			refused = &fault{Kind: "unsupported", File: inner,
				Message: "a kustomization file in a folder of plain manifests; point a Sync at its own folder, or list it from a kustomization file above"}
		case isManifest(inner):
			refused = r.file(inner)
		}
		if refused != nil {
			return refused
		}
	}
	return nil
}

func (r *plainRender) file(file string) *fault {
	content := r.files.entry(file, false).File
	if content == nil { // a symbolic link that leaves the snapshot is listed, but not there
		return &fault{Kind: "escape", File: file, Message: "this file cannot be read from the repository; a link must point inside it"}
	}
	documents, refused := readDocuments(file, *content)
	if refused != nil {
		return refused
	}
	for _, found := range documents {
		if refused := r.add(found, found.json); refused != nil {
			return refused
		}
	}
	return nil
}

// add takes one object, or the items of a list, as kustomize and kubectl do.
func (r *plainRender) add(from document, object []byte) *fault {
	refusal := func(kind, format string, args ...any) *fault {
		return &fault{Kind: kind, File: from.file, Line: from.line, Message: fmt.Sprintf(format, args...)}
	}
	// A map, because struct fields would match keys of any case.
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil || fields == nil {
		return refusal("invalid", "not a Kubernetes object: a document must be a mapping with apiVersion and kind")
	}
	apiVersion, kind := text(fields["apiVersion"]), text(fields["kind"])
	if apiVersion == "" || kind == "" {
		return refusal("invalid", "not a Kubernetes object: apiVersion and kind must be set, as text")
	}
	if items, isList := fields["items"]; isList && strings.HasSuffix(kind, "List") {
		var inner []json.RawMessage
		if json.Unmarshal(items, &inner) != nil {
			return refusal("invalid", "the items of a %s must be a sequence", kind)
		}
		for _, item := range inner {
			if refused := r.add(from, item); refused != nil {
				return refused
			}
		}
		return nil
	}
	var metadata map[string]json.RawMessage
	_ = json.Unmarshal(fields["metadata"], &metadata)
	name, namespace := text(metadata["name"]), text(metadata["namespace"])
	if name == "" {
		return refusal("invalid", "%s without metadata.name; what is kept in Git needs a name of its own", kind)
	}
	group, _, versioned := strings.Cut(apiVersion, "/")
	if !versioned {
		group = ""
	}
	id := identity{group, kind, namespace, name}
	place := fmt.Sprintf("%s:%d", from.file, from.line)
	if before, twice := r.seen[id]; twice {
		return refusal("duplicate", "%s is defined twice, here and at %s; keep one", describe(object), before)
	}
	r.seen[id] = place
	r.objects = append(r.objects, object)
	return nil
}

func text(value json.RawMessage) string {
	var found string
	_ = json.Unmarshal(value, &found)
	return found
}

// describe names an object for people.
func describe(object []byte) string {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(object, &fields)
	var metadata map[string]json.RawMessage
	_ = json.Unmarshal(fields["metadata"], &metadata)
	name := text(metadata["name"])
	if namespace := text(metadata["namespace"]); namespace != "" {
		name = namespace + "/" + name
	}
	return readable(text(fields["kind"]) + " " + name)
}
