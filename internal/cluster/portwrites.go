package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// The first bytes of the connections that a peer opens for something above the cluster.
const (
	carriesWrites  byte = 3 // the peer forwards requests to this node, because it leads: see Writes
	carriesHistory byte = 4 // the peer asks for events: see Histories
	carriesRelays  byte = 5 // the peer passes on heartbeats that it got over HTTPS: see Relays
)

const (
	maxWrites     = 64              // connections with writes that wait for Accept or are in use
	maxHistories  = 16              // of those that ask for events
	maxRelays     = 16              // of those that pass on heartbeats: one for each peer, and those that are ending
	writesTimeout = 5 * time.Second // time limit for Accept to take one, and to open one
)

// handed is a listener for the connections of one kind: those that Writes, Histories and Relays give.
type handed struct {
	what   string // that they carry
	port   *clusterPort
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	places chan struct{}
}

func newHanded(s *clusterPort, what string, most int) *handed {
	return &handed{what: what, port: s, conns: make(chan net.Conn), closed: make(chan struct{}), places: make(chan struct{}, most)}
}

// handed gives the listener for connections of a kind; nil if nothing above the cluster takes them.
func (s *clusterPort) handed(kind byte) *handed {
	switch kind {
	case carriesWrites:
		return s.writes
	case carriesHistory:
		return s.histories
	case carriesRelays:
		return s.relays
	}
	return nil
}

// Writes is a listener for requests that other members forward to this node. They arrive over the cluster's port, with
// raft.tls only from members; so peers need to reach no other port of this node. Each call gives the same listener.
// After it is closed such connections are refused.
func (n *Node) Writes() net.Listener { return n.port.writes }

// Histories is a listener for other members that ask this node's journal for events. Otherwise it is like Writes.
func (n *Node) Histories() net.Listener { return n.port.histories }

// Relays is a listener for other members that pass on heartbeats. Otherwise it is like Writes.
func (n *Node) Relays() net.Listener { return n.port.relays }

// DialWrites opens a connection to the Writes listener of another member.
func (n *Node) DialWrites(ctx context.Context, id string) (net.Conn, error) {
	return n.dialMember(ctx, id, carriesWrites)
}

// DialHistory opens a connection to the Histories listener of another member.
func (n *Node) DialHistory(ctx context.Context, id string) (net.Conn, error) {
	return n.dialMember(ctx, id, carriesHistory)
}

// DialRelay opens a connection to the Relays listener of another member.
func (n *Node) DialRelay(ctx context.Context, id string) (net.Conn, error) {
	return n.dialMember(ctx, id, carriesRelays)
}

func (n *Node) dialMember(ctx context.Context, id string, kind byte) (net.Conn, error) {
	for _, m := range n.servers() {
		if string(m.ID) != id || id == n.opts.ID {
			continue
		}
		timeout := writesTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		address := string(m.Address)
		conn, err := n.port.dial(address, timeout, kind)
		if err != nil {
			return nil, fmt.Errorf("reaching %s at %s: %w", id, address, err)
		}
		return conn, nil
	}
	return nil, fmt.Errorf("%s is not another member of this cluster", id)
}

// hand passes a peer's connection to Accept.
func (w *handed) hand(c net.Conn) error {
	select {
	case w.places <- struct{}{}:
	default:
		return fmt.Errorf("%d connections with %s are open, and no more are allowed", cap(w.places), w.what)
	}
	timer := time.NewTimer(writesTimeout)
	defer timer.Stop()
	held := &handedConn{Conn: c, free: sync.OnceFunc(func() { <-w.places })}
	select {
	case w.conns <- held:
		return nil
	case <-timer.C:
	case <-w.closed:
	case <-w.port.ctx.Done():
	}
	held.free()
	return fmt.Errorf("this node accepts no %s now", w.what)
}

// handedConn gives its place back when it is closed.
type handedConn struct {
	net.Conn
	free func()
}

// Close ends the connection.
func (c *handedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// Accept gives the next connection of a peer.
func (w *handed) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
	case <-w.port.ctx.Done():
	}
	return nil, net.ErrClosed
}

// Close ends Accept. The cluster's port stays open.
func (w *handed) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr is the cluster's address.
func (w *handed) Addr() net.Addr { return w.port.Addr() }
