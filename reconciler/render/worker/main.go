// Command render-worker turns one folder of a Git snapshot into Kubernetes objects with the
// official kustomize library, so that a render means exactly what people get from kustomize.
//
// It is a child of the engine that trusts neither its input nor itself: it confines itself before
// the first request, sees no file but those the client hands over, and ends when its stdin ends.
// The protocol is in protocol.go; the client is the crate tidegate-render.
package main

import (
	"fmt"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// protocolVersion is what the client must speak too.
const protocolVersion = 1

func main() {
	replies, err := takeStdout()
	if err != nil {
		fmt.Fprintln(os.Stderr, "render-worker: moving standard output aside:", err)
		os.Exit(1)
	}
	os.Clearenv()
	http.DefaultTransport = noNetwork{}
	openapi.Schema() // parsed once here, not in the first render
	protections := confine()

	wire := newConnection(os.Stdin, replies)
	wire.send(reply{Hello: &hello{Protocol: protocolVersion, Protections: protections}})
	for request := range wire.incoming {
		switch {
		case request.Render != nil:
			wire.send(render(wire, request.ID, *request.Render))
		case request.Probe != nil:
			wire.send(reply{ID: request.ID, Probes: runProbes(*request.Probe)})
		default:
			fmt.Fprintln(os.Stderr, "render-worker: a frame that belongs to no request")
			os.Exit(1)
		}
	}
}

// takeStdout moves the pipe to the client away from fd 1, where libraries print, and points fd 1
// at stderr.
func takeStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "replies"), nil
}

// noNetwork answers every HTTP request of a library with a refusal. The system calls are denied
// as well; this one is the readable message.
type noNetwork struct{}

func (noNetwork) RoundTrip(request *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("a render reads only the repository; %s is remote", redacted(request.URL.String()))
}
