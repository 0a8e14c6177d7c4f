package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How long a raft connection may be silent. Raft keeps up to three unused connections to each peer until somebody
// closes them. The node that opened a connection stops using it long before the other node closes it: otherwise a
// request for a vote could be sent over a closed connection and be lost.
const (
	quietOut = time.Minute
	quietIn  = 2 * time.Minute

	stallTimeout = 10 * time.Second // between two parts of a snapshot
)

// errQuiet says that a connection was silent for too long to be used again. Nothing was sent over it.
var errQuiet = errors.New("the connection was silent for too long")

// portConn is a connection of the cluster port.
type portConn struct {
	net.Conn
	raw    net.Conn
	port   *clusterPort
	opened time.Time
	once   sync.Once

	inbound bool
	cert    *x509.Certificate // of the other end, if the connection is inbound and has TLS
	quiet   bool              // raft opened it: it is not used again after quietOut
	scanner *requestScanner   // of an inbound raft connection; only raft's handler uses it
	began   time.Time         // when raft was ready to read the present request
	gone    chan struct{}     // closed when it was evicted
	handled atomic.Bool       // raft's handler serves it; clusterPort.wait waits for that

	active atomic.Int64 // when bytes were last read or written, in nanoseconds since it was opened
	proven atomic.Bool  // a whole request, or a member's message, has arrived

	// Guarded by clusterPort.mu.
	owner      owner
	identified bool // its first byte and certificate have arrived
	evicted    bool // it was closed to make room, and counted as refused
	held       int  // bytes of unanswered requests
}

// secure puts TLS over the connection. Only the goroutine that opened the connection may call it, before it passes it
// on.
func (c *portConn) secure(over *tls.Conn) { c.Conn = over }

// cut ends the connection while another goroutine uses it. That goroutine must still call Close.
func (c *portConn) cut() { _ = c.raw.Close() }

// Close ends the connection and unregisters it.
func (c *portConn) Close() (err error) {
	c.once.Do(func() {
		s := c.port
		_ = s.hold(c, 0) // a decrease cannot fail
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		err = c.raw.Close()
		if c.handled.Load() {
			s.wg.Done()
		}
	})
	return err
}

// Read reads from the connection. Requests to raft are checked before raft sees them.
func (c *portConn) Read(b []byte) (int, error) {
	if c.scanner == nil {
		n, err := c.Conn.Read(b)
		c.touch(n)
		return n, err
	}
	if err := c.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	c.touch(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, c.late()
	}
	if n > 0 {
		if err := c.scan(b[:n]); err != nil {
			c.port.refuse(c, err)
			c.cut()
			return 0, err
		}
	}
	return n, err
}

// deadline is when the next bytes must arrive.
func (c *portConn) deadline() time.Time {
	s := c.port
	switch now := time.Now(); {
	case c.scanner.at == inBody:
		// The whole snapshot may take as long as the sender allows itself, but it must make progress: raft's main loop
		// waits for it.
		whole := c.began.Add(s.requestTimeout * time.Duration(2+c.scanner.data/(256<<10)))
		if next := now.Add(max(stallTimeout, s.requestTimeout)); next.Before(whole) {
			return next
		}
		return whole
	case c.scanner.at == inRequest:
		return c.began.Add(s.requestTimeout)
	case c.scanner.requests == 0:
		return c.opened.Add(2 * helloTimeout)
	default:
		return now.Add(quietIn)
	}
}

// late refuses a connection over which nothing arrived in time. A connection that is no longer used just ends.
func (c *portConn) late() error {
	if c.scanner.at == betweenRequests && c.scanner.requests > 0 {
		return io.EOF
	}
	err := errors.New("no request arrived")
	if c.scanner.at != betweenRequests {
		err = fmt.Errorf("a request was not complete %s after it began", time.Since(c.began).Round(time.Second))
	}
	c.port.refuse(c, err)
	return io.EOF
}

// scan checks bytes of requests to raft before raft sees them.
func (c *portConn) scan(b []byte) error {
	m := c.scanner
	before, requests := m.at, m.requests
	if err := m.feed(b); err != nil {
		return err
	}
	if before == betweenRequests || m.requests != requests {
		c.began = time.Now()
	}
	if m.requests > 0 && !c.proven.Load() {
		c.proven.Store(true)
	}
	if before == inBody && m.at == inBody {
		return nil // raft writes it to disk as it comes
	}
	return c.port.hold(c, c.held+len(b))
}

// Write writes to the connection.
func (c *portConn) Write(b []byte) (int, error) {
	switch {
	case c.quiet && time.Since(c.lastActive()) > quietOut:
		c.cut()
		return 0, errQuiet
	case c.scanner != nil:
		if err := c.SetWriteDeadline(time.Now().Add(c.port.requestTimeout)); err != nil {
			return 0, err
		}
		if err := c.port.hold(c, c.scanner.unanswered()); err != nil {
			return 0, err
		}
		c.began = time.Now() // before the reply raft could not read the next request
	}
	n, err := c.Conn.Write(b)
	c.touch(n)
	return n, err
}

func (c *portConn) lastActive() time.Time { return c.opened.Add(time.Duration(c.active.Load())) }

func (c *portConn) touch(n int) {
	if n > 0 {
		c.active.Store(int64(time.Since(c.opened)))
	}
}
