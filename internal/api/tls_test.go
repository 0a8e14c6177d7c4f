package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// authority signs certificates for a test. Its files are ca.pem, NAME.pem and NAME.key in dir.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(name string, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check := func(err error) {
		if err != nil {
			a.t.Fatal(err)
		}
	}
	check(err)
	tmpl.SerialNumber, tmpl.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	check(err)
	cert, err := x509.ParseCertificate(der)
	check(err)
	raw, err := x509.MarshalECPrivateKey(key)
	check(err)
	check(os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) node(name string) {
	a.sign(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// TestTLS has two nodes that ask every client for a certificate; a write goes through both.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	for _, name := range []string{"one", "two", "amy"} {
		a.node(name)
	}
	tls := func(w *apitest.Node, name string) api.Options {
		o := w.Options()
		o.TLS = api.TLS{Cert: a.file(name + ".pem"), Key: a.file(name + ".key"), ClientCA: a.file("ca.pem")}
		return o
	}
	leader, follower := apitest.Fleet(), apitest.Fleet()
	serve(t, tls(leader, "one"))
	follower.Follow("hm-2", "hm-1", writesOf(leader))
	addr := "https://" + host(serve(t, tls(follower, "two")))

	amy, err := api.NewClient(api.ClientOptions{Addr: addr, CA: a.file("ca.pem"), Cert: a.file("amy.pem"), Key: a.file("amy.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer amy.Close()
	if h, _, err := amy.SetHold(context.Background(), api.HoldRequest{Name: "x", By: "amy"}); err != nil || h.By != "amy" || len(leader.View().Holds()) != 1 {
		t.Errorf("%+v %v", h, err)
	}
	for name, o := range map[string]api.ClientOptions{
		"no certificate":    {Addr: addr, CA: a.file("ca.pem")},
		"unknown authority": {Addr: addr, Cert: a.file("amy.pem"), Key: a.file("amy.key")},
		"no TLS":            {Addr: "http://" + host(strings.Replace(addr, "https", "http", 1))},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := api.NewClient(o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, _, err := c.Status(context.Background()); err == nil {
				t.Error("was let in")
			}
		})
	}
}

func TestClientOptionsThatCannotBe(t *testing.T) {
	a := newAuthority(t)
	for name, o := range map[string]api.ClientOptions{
		"no URL":          {Addr: "127.0.0.1:5155"},
		"no host":         {Addr: "http://"},
		"another scheme":  {Addr: "ftp://x"},
		"a path":          {Addr: "http://x/y"},
		"a password":      {Addr: "http://amy:secret@x"},
		"no such CA":      {Addr: "http://x", CA: a.file("none")},
		"a key as CA":     {Addr: "http://x", CA: a.file("ca.key")},
		"half a pair":     {Addr: "http://x", Cert: a.file("ca.pem")},
		"a pair of wrong": {Addr: "http://x", Cert: a.file("ca.key"), Key: a.file("ca.pem")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := api.NewClient(o); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestClientOfSomethingElse asks servers that are no hm node.
func TestClientOfSomethingElse(t *testing.T) {
	for name, reply := range map[string]string{
		"no HTTP":       "hello\r\n",
		"an error page": "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\noops",
		"no JSON":       "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops",
		"a list":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
		"half":          "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 4096))
					_, _ = c.Write([]byte(reply))
					_ = c.Close()
				}
			}()
			defer func() { _ = l.Close(); <-done }()
			c, err := api.NewClient(api.ClientOptions{Addr: "http://" + l.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _, err = c.Status(context.Background())
			var p *api.Problem
			if err == nil || name == "an error page" && (!errors.As(err, &p) || p.Status != 500 || p.Hint == "") {
				t.Errorf("%v", err)
			}
		})
	}
}
