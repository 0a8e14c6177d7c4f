// Package bustest gives tests a real NATS server in the test's process, and a proxy in front of it that behaves like a bad
// network.
package bustest

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a running NATS server.
type Server struct {
	*server.Server
	opts server.Options
	seen *published
}

// Run starts a server on 127.0.0.1 for the length of the test. edit, which may be nil, changes its options.
func Run(t testing.TB, edit func(*server.Options)) *Server {
	t.Helper()
	o := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if edit != nil {
		edit(&o)
	}
	s := &Server{opts: o, seen: &published{}}
	s.start(t)
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	o := s.opts
	srv, err := server.NewServer(&o)
	if err != nil {
		t.Fatalf("make a nats server: %v", err)
	}
	srv.SetLogger(trace{s.seen}, false, true)
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the nats server does not become ready")
	}
	s.Server = srv
	s.opts.Port = srv.Addr().(*net.TCPAddr).Port
}

// Stop ends the server and waits until it has ended.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// Restart stops the server and starts it again on its port. edit may change its options, or be nil.
func (s *Server) Restart(t testing.TB, edit func(*server.Options)) {
	t.Helper()
	s.Stop()
	s.Start(t, edit)
}

// Start starts a stopped server again on its port. edit may change its options, or be nil.
func (s *Server) Start(t testing.TB, edit func(*server.Options)) {
	t.Helper()
	if edit != nil {
		edit(&s.opts)
	}
	s.start(t)
}

// Reload changes the options of the running server: it keeps its connections, except those of users that were removed.
func (s *Server) Reload(t testing.TB, edit func(*server.Options)) {
	t.Helper()
	o := s.opts
	edit(&o)
	s.opts = o
	if err := s.ReloadOptions(&o); err != nil {
		t.Fatalf("reload the nats server's options: %v", err)
	}
}

// URL is the server's address for clients.
func (s *Server) URL() string { return "nats://" + s.Address() }

// Address is the server's host:port.
func (s *Server) Address() string {
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.opts.Port}).String()
}

// FreeAddress gives an address on 127.0.0.1 on which nothing listens.
func FreeAddress(t testing.TB) (address string, port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String(), ln.Addr().(*net.TCPAddr).Port
}

// Client is a plain connection for the test.
func Client(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// patience is long: the tests of other packages use the same processors, with the race detector.
const patience = 2 * time.Minute

// Until polls cond until it is true, and fails the test when that takes longer than patience.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}
