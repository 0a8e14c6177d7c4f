package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigurations(t *testing.T) {
	f := newTestFiles(t)
	none := File{"ca", ""}
	for name, c := range map[string]struct {
		make func() (*tls.Config, error)
		want func(*tls.Config) bool
	}{
		"server without TLS": {func() (*tls.Config, error) { return Server(File{}, File{}, File{}) }, func(c *tls.Config) bool { return c == nil }},
		"server": {func() (*tls.Config, error) { return Server(f.cert, f.key, none) }, func(c *tls.Config) bool {
			return len(c.Certificates) == 1 && c.ClientAuth == tls.NoClientCert && c.MinVersion == tls.VersionTLS12
		}},
		"server that asks for certificates": {func() (*tls.Config, error) { return Server(f.cert, f.key, f.ca) }, func(c *tls.Config) bool {
			return c.ClientAuth == tls.RequireAndVerifyClientCert && c.ClientCAs != nil
		}},
		"client that trusts the system's authorities": {func() (*tls.Config, error) { return Client(none, File{}, File{}) }, func(c *tls.Config) bool {
			return c.RootCAs == nil && len(c.Certificates) == 0 && c.MinVersion == tls.VersionTLS12
		}},
		"client with a certificate": {func() (*tls.Config, error) { return Client(f.ca, f.cert, f.key) }, func(c *tls.Config) bool {
			return c.RootCAs != nil && len(c.Certificates) == 1
		}},
		"peer without TLS": {func() (*tls.Config, error) { return Peer(File{}, File{}, File{}) }, func(c *tls.Config) bool { return c == nil }},
		"peer": {func() (*tls.Config, error) { return Peer(f.cert, f.key, f.ca) }, func(c *tls.Config) bool {
			return c.RootCAs != nil && c.ClientCAs != nil && c.ClientAuth == tls.RequireAndVerifyClientCert && c.MinVersion == tls.VersionTLS13
		}},
	} {
		if got, err := c.make(); err != nil || !c.want(got) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestErrorsNameKeyAndFile: whoever reads the error knows which key to correct, and how.
func TestErrorsNameKeyAndFile(t *testing.T) {
	f := newTestFiles(t)
	absent := func(key string) File { return File{key, filepath.Join(f.dir, "absent.pem")} }
	for name, c := range map[string]struct {
		err  func() error
		want []string
	}{
		"certificate without key": {f.server(f.cert, File{"key", ""}, File{}), []string{"key is missing, while cert is set", "both files, or neither"}},
		"key without certificate": {f.server(File{"cert", ""}, f.key, File{}), []string{"cert is missing, while key is set"}},
		"client authority alone":  {f.server(File{"cert", ""}, File{"key", ""}, f.ca), []string{"cert is missing, while ca is set"}},
		"absent certificate":      {f.server(absent("cert"), f.key, File{}), []string{"cert: open ", "absent.pem", "no such file", "may read"}},
		"absent key":              {f.server(f.cert, absent("key"), File{}), []string{"key: open ", "absent.pem", "no such file"}},
		"absent authority":        {f.client(absent("ca"), File{}, File{}), []string{"ca: open ", "absent.pem", "no such file"}},
		"wrong key":               {f.client(f.ca, f.cert, f.otherKey), []string{"cert " + f.cert.Path, "key " + f.otherKey.Path, "belongs to it"}},
		"text as certificate":     {f.client(f.ca, File{"cert", f.text.Path}, f.key), []string{"cert " + f.text.Path, "PEM"}},
		"text as authority":       {f.client(f.text, File{}, File{}), []string{"ca " + f.text.Path, "no certificate", "PEM certificates"}},
		"key as authority":        {f.client(File{"ca", f.key.Path}, File{}, File{}), []string{"ca " + f.key.Path, "no certificate"}},
		"peer without authority":  {f.peer(f.cert, f.key, File{"ca", ""}), []string{"ca is missing, while cert is set"}},
		"peer without key":        {f.peer(f.cert, File{"key", ""}, f.ca), []string{"key is missing, while cert is set"}},
		"peer with authority":     {f.peer(File{"cert", ""}, File{"key", ""}, f.ca), []string{"cert is missing, while ca is set"}},
	} {
		err := c.err()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error %q lacks %q", name, err, want)
			}
		}
	}
}

// testFiles are a certificate that is its own authority, its key, another certificate's key, and a file of plain text.
type testFiles struct {
	dir                           string
	ca, cert, key, otherKey, text File
}

func (testFiles) server(cert, key, ca File) func() error {
	return func() error { _, err := Server(cert, key, ca); return err }
}

func (testFiles) client(ca, cert, key File) func() error {
	return func() error { _, err := Client(ca, cert, key); return err }
}

func (testFiles) peer(cert, key, ca File) func() error {
	return func() error { _, err := Peer(cert, key, ca); return err }
}

func newTestFiles(t *testing.T) testFiles {
	t.Helper()
	f := testFiles{dir: t.TempDir()}
	write := func(name string, text []byte) string {
		path := filepath.Join(f.dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issue := func(name string) (cert, key string) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	}
	cert, key := issue("one")
	_, otherKey := issue("other")
	f.ca, f.cert, f.key, f.otherKey = File{"ca", cert}, File{"cert", cert}, File{"key", key}, File{"key", otherKey}
	f.text = File{"ca", write("text", []byte("not a certificate"))}
	return f
}
