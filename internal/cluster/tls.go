package cluster

import (
	"crypto/tls"

	"hm/internal/tlsfiles"
)

// load reads the files. The configuration serves both directions; it is nil without TLS.
func (t TLS) load() (*tls.Config, error) {
	return tlsfiles.Peer(tlsfiles.File{Key: "raft.tls.cert", Path: t.Cert}, tlsfiles.File{Key: "raft.tls.key", Path: t.Key},
		tlsfiles.File{Key: "raft.tls.ca", Path: t.CA})
}
