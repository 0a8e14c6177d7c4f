// Package tlsfiles makes TLS configurations from PEM files. Its errors name the file, the configuration key that names
// the file, and what to do. A Watcher reads the files again when they change.
package tlsfiles

import (
	"crypto/tls"
	"fmt"
)

// File is a PEM file and what names it: a configuration key such as "raft.tls.ca", or a flag. An empty path means that
// there is no such file.
type File struct{ Key, Path string }

// Server gives the configuration of a TLS server with a certificate and its private key. With clientCA it asks every
// client for a certificate that one of these authorities has signed. It is nil if no file is named.
func Server(cert, key, clientCA File) (*tls.Config, error) {
	return loadOnce(files{role: ofServer, cert: cert, key: key, ca: clientCA, ask: tls.RequireAndVerifyClientCert})
}

// Client gives the configuration of a TLS client. Without ca it trusts the authorities that the system trusts. With
// cert and key it shows that certificate to servers that ask for one.
func Client(ca, cert, key File) (*tls.Config, error) {
	return loadOnce(files{role: ofClient, cert: cert, key: key, ca: ca})
}

// Peer gives the configuration of a node that is client and server of equal nodes: each shows its certificate to the
// other, and one of the authorities in ca must have signed it. All three files are needed; the configuration is nil if
// none is named.
func Peer(cert, key, ca File) (*tls.Config, error) {
	return loadOnce(files{role: ofPeer, cert: cert, key: key, ca: ca, ask: tls.RequireAndVerifyClientCert})
}

func loadOnce(f files) (*tls.Config, error) {
	if none, err := f.check(); none || err != nil {
		return nil, err
	}
	m, err := f.load()
	if err != nil {
		return nil, err
	}
	return m.config, nil
}

// files are the files of one listener or client.
type files struct {
	role          role
	cert, key, ca File
	ask           tls.ClientAuthType // how clients are asked for certificates, if there is a ca
}

// role says what the files are for.
type role uint8

const (
	ofServer role = iota
	ofClient
	ofPeer
)

// check reports which file is missing, and whether the configuration needs no files: then there is none.
func (f files) check() (none bool, err error) {
	named := first(f.cert, f.key, f.ca)
	if named.Path == "" {
		return f.role != ofClient, nil
	}
	switch {
	case f.role == ofPeer:
		for _, x := range []File{f.cert, f.key, f.ca} {
			if x.Path == "" {
				return false, missing(x, named)
			}
		}
	case f.role == ofServer && f.cert.Path == "":
		return false, missing(f.cert, first(f.key, f.ca))
	case f.cert.Path != "" && f.key.Path == "":
		return false, missing(f.key, f.cert)
	case f.cert.Path == "" && f.key.Path != "":
		return false, missing(f.cert, f.key)
	}
	return false, nil
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
