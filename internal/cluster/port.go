package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/tlsfiles"
)

// The first byte of a connection says what the connection is for. With TLS it is the first encrypted byte.
const (
	carriesRaft   byte = 1
	carriesStatus byte = 2
)

// helloTimeout is the time limit for the TLS handshake and the first byte of an incoming connection.
const helloTimeout = 5 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// clusterPort owns the cluster's TCP port and every connection through it, in both directions. It is raft's
// StreamLayer. Status connections go to onPeer. Connections for something above the cluster go to a listener for each
// kind.
type clusterPort struct {
	listener  net.Listener
	advertise advertised
	tls       *tlsfiles.Set // nil: plain TCP
	log       *sampledLog
	onPeer    func(net.Conn) // runs on the connection's own goroutine; the connection is closed when it returns

	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	raft   chan net.Conn
	wg     sync.WaitGroup // the accept loop, a goroutine for each new or status connection, and raft's handlers

	writes, histories, relays *handed
	turns                     chan struct{} // has an element for each handshake that a stranger began within the last turnLasts

	requestTimeout time.Duration // time limit for one request to raft to arrive, or for the reply to be written
	members        atomic.Pointer[[]Peer]

	mu      sync.Mutex
	conns   map[*portConn]struct{}
	held    map[owner]int         // bytes of unanswered requests
	reached map[string]netip.Addr // IP addresses of members, by the address in raft.peers
	refused atomic.Uint64         // connections that were closed for what they sent or did not send, or to make room
}

// advertised is the address of this node as raft tells it to the peers.
type advertised string

// Network is "tcp".
func (advertised) Network() string { return "tcp" }

// String is host:port as configured.
func (a advertised) String() string { return string(a) }

// listen opens the port. serve must follow.
func listen(o Options, log *sampledLog) (*clusterPort, error) {
	s := &clusterPort{
		advertise: advertised(o.Advertise), log: log,
		raft: make(chan net.Conn), requestTimeout: 2 * transportTimeout(o), // the sender gives up first
		turns: make(chan struct{}, strangersAtOnce),
		conns: map[*portConn]struct{}{}, held: map[owner]int{}, reached: map[string]netip.Addr{},
	}
	s.setPeers(o.recognised())
	var err error
	if s.tls, err = o.TLS.load(o.TLSFiles, func(c *x509.Certificate) error { return s.speaksFor(c, o.ID) }); err != nil {
		return nil, err
	}
	if s.listener = o.listener; s.listener == nil {
		if s.listener, err = net.Listen("tcp", o.Listen); err != nil {
			return nil, fmt.Errorf("raft.listen: %w", err)
		}
	}
	s.writes = newHanded(s, "forwarded requests", maxWrites)
	s.histories = newHanded(s, "requests for events", maxHistories)
	s.relays = newHanded(s, "relayed heartbeats", maxRelays)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// serve starts to accept connections.
func (s *clusterPort) serve(onPeer func(net.Conn)) {
	s.onPeer = onPeer
	s.wg.Go(s.acceptLoop)
}

func (s *clusterPort) acceptLoop() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			s.log.log(slog.LevelError, "accept", "cannot accept a connection on the cluster port", "error", err)
			select { // out of file descriptors, most likely
			case <-s.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
				continue
			}
		}
		c, err := s.admit(conn)
		if err != nil {
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() { s.greet(c) })
	}
}

// greet finds out what a new connection is for and passes it on.
func (s *clusterPort) greet(c *portConn) {
	kind, err := s.hello(c)
	if err == nil {
		err = s.identify(c)
	}
	switch {
	case err != nil:
	case kind == carriesRaft:
		s.wg.Add(1) // until raft's handler closes it
		c.handled.Store(true)
		c.scanner = &requestScanner{}
		if c.cert != nil {
			c.scanner.allow = func(id string) error { return s.speaksFor(c.cert, id) }
		}
		select {
		case s.raft <- c:
			return
		case <-s.ctx.Done():
		}
	case kind == carriesStatus:
		s.onPeer(c)
	case s.handed(kind) != nil:
		if err = s.speaksForSomeone(c.cert); err == nil {
			if err = s.handed(kind).hand(c); err == nil {
				return // the receiver closes it
			}
		}
	default:
		err = fmt.Errorf("the first byte is %#02x, which stands for no kind of connection", kind)
	}
	if err != nil && s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		s.refuse(c, err)
	}
	_ = c.Close()
}

// hello does the TLS handshake of an incoming connection and reads its first byte.
func (s *clusterPort) hello(c *portConn) (kind byte, err error) {
	if err := s.awaitTurn(c); err != nil {
		return 0, err
	}
	if err := c.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return 0, err
	}
	if s.tls != nil {
		secure := tls.Server(c.Conn, s.tls.Config())
		if err := secure.HandshakeContext(s.ctx); err != nil {
			return 0, err
		}
		c.secure(secure)
		c.cert = secure.ConnectionState().PeerCertificates[0]
	}
	var first [1]byte
	if _, err := c.Read(first[:]); err != nil {
		return 0, err
	}
	return first[0], c.SetDeadline(time.Time{})
}

// Accept gives raft its next connection.
func (s *clusterPort) Accept() (net.Conn, error) {
	select {
	case c := <-s.raft:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial opens a connection for raft.
func (s *clusterPort) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.dial(string(address), timeout, carriesRaft)
}

func (s *clusterPort) dial(address string, timeout time.Duration, kind byte) (net.Conn, error) {
	id, _ := s.idOf(address)
	return s.dialAs(Peer{id, address}, timeout, kind)
}

// dialAs opens a connection to a node, which must show a certificate of that node. If the id is empty, that of any node
// suffices.
func (s *clusterPort) dialAs(to Peer, timeout time.Duration, kind byte) (_ net.Conn, err error) {
	address := to.Address
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c, err := s.track(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	if s.tls != nil {
		config := s.tls.Config().Clone()
		if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		if to.ID != "" {
			if err := s.speaksForPeer(secure.ConnectionState().PeerCertificates[0], to); err != nil {
				return nil, err
			}
		}
		c.secure(secure)
	}
	c.quiet = kind == carriesRaft
	s.noteReached(address, conn.RemoteAddr())
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte{kind}); err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// Addr is the address that peers are told.
func (s *clusterPort) Addr() net.Addr { return s.advertise }

// Close closes the port and every connection. It does not wait for their goroutines; wait does.
func (s *clusterPort) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.mu.Lock()
	conns := make([]*portConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.cut()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *clusterPort) wait() { s.wg.Wait() }

func (s *clusterPort) newConn(conn net.Conn) *portConn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // so that a half-open connection ends by itself
	}
	return &portConn{Conn: conn, raw: conn, port: s, opened: time.Now()}
}

// track registers a connection that this node opened, so that Close closes it. The limits on incoming connections do
// not apply to it: raft's pool and the number of senders bound these connections.
func (s *clusterPort) track(conn net.Conn) (*portConn, error) {
	c := s.newConn(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	s.conns[c] = struct{}{}
	return c, nil
}
