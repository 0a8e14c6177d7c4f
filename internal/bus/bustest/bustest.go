// Package bustest gives tests a real NATS server in the test's process, and a proxy that can stop passing bytes without
// closing anything, like a network that loses its peer.
package bustest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a running NATS server.
type Server struct {
	*server.Server
	opts server.Options
}

// Run starts a server on 127.0.0.1 for the length of the test. edit, which may be nil, changes its options.
func Run(t testing.TB, edit func(*server.Options)) *Server {
	t.Helper()
	o := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if edit != nil {
		edit(&o)
	}
	s := &Server{opts: o}
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

// Until polls cond until it is true, and fails the test after 30 s.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// Proxy passes TCP connections on to a target.
type Proxy struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	rate atomic.Int64 // bytes a second from the target to a client; 0: no limit

	mu     sync.Mutex
	passes *sync.Cond
	hole   bool
	closed bool
	conns  map[net.Conn]bool
}

// RunProxy starts a proxy to target (host:port) for the length of the test.
func RunProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, target: target, conns: map[net.Conn]bool{}}
	p.passes = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL is the proxy's address for clients.
func (p *Proxy) URL() string { return "nats://" + p.ln.Addr().String() }

// BlackHole makes the proxy pass no bytes and close nothing, or ends that.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
	p.passes.Broadcast()
}

// Throttle limits the bytes a second from the target to each client; 0 means no limit.
func (p *Proxy) Throttle(bytesPerSecond int) { p.rate.Store(int64(bytesPerSecond)) }

// slow waits for the time that n bytes take at the rate.
func (p *Proxy) slow(n int) {
	if rate := p.rate.Load(); rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil { // so that the buffers of a black hole fill soon
			c.Close()
			continue
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	if !p.keep(c) || !p.keep(s) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(s, c, func(int) {}) })
	both.Go(func() { p.pass(c, s, p.slow) })
	both.Wait()
}

func (p *Proxy) pass(to, from net.Conn, slow func(n int)) {
	buf := make([]byte, 1<<10)
	for {
		n, err := from.Read(buf)
		if !p.mayPass() {
			return
		}
		if n > 0 {
			slow(n)
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// mayPass waits while the proxy is a black hole. It returns false if the proxy ends.
func (p *Proxy) mayPass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.hole && !p.closed {
		p.passes.Wait()
	}
	return !p.closed
}

func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed
}

func (p *Proxy) close() {
	p.ln.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.passes.Broadcast()
	p.mu.Unlock()
	p.wg.Wait()
}
