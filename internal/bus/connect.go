package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// connect tries the servers round by round, beginning with number first, until one lets the link in and has
// confirmed its subscriptions. It returns nil when the link is to stop.
func (l *Link) connect(first int, retry *backoff) (*spell, int) {
	for {
		if !retry.wait(l.stop) {
			return nil, 0
		}
		for k := range l.servers {
			at := (first + k) % len(l.servers)
			sp, err := l.try(l.servers[at])
			if err == nil {
				return sp, at
			}
			if l.stop.Err() != nil {
				return nil, 0
			}
			l.logFailure(l.servers[at], err)
		}
	}
}

// try makes a connection to one server and all subscriptions on it.
func (l *Link) try(srv address) (*spell, error) {
	sp := &spell{server: srv.shown, gone: make(chan struct{})}
	d := &dialer{stop: l.stop}
	abort := context.AfterFunc(l.stop, d.abort)
	defer abort()
	opts := append([]nats.Option{
		nats.Name(l.opts.Name),
		nats.SetCustomDialer(d),
		nats.SkipHostLookup(), // the dialer looks names up itself, and stops when the link does
		nats.Timeout(connectTimeout),
		nats.NoReconnect(),
		nats.PingInterval(l.opts.PingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		// A write that a dead peer blocks holds the connection's lock, and with it the ping timer.
		nats.FlusherTimeout(l.opts.PingInterval),
		nats.ReconnectOnFlusherError(), // which closes, as there is no reconnecting
		nats.DrainTimeout(drainTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(sp.gone) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { l.onAsyncError(sp, sub, err) }),
	}, l.auth...)
	nc, err := nats.Connect(srv.url, opts...)
	if err != nil {
		return nil, errors.Join(err, d.failure())
	}
	sp.nc = nc
	if err := l.subscribeAll(sp); err != nil {
		l.live.CompareAndSwap(sp, nil)
		nc.Close()
		return nil, err
	}
	return sp, nil
}

// dialer makes one TCP connection, ends it when the link stops, and remembers why it could not: nats.go says only
// that no server was available.
type dialer struct {
	stop context.Context

	mu      sync.Mutex
	conn    net.Conn
	aborted bool
	err     error
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(d.stop, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		// Without this the kernel goes on sending, for minutes, what a connection that was given up had
		// accepted: a command would reach a network that has healed, long after it was decided on.
		if err := tcp.SetLinger(0); err != nil {
			c.Close()
			d.err = err
			return nil, err
		}
	}
	d.conn = c
	if d.aborted {
		c.Close()
	}
	return c, nil
}

func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	if d.conn != nil {
		d.conn.Close()
	}
}

func (d *dialer) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// backoff spaces the rounds: none before the first, then minWait doubling up to maxWait, each shortened by up to
// half at random so that nodes that lost one server do not come back in step.
type backoff struct{ round int }

func (b *backoff) reset() { b.round = 0 }

func (b *backoff) wait(stop context.Context) bool {
	d := b.next()
	if d == 0 {
		return stop.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop.Done():
		return false
	}
}

func (b *backoff) next() time.Duration {
	round := b.round
	b.round++
	if round == 0 {
		return 0
	}
	d := maxWait
	if shift := round - 1; shift < 16 {
		d = min(minWait<<shift, maxWait)
	}
	return d/2 + rand.N(d/2) + 1
}

// logFailure says what went wrong and, where hm can know, what to do about it.
func (l *Link) logFailure(srv address, err error) {
	kind, hint := "connect", "hm keeps trying; check that the server runs and nats.servers is right"
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		kind, hint = "auth", "the server refuses these credentials; correct nats.username and nats.password, nats.token or nats.creds, or the server's users; hm keeps trying"
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		kind, hint = "subscriptions", "the server allows too few subscriptions; raise the limit (max_subs) of the server, or of the account; hm keeps trying"
	case errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, nats.ErrSecureConnRequired):
		kind, hint = "tls", "nats.tls is set and the server offers no TLS, or the other way round; make them agree"
	}
	l.log.Warn(kind, "cannot connect to nats", func() []any {
		return []any{"server", srv.shown, "error", l.redact(err), "hint", hint}
	})
}

func (l *Link) onAsyncError(sp *spell, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		l.countDrops()
	case errors.Is(err, nats.ErrPermissionViolation):
		if !l.marker.Load().refuse(sp, err) {
			l.refuse(sp, parseViolation(err))
		}
		sp.verdicts.note(err)
	default:
		l.log.Warn("async "+subject, "nats reports an error", func() []any {
			return []any{"server", sp.server, "subject", subject, "error", l.redact(err)}
		})
	}
}
