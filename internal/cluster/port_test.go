package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGarbageOnThePort(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.leader()
	huge := bytes.Repeat([]byte("x"), 1<<20)
	send := func(target string, parts ...[]byte) {
		conn, err := net.Dial("tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		for _, p := range parts {
			if _, err := conn.Write(p); err != nil {
				return // closed by the node, as it should
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn) // until the node closes it
	}
	var refused, bad uint64
	for i, n := range c.nodes {
		target := c.opts[i].Listen
		before := n.Stats()
		var half []net.Conn
		for range 20 { // say nothing, and stay
			conn, err := net.Dial("tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			half = append(half, conn)
			defer conn.Close()
		}
		send(target, []byte("GET / HTTP/1.1\r\n\r\n"))
		send(target, []byte{0})
		send(target)
		send(target, []byte{carriesStatus}, frame("garbage"))
		send(target, []byte{carriesStatus}, frame(`{"from":"stranger","state":"leader"}`))
		send(target, []byte{carriesStatus}, []byte{'h', 'm', frameVersion, 0, 0x06, 0x40, 0, 0}, huge)
		send(target, []byte{carriesRaft}, huge)
		send(target, []byte{carriesRaft, 0}, []byte{0xc6, 0x06, 0x40, 0, 0}, huge)                                                          // msgpack: 100 MB of bytes
		send(target, []byte{carriesRaft, 0}, []byte{0xdf, 0xff, 0xff, 0xff, 0xff}, huge)                                                    // a map of 4 billion
		send(target, []byte{carriesRaft, 0}, append([]byte{0x81, 0xa7}, "Entries\xdd\xff\xff\xff\xff"...), huge)                            // an array of 4 billion entries
		send(target, []byte{carriesRaft, requestSnapshot}, append([]byte{0x81, 0xa4}, "Size\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"...), huge) // a snapshot without end
		after := n.Stats()
		refused += after.Refused - before.Refused
		bad += after.BadMessages - before.BadMessages
		_ = half
	}
	if refused < 9 || bad < 9 {
		t.Errorf("%d connections and %d messages were counted as refused, want 9 and 9 at least", refused, bad)
	}
	c.propose(dea(1))
	c.converged()
}

// strangers counts the connections that have not sent their first byte yet.
func (s *clusterPort) strangers() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.inbound && !c.identified && !c.evicted {
			n++
		}
	}
	return n
}

// authority makes certificates for tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = a.sign("ca", template, template, a.key)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(name string, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", secret)
	return cert
}

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue makes a certificate for 127.0.0.1 and for names.
func (a *authority) issue(name string, names ...string) TLS {
	a.sign(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.newKey())
	return TLS{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key"), CA: filepath.Join(a.dir, "ca.pem")}
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(i int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) })
	for i := range 10 {
		c.propose(dea(i))
	}
	c.converged()
	n := c.leader()
	eventually(t, "every peer's status arrives over TLS", func() bool {
		for _, m := range n.Members() {
			if !m.Healthy {
				return false
			}
		}
		return true
	})

	foreign := newAuthority(t).issue("stranger")
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	strangers := map[string]*tls.Config{"no certificate": {RootCAs: pool}}
	pair, err := tls.LoadX509KeyPair(foreign.Cert, foreign.Key)
	if err != nil {
		t.Fatal(err)
	}
	strangers["a certificate of another CA"] = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	good, err := tls.LoadX509KeyPair(c.opts[0].TLS.Cert, c.opts[0].TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	strangers["TLS 1.2"] = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}
	for name, config := range strangers {
		before := n.Stats().Refused
		conn, err := tls.Dial("tcp", n.opts.Listen, config)
		if err == nil { // TLS 1.3 tells a client of a refusal only when it reads
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = conn.Write([]byte{carriesStatus})
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with %s the answer is %v, want a refusal", name, err)
		}
		eventually(t, "the refusal is counted", func() bool { return n.Stats().Refused > before })
	}
	plain, err := net.Dial("tcp", n.opts.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	before := n.Stats().Refused
	_, _ = plain.Write([]byte{carriesRaft, 0, 0, 0, 0, 0, 0, 0})
	eventually(t, "plain TCP is refused", func() bool { return n.Stats().Refused > before })
}

func TestTLSFilesAreNamed(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue("a")
	for _, tt := range []struct {
		name string
		tls  TLS
		want string
	}{
		{"no certificate", TLS{Cert: "/none.pem", Key: good.Key, CA: good.CA}, "raft.tls.cert: open /none.pem"},
		{"another's key", TLS{Cert: good.Cert, Key: filepath.Join(ca.dir, "ca.key"), CA: good.CA}, "raft.tls.key"},
		{"no CA", TLS{Cert: good.Cert, Key: good.Key, CA: "/none.pem"}, "raft.tls.ca"},
		{"a CA that is none", TLS{Cert: good.Cert, Key: good.Key, CA: good.Key}, "raft.tls.ca"},
	} {
		if _, err := tt.tls.load(nil, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want one that says %q", tt.name, err, tt.want)
		}
	}
}
