// Package tcpproxy is a TCP proxy that behaves like a bad network: it can cut connections, hold them open without
// passing a byte, pass bytes slowly, and send new connections to another server, as an address that moves does. Tests and
// fault benches put one between two parties.
package tcpproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Options say where a proxy listens and where it connects to.
type Options struct {
	Listen string // host:port; empty: a free port of 127.0.0.1
	Target string // host:port
	// ClientBuffer and TargetBuffer are about how many bytes from a client, and from the target, the system holds for the
	// proxy; 0: as many as it likes. A small buffer lets the sender notice soon that the proxy reads nothing.
	ClientBuffer, TargetBuffer int
	// Inspect, if not nil, is shown what is passed on, just before that. Connections are numbered from 1. It is called
	// for both directions of a connection at the same time, and must not keep bytes.
	Inspect func(connection uint64, toTarget bool, bytes []byte)
}

// Mode is what a proxy does with bytes and connections.
type Mode int

const (
	// Pass passes everything on.
	Pass Mode = iota
	// Refuse closes every connection, and each new one.
	Refuse
	// Hold passes no byte and closes nothing, like a network that loses every packet. What was sent meanwhile is passed on
	// when the mode changes to Pass.
	Hold
	// HoldToClient holds only what the target sends, and HoldToTarget only what clients send.
	HoldToClient
	HoldToTarget
)

func (m Mode) String() string {
	names := [...]string{"pass", "refuse", "hold", "hold to client", "hold to target"}
	if m < 0 || int(m) >= len(names) {
		return fmt.Sprintf("mode %d", int(m))
	}
	return names[m]
}

const (
	maxConnections = 4096 // at a time; a further one is closed at once
	chunk          = 1 << 10
	dialTimeout    = 5 * time.Second
)

// Proxy passes TCP connections on to a target. All methods are safe for concurrent use.
type Proxy struct {
	o       Options
	ln      net.Listener
	stop    context.Context // ended by Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond // anything below, or a pair's stranded
	mode     Mode
	target   string
	toClient int // bytes a second; 0: no limit
	toTarget int
	pairs    map[*pair]bool
	accepted uint64
}

// pair is a client's connection and the one to the target.
type pair struct {
	number         uint64   // from 1, in the order in which the clients connected
	client, target net.Conn // target is nil until it is made
	stranded       bool     // passes nothing any more
	cut            bool     // is to be closed
}

// Start starts a proxy in mode Pass. The caller must Close it.
func Start(o Options) (*Proxy, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("tcp proxy to %s: %w", o.Target, err)
	}
	p := &Proxy{o: o, ln: ln, target: o.Target, pairs: map[*pair]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.stop, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Close closes every connection and waits until all goroutines of the proxy have ended.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.ln.Close()
	p.Cut()
	p.running.Wait()
}

// Addr is the host:port on which the proxy listens.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Set sets the mode, for the present connections and for new ones.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	if m == Refuse {
		p.cutLocked()
	}
	p.changed.Broadcast()
}

// Throttle limits the bytes a second that one connection passes on in each direction; 0 means no limit.
func (p *Proxy) Throttle(toClient, toTarget int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toClient, p.toTarget = toClient, toTarget
}

// SwitchTo lets new connections go to another target. The present connections stay where they are: Cut or Strand them.
func (p *Proxy) SwitchTo(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut closes the present connections on both sides, without sending what is held.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// CutOne closes the oldest of the present connections.
func (p *Proxy) CutOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first *pair
	for c := range p.pairs {
		if !c.cut && (first == nil || c.number < first.number) {
			first = c
		}
	}
	if first != nil {
		first.cut = true
		first.close()
		p.changed.Broadcast()
	}
}

// Strand leaves the present connections half-open: they stay and pass nothing any more, whatever the mode. New connections
// are not concerned.
func (p *Proxy) Strand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.stranded = true
	}
}

// Connections gives how many connections are open, and how many clients have connected so far.
func (p *Proxy) Connections() (open int, accepted uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs), p.accepted
}

func (p *Proxy) cutLocked() {
	for c := range p.pairs {
		c.cut = true
		c.close()
	}
	p.changed.Broadcast()
}

// close closes both connections. The proxy's mutex must be held.
func (c *pair) close() {
	_ = c.client.Close()
	if c.target != nil {
		_ = c.target.Close()
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			if p.stop.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond) // for example too many open files
			continue
		}
		setBuffer(conn, p.o.ClientBuffer)
		c := &pair{client: conn}
		p.mu.Lock()
		p.accepted++
		c.number = p.accepted
		refused := p.mode == Refuse || len(p.pairs) >= maxConnections || p.stop.Err() != nil
		if !refused {
			p.pairs[c] = true
		}
		p.mu.Unlock()
		if refused {
			_ = conn.Close()
			continue
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// serve connects to the target and passes bytes on until one side closes or the connection is cut.
func (p *Proxy) serve(c *pair) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.close()
		delete(p.pairs, c)
	}()
	to, ok := p.await(c, true)
	if !ok {
		return
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(p.stop, "tcp", to)
	if err != nil {
		return
	}
	setBuffer(conn, p.o.TargetBuffer)
	p.mu.Lock()
	c.target = conn
	if c.cut {
		c.close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(c, c.client, conn, true) })
	both.Go(func() { p.pass(c, conn, c.client, false) })
	both.Wait()
}

// pass passes on what one side sends. The end of one side ends the other.
func (p *Proxy) pass(c *pair, from, to net.Conn, toTarget bool) {
	defer to.Close()
	buf := make([]byte, chunk)
	for {
		n, failed := from.Read(buf)
		if _, ok := p.await(c, toTarget); !ok || n > 0 && !p.pace(n, toTarget) {
			_ = from.Close()
			return
		}
		if n > 0 {
			if p.o.Inspect != nil {
				p.o.Inspect(c.number, toTarget, buf[:n])
			}
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if failed != nil {
			return
		}
	}
}

// await waits while the connection is held in a direction. It gives the present target, and false if the connection was
// cut.
func (p *Proxy) await(c *pair, toTarget bool) (target string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !c.cut && (c.stranded || p.holds(toTarget)) {
		p.changed.Wait()
	}
	return p.target, !c.cut
}

func (p *Proxy) holds(toTarget bool) bool {
	return p.mode == Hold || p.mode == HoldToTarget && toTarget || p.mode == HoldToClient && !toTarget
}

// pace waits for as long as n bytes take at the present rate, and reports false if the proxy is closed meanwhile.
func (p *Proxy) pace(n int, toTarget bool) bool {
	p.mu.Lock()
	rate := p.toClient
	if toTarget {
		rate = p.toTarget
	}
	p.mu.Unlock()
	if rate <= 0 {
		return true
	}
	t := time.NewTimer(time.Duration(n) * time.Second / time.Duration(rate))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop.Done():
		return false
	}
}

func setBuffer(c net.Conn, bytes int) {
	if tcp, ok := c.(*net.TCPConn); ok && bytes > 0 {
		_ = tcp.SetReadBuffer(bytes) // only the tests' patience depends on it
	}
}
