package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The keys of the lab's private Sigstore. Its certificate authority has an intermediate, as the
// public one has; what the programs read is PKCS#8, but for the certificate log, which wants SEC 1.

// issuerV2 is the certificate extension that names the OpenID Connect issuer
// (fulcio/docs/oid-info.md).
var issuerV2 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}

// makeSigstore writes into a folder: fulcio.chain (intermediate, root), fulcio.root and fulcio.key;
// ct.key and ct.pub; rekor.key and rekor.pub; tsa.chain (leaf, root) and tsa.key; issuer.key.
func makeSigstore(arguments []string) error {
	flags := flag.NewFlagSet("sigstore", flag.ExitOnError)
	folder := flags.String("folder", "", "where to write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := makeCodeSigningAuthority(*folder); err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	if err := makeTimestampAuthority(*folder); err != nil {
		return fmt.Errorf("making the timestamp authority: %w", err)
	}
	certificates, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	sec1, err := x509.MarshalECPrivateKey(certificates)
	if err != nil {
		return err
	}
	if err := write(*folder, "ct.key", encode("EC PRIVATE KEY", sec1)); err != nil {
		return err
	}
	if err := writePublic(*folder, "ct", certificates.Public()); err != nil {
		return err
	}
	_, signatures, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if err := writePrivate(*folder, "rekor", signatures); err != nil {
		return err
	}
	if err := writePublic(*folder, "rekor", signatures.Public()); err != nil {
		return err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writePrivate(*folder, "issuer", tokens)
}

func makeCodeSigningAuthority(folder string) error {
	root, rootDER, err := makeRoot("lab code signing root")
	if err != nil {
		return err
	}
	template := certificate(pkix.Name{CommonName: "lab code signing", Organization: []string{"lab"}})
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	der, key, err := root.sign(template)
	if err != nil {
		return err
	}
	chain := append(encode("CERTIFICATE", der), encode("CERTIFICATE", rootDER)...)
	if err := write(folder, "fulcio.chain", chain); err != nil {
		return err
	}
	if err := write(folder, "fulcio.root", encode("CERTIFICATE", rootDER)); err != nil {
		return err
	}
	return writePrivate(folder, "fulcio", key)
}

func makeTimestampAuthority(folder string) error {
	root, rootDER, err := makeRoot("lab timestamp root")
	if err != nil {
		return err
	}
	// RFC 3161, 2.3: the one extended key usage, and critical, which Go's template cannot say.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return err
	}
	template := certificate(pkix.Name{CommonName: "lab timestamp authority", Organization: []string{"lab"}})
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	der, key, err := root.sign(template)
	if err != nil {
		return err
	}
	chain := append(encode("CERTIFICATE", der), encode("CERTIFICATE", rootDER)...)
	if err := write(folder, "tsa.chain", chain); err != nil {
		return err
	}
	return writePrivate(folder, "tsa", key)
}

func makeRoot(name string) (authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return authority{}, nil, err
	}
	template := certificate(pkix.Name{CommonName: name, Organization: []string{"lab"}})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	return authority{certificate: parsed, key: key}, der, err
}

// makeKey writes NAME.key and NAME.pub: a key pair as people bring to cosign, of any algorithm.
func makeKey(arguments []string) error {
	flags := flag.NewFlagSet("key", flag.ExitOnError)
	folder := flags.String("folder", "", "where to write")
	name := flags.String("name", "", "name of the pair")
	algorithm := flags.String("algorithm", "ecdsa", "ecdsa, ed25519 or rsa")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	key, err := generate(*algorithm)
	if err != nil {
		return err
	}
	if err := writePrivate(*folder, *name, key); err != nil {
		return err
	}
	return writePublic(*folder, *name, key.Public())
}

func generate(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("%q is no algorithm of keys; say ecdsa, ed25519 or rsa", algorithm)
}

// makeExpired writes expired.crt and expired.key: a certificate of the lab's authority that ended
// an hour ago. Fulcio cannot be asked for one.
func makeExpired(arguments []string) error {
	flags := flag.NewFlagSet("expired", flag.ExitOnError)
	folder := flags.String("folder", "", "folder of the Sigstore's keys")
	out := flags.String("out", "", "where to write")
	email := flags.String("email", "", "whom the certificate names")
	issuer := flags.String("issuer", "", "the OpenID Connect issuer that the certificate names")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	ca, err := readCodeSigningAuthority(*folder)
	if err != nil {
		return err
	}
	named, err := asn1.MarshalWithParams(*issuer, "utf8")
	if err != nil {
		return err
	}
	template := certificate(pkix.Name{})
	template.NotBefore = time.Now().Add(-70 * time.Minute)
	template.NotAfter = time.Now().Add(-60 * time.Minute)
	template.EmailAddresses = []string{*email}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	template.ExtraExtensions = []pkix.Extension{{Id: issuerV2, Value: named}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("signing the certificate of %s: %w", *email, err)
	}
	if err := write(*out, "expired.crt", encode("CERTIFICATE", der)); err != nil {
		return err
	}
	return writePrivate(*out, "expired", key)
}

func readCodeSigningAuthority(folder string) (authority, error) {
	chain, err := os.ReadFile(filepath.Join(folder, "fulcio.chain"))
	if err != nil {
		return authority{}, fmt.Errorf("reading the certificate authority: %w", err)
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return authority{}, fmt.Errorf("the certificate authority in %s is not PEM", folder)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return authority{}, err
	}
	key, err := readPrivate(filepath.Join(folder, "fulcio.key"))
	return authority{certificate: parsed, key: key}, err
}

func readPrivate(path string) (crypto.Signer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return key.(crypto.Signer), nil
}

func writePrivate(folder, name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return write(folder, name+".key", encode("PRIVATE KEY", der))
}

func writePublic(folder, name string, key crypto.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	return write(folder, name+".pub", encode("PUBLIC KEY", der))
}

// makeEnvelope prints a Sigstore bundle (v0.3) of a statement signed with plain Ed25519: cosign
// verifies such bundles, but signs with Ed25519ph.
func makeEnvelope(arguments []string) error {
	flags := flag.NewFlagSet("envelope", flag.ExitOnError)
	keyFile := flags.String("key", "", "the key that signs")
	statement := flags.String("statement", "", "the in-toto statement")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	key, err := readPrivate(*keyFile)
	if err != nil {
		return err
	}
	const payloadType = "application/vnd.in-toto+json"
	// DSSE's pre-authentication encoding.
	encoded := fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(*statement), *statement)
	signature, err := key.Sign(rand.Reader, []byte(encoded), crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("signing the statement: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	hint := sha256.Sum256(spki)
	return json.NewEncoder(os.Stdout).Encode(object{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": object{"publicKey": object{"hint": base64.StdEncoding.EncodeToString(hint[:])}},
		"dsseEnvelope": object{
			"payload":     []byte(*statement),
			"payloadType": payloadType,
			"signatures":  []object{{"sig": signature}},
		},
	})
}
