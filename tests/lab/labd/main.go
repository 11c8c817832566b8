// Command labd is everything of the lab that is ours: the supervisor that owns the lab's processes
// and folder, the Git server, the certificate authorities, the OpenID provider and a port that can
// be closed. It uses only the standard library, so that it builds in a second and its cached binary
// rarely changes.
package main

import (
	"fmt"
	"os"
)

func main() {
	parts := map[string]func([]string) error{
		"supervise": supervise,
		"git":       serveGit,
		"forward":   forward,
		"authority": makeAuthority,
		"person":    makePerson,
		"sigstore":  makeSigstore,
		"key":       makeKey,
		"expired":   makeExpired,
		"envelope":  makeEnvelope,
		"issuer":    serveIssuer,
		"token":     makeToken,
	}
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: labd supervise|git|forward|authority|person|sigstore|key|expired|envelope|issuer|token [flags]")
		os.Exit(2)
	}
	if err := parts[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "labd %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
