package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// TestTLS has two nodes that ask every client for a certificate; a write goes through both.
func TestTLS(t *testing.T) {
	a := tlstest.New(t)
	tls := func(w *apitest.Node, name string) api.Options {
		o := w.Options()
		o.TLS.Cert, o.TLS.Key = a.Issue(name, nil)
		o.TLS.ClientCA = a.CA
		return o
	}
	leader, follower := apitest.Fleet(), apitest.Fleet()
	serve(t, tls(leader, "one"))
	follower.Follow("hm-2", "hm-1", writesOf(leader))
	addr := "https://" + host(serve(t, tls(follower, "two")))

	cert, key := a.Issue("amy", nil)
	amy, err := api.NewClient(api.ClientOptions{Addr: addr, CA: a.CA, Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer amy.Close()
	if h, _, err := amy.SetHold(context.Background(), api.HoldRequest{Name: "x", By: "amy"}); err != nil || h.By != "amy" || len(leader.View().Holds()) != 1 {
		t.Errorf("%+v %v", h, err)
	}
	for name, o := range map[string]api.ClientOptions{
		"no certificate":    {Addr: addr, CA: a.CA},
		"unknown authority": {Addr: addr, Cert: cert, Key: key},
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

// TestCertificatesInTheStatus: the status and the metrics tell which certificates are in force, until when, and why newer
// ones are not.
func TestCertificatesInTheStatus(t *testing.T) {
	a := tlstest.New(t)
	expires := time.Now().Add(20 * 24 * time.Hour).UTC().Truncate(time.Second)
	dir := t.TempDir()
	cert, key := a.Issue("one", func(c *x509.Certificate) { c.NotAfter = expires })
	tlstest.Install(t, filepath.Join(dir, "cert"), cert)
	tlstest.Install(t, filepath.Join(dir, "key"), key)
	w := apitest.Fleet()
	o := w.Options()
	o.TLS = api.TLS{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	o.TLSFiles = tlsfiles.NewWatcher(slog.New(slog.DiscardHandler))
	o.Clock = time.Now
	addr := "https://" + host(serve(t, o))
	client, err := api.NewClient(api.ClientOptions{Addr: addr, CA: a.CA})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	status := func() api.TLSFiles {
		t.Helper()
		s, _, err := client.Status(t.Context())
		if err != nil || len(s.TLS) != 1 {
			t.Fatalf("%+v %v", s.TLS, err)
		}
		return s.TLS[0]
	}
	got := status()
	if got.Name != "api.tls" || got.Error != "" || !got.Since.IsZero() || len(got.Certificates) != 1 ||
		got.Certificates[0].Key != "api.tls.cert" || !got.Certificates[0].Expires.Equal(expires) {
		t.Errorf("the status has %+v", got)
	}
	tlstest.Install(t, filepath.Join(dir, "key"), a.CA)
	o.TLSFiles.Reload()
	if got = status(); !strings.Contains(got.Error, "api.tls.key") || got.Since.IsZero() {
		t.Errorf("with a bad key the status has %+v", got)
	}

	config, err := tlsfiles.Client(tlsfiles.File{Path: a.CA}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	http := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	r, err := http.Get(addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`hm_tls_files_refused{files="api.tls"} 1`, `hm_tls_files_read_total{files="api.tls",outcome="refused"} 1`,
		`hm_tls_files_read_total{files="api.tls",outcome="taken"} 0`, `hm_tls_certificate_expires_seconds{key="api.tls.cert"} 1.7`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestOnlyHTTP1: the API offers no HTTP/2, whose streams a client could open and reset without end.
func TestOnlyHTTP1(t *testing.T) {
	a := tlstest.New(t)
	o := apitest.Fleet().Options()
	o.TLS.Cert, o.TLS.Key = a.Issue("one", nil)
	address := host(serve(t, o))
	config, err := tlsfiles.Client(tlsfiles.File{Path: a.CA}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	if c, err := tls.Dial("tcp", address, config); err == nil {
		if p := c.ConnectionState().NegotiatedProtocol; p == "h2" {
			t.Error("h2 is spoken")
		}
		_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		answer, _ := io.ReadAll(io.LimitReader(c, 1<<10))
		if !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
			t.Errorf("the preface of HTTP/2 is answered with %q", answer)
		}
		_ = c.Close()
	}
	config.NextProtos = []string{"h2"}
	if c, err := tls.Dial("tcp", address, config); err == nil {
		if p := c.ConnectionState().NegotiatedProtocol; p != "" {
			t.Errorf("%q is spoken", p)
		}
		_ = c.Close()
	}
}

func TestClientOptionsThatCannotBe(t *testing.T) {
	cert, key := tlstest.New(t).Issue("amy", nil)
	for name, o := range map[string]api.ClientOptions{
		"no URL":          {Addr: "127.0.0.1:5155"},
		"no host":         {Addr: "http://"},
		"another scheme":  {Addr: "ftp://x"},
		"a path":          {Addr: "http://x/y"},
		"a password":      {Addr: "http://amy:secret@x"},
		"no such CA":      {Addr: "http://x", CA: cert + ".none"},
		"a key as CA":     {Addr: "http://x", CA: key},
		"half a pair":     {Addr: "http://x", Cert: cert},
		"a pair of wrong": {Addr: "http://x", Cert: key, Key: cert},
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
