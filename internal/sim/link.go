package sim

import (
	"errors"
	"net"
	"sync"
	"time"
)

// link is the way of one component to NATS. It can be cut: its connections break, and none can be made.
type link struct {
	mu    sync.Mutex
	cut   bool
	conns map[*linkConn]struct{}
}

func newLink() *link { return &link{conns: map[*linkConn]struct{}{}} }

var errCut = errors.New("the component is cut off from NATS by a fault")

// Dial implements nats.CustomDialer.
func (l *link) Dial(network, address string) (net.Conn, error) {
	if l.isCut() {
		return nil, errCut
	}
	conn, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return nil, err
	}
	c := &linkConn{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut { // meanwhile
		_ = conn.Close()
		return nil, errCut
	}
	l.conns[c] = struct{}{}
	return c, nil
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// set cuts the link or mends it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			_ = c.Conn.Close()
		}
		clear(l.conns)
	}
}

// linkConn is a connection over a link.
type linkConn struct {
	net.Conn
	link *link
}

func (c *linkConn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
