package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// What a kustomization file names is checked before kustomize acts on it: kustomize tries a path
// as a file, then as a folder, then as a Git URL, and its message is about the last try. Here the
// message names the file, the line and the entry. The checks are for words, not for safety: the
// snapshot cannot be left and the worker has no network.

// reference is one entry of a kustomization file that names something to read.
type reference struct {
	field string
	path  string
	line  int
	// inline: the field may hold YAML instead of a path, so existence is not checked.
	inline bool
	// data: the file is content of a generated object, not YAML that kustomize reads.
	data bool
}

// refusedFields are what a render never does, with the way out.
var refusedFields = map[string]string{
	"helmCharts":                  "inflate the chart in CI and commit its output",
	"helmChartInflationGenerator": "inflate the chart in CI and commit its output",
	"helmGlobals":                 "inflate the chart in CI and commit its output",
}

func (s *snapshot) checkKustomization(file string, data []byte) *fault {
	if _, refused := readDocuments(file, data); refused != nil {
		return refused
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(data, &document); err != nil {
		return nil // kustomize says it
	}
	if len(document.Content) == 0 {
		return nil
	}
	fields := mapping(document.Content[0])
	for _, field := range fields {
		if wayOut, refused := refusedFields[field.key.Value]; refused {
			return &fault{Kind: "unsupported", File: file, Line: field.key.Line,
				Message: fmt.Sprintf("%s is not rendered; %s", field.key.Value, wayOut)}
		}
		if field.key.Value == "openapi" {
			s.openAPI = true
		}
		for _, entry := range references(field) {
			if refusal := s.checkReference(file, entry); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

func (s *snapshot) checkReference(file string, entry reference) *fault {
	refusal := func(kind, format string, args ...any) *fault {
		return &fault{Kind: kind, File: file, Line: entry.line, Message: fmt.Sprintf(format, args...)}
	}
	shown := readable(entry.path)
	joined := path.Join(path.Dir(file), entry.path)
	switch {
	case entry.path == "" || (entry.inline && strings.ContainsAny(entry.path, "\n{")):
		return nil
	case isRemote(entry.path):
		return refusal("remote", "%s names %s, which is remote; a render reads only the repository: commit a copy and name that",
			entry.field, shown)
	case path.IsAbs(entry.path):
		return refusal("escape", "%s names %s; name it relative to the kustomization file", entry.field, shown)
	case joined == ".." || strings.HasPrefix(joined, "../"):
		return refusal("escape", "%s names %s, which is outside the repository; a render reads only the repository",
			entry.field, shown)
	}
	if joined == "." {
		joined = ""
	}
	found := s.entry(joined, false)
	if found.File == nil && !found.IsDir && !entry.inline {
		return refusal("notFound", "%s names %s, but the repository has no %s", entry.field, shown, readable(joined))
	}
	if found.File == nil || entry.data {
		return nil
	}
	// kustomize's own reader takes duplicate keys and unfolds alias bombs.
	_, refused := readDocuments(joined, *found.File)
	if entry.field == "resources" || entry.field == "bases" {
		s.manifests = append(s.manifests, joined)
	}
	return refused
}

// remoteForm is what kustomize takes for a URL: a scheme, the old "git::", a user at a host, or a
// bare github.com.
var remoteForm = regexp.MustCompile(`(?i)^(git::|[a-z][a-z0-9+.-]*://|[a-z][a-z0-9-]*@[^/:]+[/:]|github\.com[/:])`)

func isRemote(name string) bool { return remoteForm.MatchString(name) }

type yamlField struct{ key, value *yamlv3.Node }

func resolve(node *yamlv3.Node) *yamlv3.Node {
	for node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	return node
}

func mapping(node *yamlv3.Node) []yamlField {
	node = resolve(node)
	if node.Kind != yamlv3.MappingNode {
		return nil
	}
	var fields []yamlField
	for i := 0; i+1 < len(node.Content); i += 2 {
		fields = append(fields, yamlField{node.Content[i], resolve(node.Content[i+1])})
	}
	return fields
}

func sequence(node *yamlv3.Node) []*yamlv3.Node {
	if node.Kind != yamlv3.SequenceNode {
		return nil
	}
	var items []*yamlv3.Node
	for _, item := range node.Content {
		items = append(items, resolve(item))
	}
	return items
}

// references are the paths that one field of a kustomization file names.
func references(field yamlField) []reference {
	name := field.key.Value
	switch name {
	case "resources", "bases", "components", "crds", "configurations":
		return scalars(name, field.value, false)
	case "generators", "transformers", "validators", "patchesStrategicMerge":
		return scalars(name, field.value, true)
	case "patches", "patchesJson6902", "replacements":
		return members(name, field.value, "path")
	case "configMapGenerator", "secretGenerator":
		return members(name, field.value, "files", "envs", "env")
	case "openapi":
		return member(name, field.value, "path")
	default:
		return nil
	}
}

func scalars(name string, node *yamlv3.Node, inline bool) []reference {
	if node.Kind == yamlv3.ScalarNode {
		return []reference{{field: name, path: node.Value, line: node.Line, inline: inline}}
	}
	var found []reference
	for _, item := range sequence(node) {
		if item.Kind == yamlv3.ScalarNode {
			found = append(found, reference{field: name, path: item.Value, line: item.Line, inline: inline})
		}
	}
	return found
}

func members(name string, node *yamlv3.Node, keys ...string) []reference {
	var found []reference
	for _, item := range sequence(node) {
		found = append(found, member(name, item, keys...)...)
	}
	return found
}

func member(name string, node *yamlv3.Node, keys ...string) []reference {
	var found []reference
	for _, field := range mapping(node) {
		for _, key := range keys {
			if field.key.Value != key {
				continue
			}
			for _, entry := range scalars(name+"."+key, field.value, false) {
				entry.data = key != "path"
				if key == "files" { // "name=path" or "path"
					if _, file, named := strings.Cut(entry.path, "="); named {
						entry.path = file
					}
				}
				found = append(found, entry)
			}
		}
	}
	return found
}
