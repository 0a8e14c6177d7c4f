// Package tlsfiles makes TLS configurations from PEM files. Its errors name the file, the configuration key that names
// the file, and what to do.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// File is a PEM file and what names it: a configuration key such as "raft.tls.ca", or a flag. An empty path means that
// there is no such file.
type File struct{ Key, Path string }

// Server gives the configuration of a TLS server with a certificate and its private key. With clientCA it asks every
// client for a certificate that one of these authorities has signed. It is nil if no file is named.
func Server(cert, key, clientCA File) (*tls.Config, error) {
	if cert.Path == "" && key.Path == "" && clientCA.Path == "" {
		return nil, nil
	}
	if cert.Path == "" {
		return nil, missing(cert, first(key, clientCA))
	}
	certificates, err := certificate(cert, key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certificates}
	if clientCA.Path != "" {
		if c.ClientCAs, err = authorities(clientCA); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// Client gives the configuration of a TLS client. Without ca it trusts the authorities that the system trusts. With
// cert and key it shows that certificate to servers that ask for one.
func Client(ca, cert, key File) (*tls.Config, error) {
	certificates, err := certificate(cert, key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certificates}
	if ca.Path != "" {
		if c.RootCAs, err = authorities(ca); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Peer gives the configuration of a node that is client and server of equal nodes: each shows its certificate to the
// other, and one of the authorities in ca must have signed it. All three files are needed; the configuration is nil if
// none is named.
func Peer(cert, key, ca File) (*tls.Config, error) {
	named := first(cert, key, ca)
	if named.Path == "" {
		return nil, nil
	}
	for _, f := range []File{cert, key, ca} {
		if f.Path == "" {
			return nil, missing(f, named)
		}
	}
	certificates, err := certificate(cert, key)
	if err != nil {
		return nil, err
	}
	pool, err := authorities(ca)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: certificates,
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// certificate reads a certificate with its private key. It gives none if neither file is named.
func certificate(cert, key File) ([]tls.Certificate, error) {
	switch {
	case cert.Path == "" && key.Path == "":
		return nil, nil
	case key.Path == "":
		return nil, missing(key, cert)
	case cert.Path == "":
		return nil, missing(cert, key)
	}
	certPEM, err := read(cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := read(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s %s with %s %s: %w: name a PEM certificate and the PEM private key that belongs to it",
			cert.Key, cert.Path, key.Key, key.Path, err)
	}
	return []tls.Certificate{pair}, nil
}

// authorities reads the certificates of authorities.
func authorities(ca File) (*x509.CertPool, error) {
	pem, err := read(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s: there is no certificate in this file: name a file of PEM certificates", ca.Key, ca.Path)
	}
	return pool, nil
}

func read(f File) ([]byte, error) {
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name a PEM file that hm may read", f.Key, err) // err has the path
	}
	return text, nil
}

func missing(f, named File) error {
	return fmt.Errorf("%s is missing, while %s is set: name both files, or neither", f.Key, named.Key)
}

// first gives the first file that is named.
func first(files ...File) File {
	for _, f := range files {
		if f.Path != "" {
			return f
		}
	}
	return File{}
}
