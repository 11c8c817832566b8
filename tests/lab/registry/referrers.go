package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
)

// referrers corrects the library's list of referrers: it names the type of a manifest's config
// where the distribution specification ("Listing Referrers") wants the manifest's own artifactType
// and its annotations, and it knows no filter.
type referrers struct {
	registry http.Handler
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

func (h referrers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repository, _, found := strings.Cut(r.URL.Path, "/referrers/")
	if !found || r.Method != http.MethodGet {
		h.registry.ServeHTTP(w, r)
		return
	}
	listed := h.get(r, r.URL.Path)
	var list index
	if listed.Code != http.StatusOK || json.Unmarshal(listed.Body.Bytes(), &list) != nil {
		w.WriteHeader(listed.Code)
		_, _ = w.Write(listed.Body.Bytes())
		return
	}
	wanted := r.URL.Query().Get("artifactType")
	kept := []descriptor{}
	for _, each := range list.Manifests {
		var manifest struct {
			ArtifactType string            `json:"artifactType"`
			Annotations  map[string]string `json:"annotations"`
		}
		content := h.get(r, repository+"/manifests/"+each.Digest)
		if json.Unmarshal(content.Body.Bytes(), &manifest) == nil && manifest.ArtifactType != "" {
			each.ArtifactType = manifest.ArtifactType
		}
		each.Annotations = manifest.Annotations
		if wanted == "" || each.ArtifactType == wanted {
			kept = append(kept, each)
		}
	}
	list.Manifests = kept
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	_ = json.NewEncoder(w).Encode(list)
}

// get asks the library's registry, without a query.
func (h referrers) get(r *http.Request, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.registry.ServeHTTP(recorder, httptest.NewRequestWithContext(r.Context(), http.MethodGet, path, nil))
	return recorder
}
