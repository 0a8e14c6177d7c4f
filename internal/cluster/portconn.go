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

// How long a stream of raft's may be silent. Raft sends something at once over a stream that it opens; of those that
// it has no use for at the moment it keeps up to three for each peer, for as long as nobody closes them. The node that
// opened a stream stops using it well before the other node closes it: a request for a vote that went out on a stream
// that was closed long ago would be lost.
const (
	quietOut = time.Minute
	quietIn  = 2 * time.Minute

	stallTimeout = 10 * time.Second // between two parts of a snapshot
)

// errQuiet says that a stream was silent for too long to be used again. Nothing was sent over it.
var errQuiet = errors.New("the connection was silent for too long")

// portConn is a connection in the stream's books.
type portConn struct {
	net.Conn
	raw    net.Conn
	port   *clusterPort
	opened time.Time
	once   sync.Once

	inbound bool
	cert    *x509.Certificate // of the other end, if it came in over TLS
	quiet   bool              // raft opened it: it is not used again after quietOut
	scanner *requestScanner   // of a stream of raft's that came in; used by raft's handler alone
	began   time.Time         // when raft could have begun to read the request at hand
	handled atomic.Bool       // raft's handler runs on it and is waited for

	active atomic.Int64 // when something last went over it, as the time since it was opened
	proven atomic.Bool  // a whole request, or a message of a member, came in

	// Guarded by stream.mu.
	owner   owner
	settled bool // it has said what it carries
	evicted bool // it had to make room, and was counted as refused
	held    int  // bytes of requests that are not answered yet
}

// secure puts TLS over the connection. Only the goroutine that opened it, before it hands it on, may call it.
func (c *portConn) secure(over *tls.Conn) { c.Conn = over }

// cut ends the connection under whoever uses it, who still has to Close it.
func (c *portConn) cut() { _ = c.raw.Close() }

// Close ends the connection and strikes it from the books.
func (c *portConn) Close() (err error) {
	c.once.Do(func() {
		s := c.port
		_ = s.hold(c, 0) // gives back, and so cannot fail
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

// Read reads from the connection. What a peer asks of raft is measured before raft sees it.
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
		if err := c.measure(b[:n]); err != nil {
			c.port.refuse(c, err)
			c.cut()
			return 0, err
		}
	}
	return n, err
}

// deadline is when the next bytes must be there.
func (c *portConn) deadline() time.Time {
	s := c.port
	switch now := time.Now(); {
	case c.scanner.at == inBody:
		// As long as the sender gives itself, and never without progress: raft's main loop waits for it.
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

// late tells why nothing came in time. That a stream went out of use is no fault.
func (c *portConn) late() error {
	if c.scanner.at == betweenRequests && c.scanner.requests > 0 {
		return io.EOF
	}
	err := errors.New("no request came over it")
	if c.scanner.at != betweenRequests {
		err = fmt.Errorf("a request has not come in whole %s after it began", time.Since(c.began).Round(time.Second))
	}
	c.port.refuse(c, err)
	return io.EOF
}

func (c *portConn) measure(b []byte) error {
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
		c.began = time.Now() // raft was busy with the request before, not the peer
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
