package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki writes keys and certificates into a folder:
//
//	pki DIR                           the authority (ca.crt, ca.key) and the key that tokens are signed with (sa.key, sa.pub)
//	pki DIR NAME ORG COMMON [HOST...] a certificate of the authority, for clients and servers (NAME.crt, NAME.key)
func pki(arguments []string) error {
	if len(arguments) == 1 {
		return authority(arguments[0])
	}
	if len(arguments) < 4 {
		return fmt.Errorf("pki: found %d arguments, expected DIR or DIR NAME ORG COMMON [HOST...]", len(arguments))
	}
	return certificate(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4:])
}

func authority(dir string) error {
	key, err := newKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return err
	}
	template := template("", "test-authority")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = nil
	if err := sign(filepath.Join(dir, "ca.crt"), template, template, &key.PublicKey, key); err != nil {
		return err
	}
	tokens, err := newKey(filepath.Join(dir, "sa.key"))
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&tokens.PublicKey)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public)
}

func certificate(dir, name, organization, common string, hosts []string) error {
	issuer, issuerKey, err := readAuthority(dir)
	if err != nil {
		return err
	}
	key, err := newKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return err
	}
	template := template(organization, common)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return sign(filepath.Join(dir, name+".crt"), template, issuer, &key.PublicKey, issuerKey)
}

func template(organization, common string) *x509.Certificate {
	subject := pkix.Name{CommonName: common}
	if organization != "" {
		subject.Organization = []string{organization}
	}
	// A number that is unique among the few certificates of a test's authority.
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func readAuthority(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(text)
	issuer, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	text, err = os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	block, _ = pem.Decode(text)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return issuer, key, err
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	bytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, write(path, "EC PRIVATE KEY", bytes)
}

func sign(path string, template, issuer *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) error {
	bytes, err := x509.CreateCertificate(rand.Reader, template, issuer, public, key)
	if err != nil {
		return err
	}
	return write(path, "CERTIFICATE", bytes)
}

func write(path, kind string, bytes []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
}
