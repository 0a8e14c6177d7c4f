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

// connect tries the servers in rounds, beginning with number first, until one accepts the link and has confirmed its
// subscriptions. It returns nil when the link is to stop.
func (l *Link) connect(first int, retry *backoff) *session {
	for {
		if !retry.wait(l.stop) {
			return nil
		}
		for _, at := range l.order(first) {
			ses, err := l.try(at)
			l.silent[at] = isTimeout(err)
			if err == nil {
				return ses
			}
			if l.stop.Err() != nil {
				return nil
			}
			l.logFailure(l.servers[at], err)
		}
	}
}

// order gives the numbers of the servers, beginning with first. Those that were silent at the last attempt come last: each
// costs a whole timeout.
func (l *Link) order(first int) (order []int) {
	var silent []int
	for k := range l.servers {
		if at := (first + k) % len(l.servers); l.silent[at] {
			silent = append(silent, at)
		} else {
			order = append(order, at)
		}
	}
	return append(order, silent...)
}

// isTimeout reports whether an attempt failed because nobody answered.
func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// try opens a connection to one server and makes all subscriptions on it.
func (l *Link) try(at int) (*session, error) {
	ses, err := l.dial(l.stop, at)
	if err != nil {
		return nil, err
	}
	if err := l.subscribeAll(ses); err != nil {
		l.live.CompareAndSwap(ses, nil)
		ses.nc.Close()
		return nil, err
	}
	return ses, nil
}

// dial opens a connection to one server. It gives up when ctx ends.
func (l *Link) dial(ctx context.Context, at int) (*session, error) {
	srv := l.servers[at]
	ses := &session{server: srv.shown, at: at, gone: make(chan struct{}), shutsDown: make(chan struct{}, 1)}
	d := &dialer{stop: ctx}
	abort := context.AfterFunc(ctx, d.abort)
	defer abort()
	opts := append([]nats.Option{
		nats.Name(l.opts.Name),
		nats.SetCustomDialer(d),
		nats.SkipHostLookup(), // the dialer itself looks names up, and stops with the link
		// Otherwise an attempt that fails goes on with the servers that this one announces, and the link would know neither
		// the server that it is connected to nor the error of the server that refused it.
		nats.IgnoreDiscoveredServers(),
		nats.Timeout(connectTimeout),
		nats.NoReconnect(),
		nats.PingInterval(l.opts.PingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		// A write that a dead peer blocks holds the connection's lock, and with it the ping timer.
		nats.FlusherTimeout(l.opts.PingInterval),
		nats.ReconnectOnFlusherError(), // closes the connection, because of NoReconnect
		nats.DrainTimeout(drainTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(ses.gone) }),
		nats.LameDuckModeHandler(func(*nats.Conn) {
			select {
			case ses.shutsDown <- struct{}{}:
			default:
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { l.onAsyncError(ses, sub, err) }),
	}, l.auth...)
	if l.tls != nil {
		opts = append(opts, nats.Secure(l.tls.Config()))
	}
	nc, err := nats.Connect(srv.url, opts...)
	if err != nil {
		return nil, errors.Join(err, d.failure())
	}
	ses.nc = nc
	return ses, nil
}

// dialer makes one TCP connection, closes it when the link stops, and keeps the error: nats.go reports only that no
// server was available.
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
		// Without this, the kernel sends what a closed connection had accepted for minutes: a command would arrive when the
		// network is back, long after its decision.
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

// backoff is the pause between rounds: none before the first, then minWait, doubled each time up to maxWait. Each pause is
// shortened by up to half at random, so that nodes that lost one server do not all come back at once.
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

// logFailure logs what went wrong and, if hm knows, what to do about it.
func (l *Link) logFailure(srv address, err error) {
	kind, hint := "connect", "hm keeps trying; check that the server runs and nats.servers is right"
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		kind, hint = "auth", "the server refuses these credentials; correct nats.username and nats.password, "+
			"nats.token or nats.creds, or the server's users; hm keeps trying"
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		kind, hint = "subscriptions", "the server allows too few subscriptions; "+
			"raise the limit (max_subs) of the server, or of the account; hm keeps trying"
	case errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, nats.ErrSecureConnRequired):
		kind, hint = "tls", "nats.tls is set and the server offers no TLS, or the other way round; make them agree"
	}
	text := l.redact(err)
	l.mu.Lock()
	l.state.Error = srv.shown + ": " + text
	l.mu.Unlock()
	l.log.Warn(kind, "cannot connect to nats",
		func() []any { return []any{"server", srv.shown, "error", text, "hint", hint} })
}

func (l *Link) onAsyncError(ses *session, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		l.countDrops()
	case errors.Is(err, nats.ErrPermissionViolation):
		if !l.marker.Load().noteRefusal(ses, err) {
			v := parseViolation(err)
			if l.live.Load() != ses && !l.isRefused(refusalKey{v.action, v.subject}) {
				ses.refuses.Store(true)
			}
			l.noteRefusal(ses, v)
		}
		ses.handled.note(err)
	default:
		l.log.Warn("async "+subject, "nats reports an error", func() []any {
			return []any{"server", ses.server, "subject", subject, "error", l.redact(err)}
		})
	}
}
