package main

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// accessFile, inside a bare repository, holds `user:password` when that repository is private. It
// is read at every request, so a test can change a password under a running client.
const accessFile = "lab-access"

// serveGit serves a folder of bare repositories over smart HTTP, fetch and push, by Git's own
// http-backend.
func serveGit(arguments []string) error {
	flags := flag.NewFlagSet("git", flag.ExitOnError)
	root := flags.String("root", "", "folder of the bare repositories")
	listen := flags.String("listen", "127.0.0.1:0", "address")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return fmt.Errorf("the Git server needs git: %w", err)
	}
	backend := &cgi.Handler{
		Path:       git,
		Args:       []string{"http-backend"},
		InheritEnv: []string{"PATH", "HOME"},
		Env: []string{
			"GIT_PROJECT_ROOT=" + *root,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=2",
			"GIT_CONFIG_KEY_0=http.receivepack",
			"GIT_CONFIG_VALUE_0=true",
			"GIT_CONFIG_KEY_1=safe.directory",
			"GIT_CONFIG_VALUE_1=*",
		},
	}
	return http.ListenAndServe(*listen, gitHandler{root: *root, backend: backend})
}

type gitHandler struct {
	root    string
	backend http.Handler
}

func (h gitHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repository, _, found := strings.Cut(r.URL.Path, ".git/")
	if !found || strings.Contains(r.URL.Path, "..") {
		http.NotFound(w, r)
		return
	}
	if !h.allows(repository+".git", r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		http.Error(w, "this repository wants a user and a password", http.StatusUnauthorized)
		return
	}
	// CGI has no chunked requests; Git sends them for large pushes.
	if r.ContentLength < 0 {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	h.backend.ServeHTTP(w, r)
}

func (h gitHandler) allows(repository string, r *http.Request) bool {
	expected, err := os.ReadFile(filepath.Join(h.root, filepath.FromSlash(repository), accessFile))
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	user, password, given := r.BasicAuth()
	presented := []byte(user + ":" + password)
	return err == nil && given && subtle.ConstantTimeCompare(presented, bytes.TrimSpace(expected)) == 1
}
