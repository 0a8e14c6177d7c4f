package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"hm/internal/bus/bustest"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca")
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

// issue writes name.pem and name-key.pem.
func (a *authority) issue(t *testing.T, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: a.cert == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.path(name): {Type: "CERTIFICATE", Bytes: der}, a.path(name + "-key"): {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server")
	ca.issue(t, "hm")
	pair, err := tls.LoadX509KeyPair(ca.path("server"), ca.path("server-key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	srv := bustest.Run(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert}
	})
	files := TLS{CA: ca.path("ca"), Cert: ca.path("hm"), Key: ca.path("hm-key")}
	l, _ := open(t, Options{Servers: []string{srv.URL()}, TLS: files})
	bustest.Until(t, "the link is up over TLS", up(l))
	if err := l.Publish(within(t, time.Minute), "a", nil); err != nil {
		t.Error(err)
	}

	stranger, log := open(t, Options{Servers: []string{srv.URL()}, TLS: TLS{CA: ca.path("ca")}})
	bustest.Until(t, "a node without a certificate is refused",
		func() bool { return strings.Contains(log.String(), "cannot connect") })
	distrustful, log2 := open(t, Options{Servers: []string{srv.URL()},
		TLS: TLS{CA: newAuthority(t).path("ca"), Cert: files.Cert, Key: files.Key}})
	bustest.Until(t, "a server of another authority is refused",
		func() bool { return strings.Contains(log2.String(), "certificate") })
	if stranger.State().Up || distrustful.State().Up {
		t.Error("a link is up, want it refused")
	}

	bare := bustest.Run(t, nil)
	_, log3 := open(t, Options{Servers: []string{bare.URL()}, TLS: files})
	bustest.Until(t, "a server without TLS is refused",
		func() bool { return strings.Contains(log3.String(), "offers no TLS") })
}

// TestNewAuthority: a link that stands is not touched by new files. The next connection is made with them.
func TestNewAuthority(t *testing.T) {
	before, after := tlstest.New(t), tlstest.New(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tlstest.Install(t, ca, before.CA)
	serverOf := func(a *tlstest.Authority) *bustest.Server {
		cert, key := a.Issue("server", nil)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return bustest.Run(t, func(o *server.Options) {
			o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
		})
	}
	first, second := serverOf(before), serverOf(after)
	w := tlsfiles.NewWatcher(slog.New(slog.DiscardHandler))
	l, log := open(t, Options{Servers: []string{first.URL(), second.URL()}, TLS: TLS{CA: ca}, TLSFiles: w})
	bustest.Until(t, "the link is up over TLS", up(l))
	epoch := l.State().Epoch
	tlstest.Install(t, ca, after.CA)
	w.Reload()
	if err := l.Publish(within(t, time.Minute), "a", nil); err != nil || l.State().Epoch != epoch {
		t.Errorf("after new files: %v, epoch %d, want none and %d", err, l.State().Epoch, epoch)
	}
	first.Stop()
	bustest.Until(t, "the link is up with the new authority", func() bool { s := l.State(); return s.Up && s.Epoch != epoch })
	if strings.Contains(log.String(), "certificate") {
		t.Errorf("the log speaks of a certificate:\n%s", log.String())
	}
}

// A link reads a new credentials file without a restart.
func TestCredentialsFile(t *testing.T) {
	operator, account := nkey(t, nkeys.CreateOperator), nkey(t, nkeys.CreateAccount)
	accountKey, operatorKey := public(t, account), public(t, operator)
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	creds := func(user nkeys.KeyPair, expires time.Time) []byte {
		t.Helper()
		claims := jwt.NewUserClaims(public(t, user))
		claims.Expires = expires.Unix()
		text, err := claims.Encode(account)
		if err != nil {
			t.Fatal(err)
		}
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		file, err := jwt.FormatUserConfig(text, seed)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountKey, accountJWT); err != nil {
		t.Fatal(err)
	}
	srv := bustest.Run(t, func(o *server.Options) {
		o.TrustedKeys, o.AccountResolver = []string{operatorKey}, resolver
	})
	user := nkey(t, nkeys.CreateUser)
	path := filepath.Join(t.TempDir(), "hm.creds")
	if err := os.WriteFile(path, creds(user, time.Now().Add(-time.Hour)), 0o600); err != nil {
		t.Fatal(err)
	}
	l, log := open(t, Options{Servers: []string{srv.URL()}, Creds: path})
	bustest.Until(t, "the expired credentials are refused",
		func() bool { return strings.Contains(log.String(), "nats.creds") })
	if err := os.WriteFile(path, creds(user, time.Now().Add(time.Hour)), 0o600); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), string(seed)) {
		t.Error("the log contains the seed")
	}
}

func nkey(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	s, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
