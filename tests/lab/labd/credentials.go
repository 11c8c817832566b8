package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The lab's credentials are made when it starts and die with its folder. Everybody has an own
// client certificate, as common name and organisations, and gets it as a kubeconfig.

const validity = 48 * time.Hour

type names []string

func (n *names) String() string { return fmt.Sprint(*n) }

func (n *names) Set(value string) error {
	*n = append(*n, value)
	return nil
}

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// makeAuthority writes into a folder: ca.crt and ca.key, server.crt and server.key for 127.0.0.1,
// and sa.key and sa.pub, the pair that signs service account tokens.
func makeAuthority(arguments []string) error {
	flags := flag.NewFlagSet("authority", flag.ExitOnError)
	folder := flags.String("folder", "", "where to write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificate(pkix.Name{CommonName: "lab"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making the authority: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	if err := writePair(*folder, "ca", der, key); err != nil {
		return err
	}
	ca := authority{certificate: parsed, key: key}
	server := certificate(pkix.Name{CommonName: "kube-apiserver"})
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	server.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	der, serverKey, err := ca.sign(server)
	if err != nil {
		return err
	}
	if err := writePair(*folder, "server", der, serverKey); err != nil {
		return err
	}
	return writeServiceAccountKeys(*folder)
}

func writeServiceAccountKeys(folder string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := write(folder, "sa.key", encode("PRIVATE KEY", private)); err != nil {
		return err
	}
	return write(folder, "sa.pub", encode("PUBLIC KEY", public))
}

// makePerson writes a kubeconfig with a fresh client certificate.
func makePerson(arguments []string) error {
	flags := flag.NewFlagSet("person", flag.ExitOnError)
	folder := flags.String("authority", "", "folder of the authority")
	server := flags.String("server", "", "URL of the API server")
	name := flags.String("cn", "", "user name")
	out := flags.String("out", "", "kubeconfig to write")
	var groups names
	flags.Var(&groups, "org", "a group; may be repeated")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	ca, caPEM, err := readAuthority(*folder)
	if err != nil {
		return err
	}
	template := certificate(pkix.Name{CommonName: *name, Organization: groups})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, key, err := ca.sign(template)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	content, err := kubeconfig(*server, *name, caPEM, encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER))
	if err != nil {
		return err
	}
	return write(filepath.Dir(*out), filepath.Base(*out), content)
}

// kubeconfig is JSON, which is YAML; byte slices marshal as the base64 that the format wants.
func kubeconfig(server, user string, ca, certificate, key []byte) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters":   []object{{"name": "lab", "cluster": object{"server": server, "certificate-authority-data": ca}}},
		"users":      []object{{"name": user, "user": object{"client-certificate-data": certificate, "client-key-data": key}}},
		"contexts":   []object{{"name": "lab", "context": object{"cluster": "lab", "user": user}}},

		"current-context": "lab",
	}, "", "  ")
}

func readAuthority(folder string) (authority, []byte, error) {
	certificatePEM, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return authority{}, nil, fmt.Errorf("reading the authority: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(folder, "ca.key"))
	if err != nil {
		return authority{}, nil, fmt.Errorf("reading the authority: %w", err)
	}
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return authority{}, nil, fmt.Errorf("the authority in %s is not PEM", folder)
	}
	parsed, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return authority{}, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return authority{}, nil, err
	}
	return authority{certificate: parsed, key: key.(crypto.Signer)}, certificatePEM, nil
}

func (a authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return der, key, nil
}

func certificate(subject pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func writePair(folder, name string, der []byte, key *ecdsa.PrivateKey) error {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := write(folder, name+".crt", encode("CERTIFICATE", der)); err != nil {
		return err
	}
	return write(folder, name+".key", encode("PRIVATE KEY", keyDER))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(folder, name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
		return fmt.Errorf("writing credentials: %w", err)
	}
	return nil
}
