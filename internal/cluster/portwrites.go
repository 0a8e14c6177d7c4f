package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// carriesWrites is the first byte of a connection over which a peer forwards requests to this node, because it leads:
// see Writes.
const carriesWrites byte = 3

const (
	maxWrites     = 64              // such connections that wait for Accept or are in use
	writesTimeout = 5 * time.Second // time limit for Accept to take one, and to open one
)

// writes is the listener that Writes gives.
type writes struct {
	port   *clusterPort
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	places chan struct{}
}

func newWrites(s *clusterPort) *writes {
	return &writes{port: s, conns: make(chan net.Conn), closed: make(chan struct{}), places: make(chan struct{}, maxWrites)}
}

// Writes is a listener for requests that other members forward to this node. They arrive over the cluster's port, with
// raft.tls only from members; so peers need to reach no other port of this node. Each call gives the same listener.
// After it is closed such connections are refused.
func (n *Node) Writes() net.Listener { return n.port.writes }

// DialWrites opens a connection to the Writes listener of another member.
func (n *Node) DialWrites(ctx context.Context, id string) (net.Conn, error) {
	members, err := n.configuration()
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if string(m.ID) != id || id == n.opts.ID {
			continue
		}
		timeout := writesTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		address := addressBook(n.opts.Peers).of(m)
		conn, err := n.port.dial(address, timeout, carriesWrites)
		if err != nil {
			return nil, fmt.Errorf("reaching %s at %s: %w", id, address, err)
		}
		return conn, nil
	}
	return nil, fmt.Errorf("%s is not another member of this cluster", id)
}

// hand passes a peer's connection to Accept.
func (w *writes) hand(c net.Conn) error {
	select {
	case w.places <- struct{}{}:
	default:
		return fmt.Errorf("%d connections with forwarded requests are open, and no more are allowed", maxWrites)
	}
	timer := time.NewTimer(writesTimeout)
	defer timer.Stop()
	held := &writesConn{Conn: c, free: sync.OnceFunc(func() { <-w.places })}
	select {
	case w.conns <- held:
		return nil
	case <-timer.C:
	case <-w.closed:
	case <-w.port.ctx.Done():
	}
	held.free()
	return errors.New("this node accepts no forwarded requests now")
}

// writesConn gives its place back when it is closed.
type writesConn struct {
	net.Conn
	free func()
}

// Close ends the connection.
func (c *writesConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// Accept gives the next connection of a peer.
func (w *writes) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
	case <-w.port.ctx.Done():
	}
	return nil, net.ErrClosed
}

// Close ends Accept. The cluster's port stays open.
func (w *writes) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr is the cluster's address.
func (w *writes) Addr() net.Addr { return w.port.Addr() }
