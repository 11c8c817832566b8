package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The lab's OpenID provider, as far as a relying party of ID tokens uses one (OpenID Connect
// Discovery 1.0, RFC 7517, RFC 7519): discovery document and keys over HTTP. Every path below its
// address is an issuer of its own, so that one process is the hospital's directory and a CI service.
// Tokens are made by `labd token`, which needs the key's file: nobody signs in here.

const tokenValidity = 5 * time.Minute

type object = map[string]any

func serveIssuer(arguments []string) error {
	flags := flag.NewFlagSet("issuer", flag.ExitOnError)
	listen := flags.String("listen", "", "address to open")
	keyFile := flags.String("key", "", "the key that signs tokens")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	key, err := readIssuerKey(*keyFile)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{issuer}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		issuer := "http://" + *listen + "/" + r.PathValue("issuer")
		writeJSON(w, object{
			"issuer":                                issuer,
			"jwks_uri":                              issuer + "/keys",
			"authorization_endpoint":                issuer + "/authorize",
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /{issuer}/keys", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, object{"keys": []object{publicJWK(key)}})
	})
	return http.ListenAndServe(*listen, mux)
}

func writeJSON(w http.ResponseWriter, content object) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(content)
}

// makeToken prints an ID token with the claims of a JSON object, for Sigstore, for five minutes.
func makeToken(arguments []string) error {
	flags := flag.NewFlagSet("token", flag.ExitOnError)
	keyFile := flags.String("key", "", "the key that signs tokens")
	issuer := flags.String("issuer", "", "the issuer, as in `iss`")
	claimsJSON := flags.String("claims", "{}", "further claims, a JSON object")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	key, err := readIssuerKey(*keyFile)
	if err != nil {
		return err
	}
	now := time.Now()
	claims := object{"aud": "sigstore", "iat": now.Unix(), "exp": now.Add(tokenValidity).Unix()}
	if err := json.Unmarshal([]byte(*claimsJSON), &claims); err != nil {
		return fmt.Errorf("reading the claims: %w", err)
	}
	claims["iss"] = *issuer
	header := object{"alg": "ES256", "typ": "JWT", "kid": publicJWK(key)["kid"]}
	parts := make([]string, 0, 3)
	for _, part := range []object{header, claims} {
		content, err := json.Marshal(part)
		if err != nil {
			return err
		}
		parts = append(parts, segment(content))
	}
	signature, err := signES256(key, strings.Join(parts, "."))
	if err != nil {
		return fmt.Errorf("signing the token: %w", err)
	}
	fmt.Print(strings.Join(append(parts, segment(signature)), "."))
	return nil
}

func readIssuerKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	ec, fits := key.(*ecdsa.PrivateKey)
	if !fits {
		return nil, fmt.Errorf("%s holds no ECDSA key", path)
	}
	return ec, nil
}

// signES256 signs as RFC 7518, 3.4: two numbers of 32 bytes, not ASN.1.
func signES256(key *ecdsa.PrivateKey, text string) ([]byte, error) {
	hash := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

func publicJWK(key *ecdsa.PrivateKey) object {
	// An uncompressed point: 0x04, x, y.
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	id := sha256.Sum256(point)
	return object{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
		"kid": segment(id[:8]),
		"x":   segment(point[1:33]), "y": segment(point[33:]),
	}
}

func segment(content []byte) string {
	return base64.RawURLEncoding.EncodeToString(content)
}
