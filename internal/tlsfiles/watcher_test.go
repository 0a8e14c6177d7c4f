package tlsfiles_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// scene is a peer's files that a Watcher looks at, and two authorities.
type scene struct {
	t         *testing.T
	dir       string
	ca, other *tlstest.Authority
	watcher   *tlsfiles.Watcher
	set       *tlsfiles.Set
	log       *lines
	check     func(*x509.Certificate) error
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), part)
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, dir: t.TempDir(), ca: tlstest.New(t), other: tlstest.New(t), log: &lines{}}
	s.watcher = tlsfiles.NewWatcher(slog.New(slog.NewTextHandler(s.log, nil)))
	tlstest.Install(t, s.path("ca"), s.ca.CA)
	s.issue(s.ca, "first", nil)
	var err error
	s.set, err = s.watcher.Peer("raft.tls", s.file("cert"), s.file("key"), s.file("ca"), func(c *x509.Certificate) error {
		if s.check != nil {
			return s.check(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name+".pem") }

func (s *scene) file(name string) tlsfiles.File {
	return tlsfiles.File{Key: "raft.tls." + name, Path: s.path(name)}
}

// issue puts a new certificate and its key in place.
func (s *scene) issue(by *tlstest.Authority, name string, change func(*x509.Certificate)) {
	cert, key := by.Issue(name, change)
	tlstest.Install(s.t, s.path("cert"), cert)
	tlstest.Install(s.t, s.path("key"), key)
}

// inForce gives the name of the certificate in force.
func (s *scene) inForce() string { return s.set.Config().Certificates[0].Leaf.Subject.CommonName }

func (s *scene) state() tlsfiles.State { return s.watcher.States()[0] }

func (s *scene) want(name string, taken, refusals uint64, problem string) {
	s.t.Helper()
	got := s.state()
	if s.inForce() != name || got.Taken != taken || got.Refusals != refusals {
		s.t.Errorf("%s is in force, %d taken, %d refused; want %s, %d, %d", s.inForce(), got.Taken, got.Refusals, name, taken, refusals)
	}
	switch {
	case problem == "" && got.Err != nil:
		s.t.Errorf("the error is %v, want none", got.Err)
	case problem != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), problem)):
		s.t.Errorf("the error is %v, want one with %q", got.Err, problem)
	}
}

// TestNewFilesAreTaken: two looks in a row must find the same, unless a person asks.
func TestNewFilesAreTaken(t *testing.T) {
	s := newScene(t)
	now := time.Now()
	s.watcher.Look(now)
	s.watcher.Look(now)
	s.want("first", 0, 0, "")
	s.issue(s.ca, "second", nil)
	s.watcher.Look(now)
	s.want("first", 0, 0, "")
	s.watcher.Look(now)
	s.want("second", 1, 0, "")
	s.issue(s.ca, "third", nil)
	s.watcher.Reload()
	s.want("third", 2, 0, "")
	if n := s.log.count("new certificates are in force"); n != 2 {
		t.Errorf("%d log lines of new certificates, want 2", n)
	}
}

// TestBadFilesAreNotTaken: what cannot be used leaves what was read before in force, and is told once. A good file then
// counts.
func TestBadFilesAreNotTaken(t *testing.T) {
	cut := func(s *scene, name string) {
		text, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(name), text[:len(text)-40], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil   func(*scene)
		problem []string
	}{
		"half a certificate": {func(s *scene) { s.issue(s.ca, "second", nil); cut(s, "cert") }, []string{"raft.tls.cert", "write the whole file"}},
		"half a key":         {func(s *scene) { s.issue(s.ca, "second", nil); cut(s, "key") }, []string{"raft.tls.key", "write the whole file"}},
		"a list of authorities without its end": {func(s *scene) {
			tlstest.Install(s.t, s.path("ca"), s.ca.CA, s.other.CA)
			cut(s, "ca")
		}, []string{"raft.tls.ca", "1 of 2 PEM blocks"}},
		"the key of another certificate": {func(s *scene) {
			_, key := s.ca.Issue("second", nil)
			tlstest.Install(s.t, s.path("key"), key)
		}, []string{"raft.tls.cert", "raft.tls.key", "belongs to it"}},
		"an expired certificate": {func(s *scene) {
			s.issue(s.ca, "second", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, []string{"raft.tls.cert", "expired at"}},
		"an authority that nobody trusts": {func(s *scene) { s.issue(s.other, "second", nil) }, []string{"raft.tls.cert", "raft.tls.ca", "do not vouch for it"}},
		"the own authority taken away":    {func(s *scene) { tlstest.Install(s.t, s.path("ca"), s.other.CA) }, []string{"raft.tls.ca", "do not vouch for it"}},
		"a certificate for servers alone": {func(s *scene) {
			s.issue(s.ca, "second", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
		}, []string{"raft.tls.cert", "do not vouch for it"}},
		"the certificate of another node": {func(s *scene) {
			s.check = func(*x509.Certificate) error { return errors.New("it names another node") }
			s.issue(s.ca, "second", nil)
		}, []string{"raft.tls.cert", "it names another node"}},
		"no file": {func(s *scene) { _ = os.Remove(s.path("cert")) }, []string{"raft.tls.cert", "no such file"}},
		"a file without end": {func(s *scene) {
			if err := os.WriteFile(s.path("ca"), bytes.Repeat([]byte("x"), 5<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"raft.tls.ca", "more than"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			before := s.set.Config()
			c.spoil(s)
			for range 5 {
				s.watcher.Look(time.Now())
			}
			if s.set.Config() != before {
				t.Error("another configuration is in force")
			}
			for _, p := range c.problem {
				s.want("first", 0, 1, p)
			}
			if n := s.log.count("new certificates are not taken"); n != 1 {
				t.Errorf("%d log lines, want 1", n)
			}
			s.check = nil
			tlstest.Install(t, s.path("ca"), s.ca.CA)
			s.issue(s.ca, "good", nil)
			s.watcher.Reload()
			s.want("good", 1, 1, "")
		})
	}
}

// TestOldFilesComeBack: the error ends when the files are again what is in force.
func TestOldFilesComeBack(t *testing.T) {
	s := newScene(t)
	cert, key := s.ca.Issue("second", nil)
	saved := filepath.Join(s.dir, "saved")
	tlstest.Install(t, saved, s.path("key"))
	tlstest.Install(t, s.path("key"), key)
	s.watcher.Reload()
	s.want("first", 0, 1, "belongs to it")
	tlstest.Install(t, s.path("key"), saved)
	s.watcher.Look(time.Now())
	s.want("first", 0, 1, "")
	_ = cert
}

// TestNotValidYet: a certificate that is not valid yet is taken when its time has come.
func TestNotValidYet(t *testing.T) {
	s := newScene(t)
	now := time.Now()
	s.issue(s.ca, "second", func(c *x509.Certificate) { c.NotAfter = now.Add(3 * time.Hour) })
	early := now.Add(-3 * time.Hour) // certificates of tlstest begin two hours ago
	for range 3 {
		s.watcher.Look(early)
	}
	s.want("first", 0, 1, "not valid before")
	s.watcher.Look(now)
	s.want("second", 1, 1, "")
}

// TestComingExpiry is logged once a day, from 14 days before, and no more when there is a new certificate.
func TestComingExpiry(t *testing.T) {
	s := newScene(t)
	now := time.Now()
	s.issue(s.ca, "second", func(c *x509.Certificate) { c.NotAfter = now.Add(30 * 24 * time.Hour) })
	s.watcher.Reload()
	s.want("second", 1, 0, "")
	const soon, over = "a certificate expires soon\" module=tls key=raft.tls.cert", "a certificate has expired\" module=tls key=raft.tls.cert"
	at := func(days float64, wantSoon, wantOver int) {
		t.Helper()
		s.watcher.Look(now.Add(time.Duration(days * float64(24*time.Hour))))
		if a, b := s.log.count(soon), s.log.count(over); a != wantSoon || b != wantOver {
			t.Errorf("after %g days: %d and %d log lines, want %d and %d", days, a, b, wantSoon, wantOver)
		}
	}
	at(15, 0, 0)
	at(16.5, 1, 0)
	at(16.6, 1, 0)
	at(17.6, 2, 0)
	at(31, 2, 1)
	for _, e := range s.state().Expiries {
		if e.Key == "raft.tls.cert" && e.At.Sub(now).Round(time.Hour) != 30*24*time.Hour {
			t.Errorf("it expires at %s", e.At)
		}
	}
	s.issue(s.ca, "third", func(c *x509.Certificate) { c.NotAfter = now.Add(90 * 24 * time.Hour) })
	s.watcher.Reload()
	at(40, 2, 1)
}

// TestOfAuthoritiesTheLastCounts: while an authority is replaced, the old one may expire.
func TestOfAuthoritiesTheLastCounts(t *testing.T) {
	s := newScene(t)
	later := tlstest.New(t)
	cert, _ := later.Issue("root", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(1000 * time.Hour) })
	tlstest.Install(t, s.path("ca"), s.ca.CA, cert)
	s.watcher.Reload()
	for _, e := range s.state().Expiries {
		if e.Key == "raft.tls.ca" && time.Until(e.At) < 999*time.Hour {
			t.Errorf("the authorities expire at %s", e.At)
		}
	}
}

// TestListenerTakesNewFiles: a connection that stands goes on, a new handshake has the new certificate, and a client of
// an authority that is trusted no more is refused, even with a session that it had. The files are reached over a link
// that is turned, as on Kubernetes.
func TestListenerTakesNewFiles(t *testing.T) {
	dir, ca, other := t.TempDir(), tlstest.New(t), tlstest.New(t)
	versions := map[string]string{}
	for name, a := range map[string]*tlstest.Authority{"v1": ca, "v2": other} {
		v := filepath.Join(dir, name)
		if err := os.Mkdir(v, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := a.Issue(name, nil)
		tlstest.Install(t, filepath.Join(v, "cert"), cert)
		tlstest.Install(t, filepath.Join(v, "key"), key)
		tlstest.Install(t, filepath.Join(v, "ca"), a.CA)
		versions[name] = v
	}
	data := filepath.Join(dir, "data")
	turn := func(to string) {
		t.Helper()
		if err := os.Symlink(versions[to], data+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(data+".new", data); err != nil {
			t.Fatal(err)
		}
	}
	turn("v1")
	w := tlsfiles.NewWatcher(slog.New(slog.DiscardHandler))
	file := func(name string) tlsfiles.File {
		return tlsfiles.File{Key: "api.tls." + name, Path: filepath.Join(data, name)}
	}
	set, err := w.Server("api.tls", file("cert"), file("key"), file("ca"), tls.RequireAndVerifyClientCert)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := tls.NewListener(raw, set.ForListener())
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	sessions := tls.NewLRUClientSessionCache(8)
	dial := func(a *tlstest.Authority, version string) (*tls.Conn, error) {
		config, err := tlsfiles.Client(tlsfiles.File{Path: a.CA}, tlsfiles.File{Path: filepath.Join(versions[version], "cert")}, tlsfiles.File{Path: filepath.Join(versions[version], "key")})
		if err != nil {
			t.Fatal(err)
		}
		config = config.Clone()
		config.ServerName, config.ClientSessionCache = "localhost", sessions
		c, err := tls.Dial("tcp", raw.Addr().String(), config)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, echo(c)
	}
	old, err := dial(ca, "v1")
	if err != nil {
		t.Fatal(err)
	}
	turn("v2")
	w.Reload()
	if err := echo(old); err != nil {
		t.Errorf("the connection that stood: %v", err)
	}
	if _, err := dial(ca, "v1"); err == nil {
		t.Error("a client of the old authority got in")
	}
	fresh, err := dial(other, "v2")
	if err != nil {
		t.Fatal(err)
	}
	if name := fresh.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "v2" {
		t.Errorf("a new handshake shows %s, want v2", name)
	}
	_ = listener.Close()
	_ = old.Close()
	_ = fresh.Close()
	served.Wait()
}

// echo writes to a connection and reads the same.
func echo(c *tls.Conn) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// TestRunLooks: Run looks by itself and ends with its context, while others use what is in force.
func TestRunLooks(t *testing.T) {
	s := newScene(t)
	s.watcher.Often()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.watcher.Run(ctx) })
	running.Go(func() {
		for ctx.Err() == nil {
			s.watcher.Reload()
			_ = s.watcher.States()
		}
	})
	s.issue(s.ca, "second", nil)
	for deadline := time.Now().Add(30 * time.Second); s.inForce() != "second" && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	if s.inForce() != "second" {
		t.Errorf("%s is in force", s.inForce())
	}
}
