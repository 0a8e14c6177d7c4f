package keyring

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// TestANewAuthorityIsReadAgain: the issuer of tokens gets a certificate of another authority. Once the file has that
// authority, the keys are read again, without a restart.
func TestANewAuthorityIsReadAgain(t *testing.T) {
	issuer := func(a *tlstest.Authority, keys string) *httptest.Server {
		cert, key := a.Issue("uaa", nil)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, keys) }))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		return s
	}
	before, after := tlstest.New(t), tlstest.New(t)
	first := issuer(before, jwks(t, "one"))
	first.StartTLS()
	address := first.Listener.Addr().String()

	watcher := tlsfiles.NewWatcher(slog.New(slog.DiscardHandler))
	file := filepath.Join(t.TempDir(), "ca.pem")
	tlstest.Install(t, file, before.CA)
	set, err := watcher.Client("api.jwt.ca", tlsfiles.File{Key: "api.jwt.ca", Path: file}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(Options{URL: "https://" + address, TLS: set, Times: Times{Apart: time.Nanosecond, Retry: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Renew(); ids(r) != "one" {
		t.Fatalf("the keys are %q", ids(r))
	}

	first.Close()
	second := issuer(after, jwks(t, "two"))
	if err := second.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	second.Listener = listenAgain(t, address)
	second.StartTLS()
	defer second.Close()
	if r.Renew(); ids(r) != "one" {
		t.Errorf("the keys of an issuer that nobody vouches for are taken: %q", ids(r))
	}
	tlstest.Install(t, file, after.CA)
	watcher.Reload()
	if r.Renew(); ids(r) != "two" {
		t.Errorf("with the new authority the keys are %q", ids(r))
	}
}

// listenAgain listens where a server has just stopped.
func listenAgain(t *testing.T, address string) net.Listener {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
