package cluster

import (
	"crypto/x509"

	"hm/internal/tlsfiles"
)

// load reads the files. They serve both directions; the set is nil without TLS. w reads them again; a new certificate
// must pass check.
func (t TLS) load(w *tlsfiles.Watcher, check func(*x509.Certificate) error) (*tlsfiles.Set, error) {
	return w.Peer("raft.tls", tlsfiles.File{Key: "raft.tls.cert", Path: t.Cert}, tlsfiles.File{Key: "raft.tls.key", Path: t.Key},
		tlsfiles.File{Key: "raft.tls.ca", Path: t.CA}, check)
}
