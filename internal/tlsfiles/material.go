package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds what is read of one file. The authorities that a Linux system trusts take 220 KiB.
const maxFile = 4 << 20

// contents is what the files of one listener or client have.
type contents struct {
	cert, key, ca []byte
	digest        [sha256.Size]byte
}

// read reads the files that are named.
func (f files) read() (c contents, err error) {
	hash := sha256.New()
	for _, x := range []struct {
		file File
		into *[]byte
	}{{f.cert, &c.cert}, {f.key, &c.key}, {f.ca, &c.ca}} {
		if x.file.Path != "" {
			if *x.into, err = read(x.file); err != nil {
				return contents{}, err
			}
		}
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(*x.into)))
		hash.Write(length[:])
		hash.Write(*x.into)
	}
	hash.Sum(c.digest[:0])
	return c, nil
}

func read(f File) ([]byte, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name a PEM file that hm may read", f.Key, err) // err has the path
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: name a PEM file that hm may read", f.Key, err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s %s: the file has more than %d bytes: name a PEM file", f.Key, f.Path, maxFile)
	}
	return text, nil
}

// material is a TLS configuration and the certificates that are in it.
type material struct {
	config      *tls.Config
	leaf        *x509.Certificate // nil: there is no own certificate
	between     *x509.CertPool    // of the authorities between the own certificate and the roots
	authorities []*x509.Certificate
	digest      [sha256.Size]byte
}

func (f files) load() (*material, error) {
	c, err := f.read()
	if err != nil {
		return nil, err
	}
	return f.make(c)
}

// make makes a configuration of what the files have.
func (f files) make(c contents) (*material, error) {
	m := &material{digest: c.digest, config: &tls.Config{
		MinVersion: tls.VersionTLS12,
		// A session that is taken up again would skip the checks of a handshake: an authority that is trusted no more would
		// go on to count.
		SessionTicketsDisabled: true,
	}}
	if f.cert.Path != "" {
		if err := m.addCertificate(f.cert, f.key, c); err != nil {
			return nil, err
		}
	}
	if f.ca.Path == "" {
		return m, nil
	}
	pool, err := m.addAuthorities(f.ca, c.ca)
	if err != nil {
		return nil, err
	}
	if f.role != ofServer {
		m.config.RootCAs = pool
	}
	if f.role != ofClient {
		m.config.ClientCAs, m.config.ClientAuth = pool, f.ask
	}
	if f.role == ofPeer {
		m.config.MinVersion = tls.VersionTLS13
	}
	return m, nil
}

// addCertificate adds a certificate with its private key.
func (m *material) addCertificate(cert, key File, c contents) error {
	for _, x := range []struct {
		file File
		text []byte
	}{{cert, c.cert}, {key, c.key}} {
		if err := whole(x.file, x.text); err != nil {
			return err
		}
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("%s %s with %s %s: %w: name a PEM certificate and the PEM private key that belongs to it",
			cert.Key, cert.Path, key.Key, key.Path, err)
	}
	m.config.Certificates, m.leaf, m.between = []tls.Certificate{pair}, pair.Leaf, x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if x, err := x509.ParseCertificate(der); err == nil {
			m.between.AddCert(x)
		}
	}
	return nil
}

// addAuthorities adds the certificates of authorities.
func (m *material) addAuthorities(ca File, text []byte) (*x509.CertPool, error) {
	if err := whole(ca, text); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if x, err := x509.ParseCertificate(block.Bytes); err == nil { // the system's files may have some that Go cannot read
			pool.AddCert(x)
			m.authorities = append(m.authorities, x)
		}
	}
	if len(m.authorities) == 0 {
		return nil, fmt.Errorf("%s %s: there is no certificate in this file: name a file of PEM certificates", ca.Key, ca.Path)
	}
	return pool, nil
}

// whole refuses a file that ends in the middle of a block, as a file does that is being written. The rest of it may
// make sense: a list of authorities, for one, of which the last are missing.
func whole(f File, text []byte) error {
	begun, complete := bytes.Count(text, []byte("-----BEGIN ")), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		complete++
	}
	if begun > complete {
		return fmt.Errorf("%s %s: %d of %d PEM blocks in this file cannot be read: write the whole file", f.Key, f.Path, begun-complete, begun)
	}
	return nil
}

// usable refuses material that nobody would accept. It is asked of files that are to replace others: at the start there
// is nothing better.
func (m *material) usable(f files, now time.Time, check func(*x509.Certificate) error) error {
	if m.leaf == nil {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("%s %s: %w", f.cert.Key, f.cert.Path, err) }
	switch {
	case now.After(m.leaf.NotAfter):
		return fail(fmt.Errorf("the certificate expired at %s: write one that is valid", m.leaf.NotAfter.UTC().Format(time.RFC3339)))
	case now.Before(m.leaf.NotBefore):
		return fail(fmt.Errorf("the certificate is not valid before %s: look at the clock, or wait", m.leaf.NotBefore.UTC().Format(time.RFC3339)))
	}
	if f.role == ofPeer {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := m.leaf.Verify(x509.VerifyOptions{
				Roots: m.config.RootCAs, Intermediates: m.between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
			})
			if err != nil {
				return fail(fmt.Errorf("the authorities in %s %s do not vouch for it: %w: no peer with the same authorities would accept it",
					f.ca.Key, f.ca.Path, err))
			}
		}
	}
	if check != nil {
		if err := check(m.leaf); err != nil {
			return fail(err)
		}
	}
	return nil
}

// expiries gives when the certificates expire. Of several authorities the last one counts: an old one is left in the
// file while it is replaced.
func (m *material) expiries(f files) (all []Expiry) {
	if m.leaf != nil {
		all = append(all, Expiry{f.cert.Key, m.leaf.NotAfter})
	}
	if len(m.authorities) > 0 {
		last := m.authorities[0].NotAfter
		for _, a := range m.authorities[1:] {
			if a.NotAfter.After(last) {
				last = a.NotAfter
			}
		}
		all = append(all, Expiry{f.ca.Key, last})
	}
	return all
}

// Expiry is when the certificate in a file expires; of a file of authorities, the one that expires last.
type Expiry struct {
	Key string // of the configuration
	At  time.Time
}
