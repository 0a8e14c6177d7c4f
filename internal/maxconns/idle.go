package maxconns

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Idle are the connections of an HTTP server that carry no request now. When all places of its listener are taken, the
// one that has been idle for longest makes room: a client that keeps many of them cannot keep others out. The zero value
// is ready to use. It is safe for concurrent use.
type Idle struct {
	mu     sync.Mutex
	conns  map[net.Conn]*list.Element
	order  list.List // the longest idle first
	wanted bool      // the listener waits for a place
}

// ConnState is for http.Server.ConnState.
func (i *Idle) ConnState(c net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e, idle := i.conns[c]; idle {
		i.order.Remove(e)
		delete(i.conns, c)
	}
	if state != http.StateIdle {
		return
	}
	if i.conns == nil {
		i.conns = map[net.Conn]*list.Element{}
	}
	i.conns[c] = i.order.PushBack(c)
	if i.wanted {
		i.closeFirst()
	}
}

// want says whether the listener waits for a place.
func (i *Idle) want(wanted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wanted = wanted
	if wanted {
		i.closeFirst()
	}
}

// closeFirst closes the connection that has been idle for longest. The caller holds i.mu.
func (i *Idle) closeFirst() {
	e := i.order.Front()
	if e == nil {
		return
	}
	c := e.Value.(net.Conn)
	i.order.Remove(e)
	delete(i.conns, c)
	i.wanted = false // one place is enough
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn() // its farewell might wait for the client
	}
	_ = c.Close() // the server's goroutine of the connection ends then
}
