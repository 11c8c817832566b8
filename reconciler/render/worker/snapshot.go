package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// repositoryRoot is where the snapshot seems to be. It is not "/", because then "../../.." would
// be clamped to the root in silence instead of being seen as an escape.
const repositoryRoot = "/repository"

// snapshot is the file system that a render sees: read-only, filled on demand by the client.
//
// The first refusal is kept in `refused` and every later call repeats it, because kustomize treats
// a failed read as "perhaps it is a folder, or a URL" and buries the cause.
type snapshot struct {
	wire    *connection
	id      uint64
	known   map[string]answer
	listed  map[string]bool
	checked map[string]bool // kustomization files
	// manifests are the files that kustomization files list as resources, in that order.
	manifests []string
	refused   *fault
	// openAPI: a kustomization sets a schema, which the library keeps in a global.
	openAPI bool
}

func newSnapshot(wire *connection, id uint64) *snapshot {
	return &snapshot{wire: wire, id: id, known: map[string]answer{}, listed: map[string]bool{}, checked: map[string]bool{}}
}

var _ filesys.FileSystem = (*snapshot)(nil)

func (s *snapshot) refuse(f *fault) error {
	if s.refused == nil {
		s.refused = f
	}
	return s.refused
}

// relative turns a path of the library into one of the repository.
func (s *snapshot) relative(name string) (string, error) {
	clean := path.Clean(name)
	if !path.IsAbs(clean) {
		clean = path.Join(repositoryRoot, name)
	}
	if clean == repositoryRoot {
		return "", nil
	}
	if relative, inside := strings.CutPrefix(clean, repositoryRoot+"/"); inside {
		return relative, nil
	}
	return "", s.refuse(&fault{Kind: "escape",
		Message: fmt.Sprintf("%s is outside the repository; a render reads only the repository", readable(clean))})
}

// at says what is at a path of the library.
func (s *snapshot) at(name string) (answer, error) {
	if s.refused != nil {
		return answer{}, s.refused
	}
	relative, err := s.relative(name)
	if err != nil {
		return answer{}, err
	}
	return s.entry(relative, false), nil
}

// entry says what is at a path of the repository.
func (s *snapshot) entry(relative string, list bool) answer {
	if found, ok := s.known[relative]; ok && (!list || !found.IsDir || s.listed[relative]) {
		return found
	}
	if strings.ContainsAny(relative, "\n\x00") { // an inline patch that the library tries as a path
		return answer{Path: relative}
	}
	found := s.wire.ask(s.id, relative, list)
	s.known[relative] = found
	s.listed[relative] = list && found.IsDir
	return found
}

// list gives the sorted names in a folder of the repository; those of folders end with a slash.
func (s *snapshot) list(relative string) []string {
	names := slices.Clone(s.entry(relative, true).Folder)
	slices.Sort(names)
	return names
}

func missing(operation, name string) error {
	return &fs.PathError{Op: operation, Path: name, Err: fs.ErrNotExist}
}

// ReadFile is where kustomization files are checked before the library acts on them.
func (s *snapshot) ReadFile(name string) ([]byte, error) {
	found, err := s.at(name)
	if err != nil {
		return nil, err
	}
	if found.IsDir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	if found.File == nil {
		return nil, missing("open", name)
	}
	if isKustomization(found.Path) && !s.checked[found.Path] {
		s.checked[found.Path] = true
		if refusal := s.checkKustomization(found.Path, *found.File); refusal != nil {
			return nil, s.refuse(refusal)
		}
	}
	return slices.Clone(*found.File), nil
}

func (s *snapshot) IsDir(name string) bool {
	found, err := s.at(name)
	return err == nil && found.IsDir
}

func (s *snapshot) Exists(name string) bool {
	found, err := s.at(name)
	return err == nil && (found.IsDir || found.File != nil)
}

func (s *snapshot) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	found, err := s.at(name)
	if err != nil {
		return "", "", err
	}
	absolute := path.Join(repositoryRoot, found.Path)
	switch {
	case found.IsDir:
		return filesys.ConfirmedDir(absolute), "", nil
	case found.File != nil:
		return filesys.ConfirmedDir(path.Dir(absolute)), path.Base(absolute), nil
	default:
		return "", "", missing("open", name)
	}
}

// kustomize's build calls none of the following; the interface also serves `kustomize edit`.

var errReadOnly = errors.New("the repository snapshot is read-only")
var errNotServed = errors.New("not served from a repository snapshot")

func (s *snapshot) Create(string) (filesys.File, error)  { return nil, errReadOnly }
func (s *snapshot) Mkdir(string) error                   { return errReadOnly }
func (s *snapshot) MkdirAll(string) error                { return errReadOnly }
func (s *snapshot) RemoveAll(string) error               { return errReadOnly }
func (s *snapshot) WriteFile(string, []byte) error       { return errReadOnly }
func (s *snapshot) Open(string) (filesys.File, error)    { return nil, errNotServed }
func (s *snapshot) ReadDir(string) ([]string, error)     { return nil, errNotServed }
func (s *snapshot) Glob(string) ([]string, error)        { return nil, errNotServed }
func (s *snapshot) Walk(string, filepath.WalkFunc) error { return errNotServed }
