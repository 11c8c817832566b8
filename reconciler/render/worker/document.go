package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// One reader says what a manifest means: sigs.k8s.io/yaml, which the API server and kubectl use
// (yes and on are booleans, 0777 is octal, << merges). Duplicate keys are errors. It reads one
// document; a file is cut at its document markers, which YAML allows nowhere else at the start of
// a line.

// document is one non-empty document of a file as JSON.
type document struct {
	file string
	line int // of its first line with content
	json []byte
}

// readDocuments reads all documents of a YAML or JSON file.
func readDocuments(file string, data []byte) ([]document, *fault) {
	if path.Ext(file) == ".json" {
		return readJSON(file, data)
	}
	var documents []document
	for _, part := range splitDocuments(data) {
		converted, err := yaml.YAMLToJSONStrict(part.text)
		if err != nil {
			return nil, yamlFault(file, part.line, err)
		}
		if string(converted) != "null" {
			documents = append(documents, document{file, part.firstContent(), converted})
		}
	}
	return documents, nil
}

type part struct {
	line int // of its first line, from 1
	text []byte
}

// firstContent is the first line that is neither empty, comment nor marker.
func (p part) firstContent() int {
	line := p.line
	for text := range bytes.Lines(p.text) {
		trimmed := bytes.TrimSpace(text)
		if len(trimmed) > 0 && trimmed[0] != '#' && !isMarker(text) {
			return line
		}
		line++
	}
	return p.line
}

func isMarker(line []byte) bool {
	rest, marked := bytes.CutPrefix(line, []byte("---"))
	return marked && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

func splitDocuments(data []byte) []part {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var parts []part
	start, startLine, offset, line := 0, 1, 0, 1
	for text := range bytes.Lines(data) {
		if isMarker(text) && offset > start {
			parts = append(parts, part{startLine, data[start:offset]})
			start, startLine = offset, line
		}
		offset += len(text)
		line++
	}
	return append(parts, part{startLine, data[start:]})
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parserMessages are those whose line the library counts from 0 (its scanner counts from 1).
var parserMessages = regexp.MustCompile(
	`did not find expected (<stream-start>|<document start>|node content|'-' indicator|key|',' or ']'|',' or '}')`)

// yamlFault places an error of the YAML library in the file; firstLine is where its text began.
func yamlFault(file string, firstLine int, err error) *fault {
	message := err.Error()
	found := &fault{Kind: "yaml", File: file}
	if match := yamlLine.FindStringSubmatch(message); match != nil {
		line, _ := strconv.Atoi(match[1])
		if parserMessages.MatchString(message) {
			line++
		}
		found.Line = firstLine + line - 1
	}
	for _, noise := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors:"} {
		message = strings.Replace(message, noise, "", 1)
	}
	message = yamlLine.ReplaceAllString(message, "")
	found.Message = "not valid YAML: " + readable(message)
	return found
}

// readJSON reads concatenated JSON values. They do not go through the YAML reader, because JSON
// allows tabs and surrogate escapes that YAML does not.
func readJSON(file string, data []byte) ([]document, *fault) {
	var documents []document
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		start := decoder.InputOffset()
		var value json.RawMessage
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err == nil {
			err = duplicateKey(value)
		}
		if err != nil {
			offset := decoder.InputOffset()
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				offset = syntax.Offset
			}
			return nil, &fault{Kind: "yaml", File: file, Line: lineAt(data, int(offset)),
				Message: "not valid JSON: " + readable(err.Error())}
		}
		leading := len(data[start:]) - len(bytes.TrimLeft(data[start:], " \t\r\n"))
		documents = append(documents, document{file, lineAt(data, int(start)+leading), value})
	}
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(offset, len(data))], []byte("\n"))
}

// duplicateKey refuses an object that has a key twice, at any depth.
func duplicateKey(value []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool
	}
	var levels []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		top := len(levels) - 1
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}, isKey: true})
			continue
		case json.Delim('['):
			levels = append(levels, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
			top--
		default:
			if top >= 0 && levels[top].isKey {
				key, _ := token.(string)
				if levels[top].keys[key] {
					return fmt.Errorf("key %q already set", key)
				}
				levels[top].keys[key] = true
				levels[top].isKey = false
				continue
			}
		}
		if top >= 0 && levels[top].keys != nil {
			levels[top].isKey = true // a value ended
		}
	}
}
