// Command registry is an OCI registry in memory with the referrers API as the specification has it;
// `crane registry serve` leaves it out. Signatures are found through it, as in a registry that
// people run.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	handler := referrers{registry: registry.New(registry.WithReferrersSupport(true))}
	server := &http.Server{Addr: *address, Handler: handler}
	log.Fatal(server.ListenAndServe())
}
