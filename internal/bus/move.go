package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A server that is told to shut down (lame duck mode) says so to its clients, seconds before it closes their connections.
// The link then moves to another server of the same cluster without a gap: it subscribes there, holds what arrives there,
// lets the old server deliver everything that it still has, and goes on with the new one. A message that both deliver is
// handled once. If that does not work, the link stays until the server closes the connection, which is an outage.

const (
	moveWait     = time.Second            // between two rounds of attempts to move
	probeTimeout = time.Second            // for a message from the old server to the new one
	probeEvery   = 20 * time.Millisecond  // between two such messages
	settleTime   = 250 * time.Millisecond // for the other servers of the cluster to learn of the new subscriptions
	overlapTime  = time.Second            // for which a message may arrive at the new server later than at the old one
	maxOverlap   = 200_000                // messages that are remembered; beyond, one may be handled twice
)

// moveFrom moves the link from a session whose server shuts down, until that is done or ctx ends.
func (l *Link) moveFrom(ctx context.Context, old *session) {
	for {
		for k := range l.servers {
			at := (old.at + 1 + k) % len(l.servers)
			err := l.moveTo(ctx, old, at)
			if err == nil || ctx.Err() != nil {
				return
			}
			l.log.Warn("move", "nats server shuts down, and the link cannot yet move to another one", func() []any {
				return []any{"server", old.server, "to", l.servers[at].shown, "error", l.redact(err)}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(moveWait):
		}
	}
}

func (l *Link) moveTo(ctx context.Context, old *session, at int) error {
	ses, err := l.dial(ctx, at)
	if err != nil {
		return err
	}
	ses.hold = make(chan struct{})
	name := ses.nc.ConnectedServerName()
	if err := l.takeOver(ctx, old, ses); err != nil {
		l.overlap.Store(nil)
		close(ses.hold) // what waits there is dropped
		ses.nc.Close()
		return err
	}
	l.logger.Info("nats server shuts down: the link has moved to another one without a gap",
		"server", old.server, "to", ses.server, "name", name)
	l.loops.Go(func() { // what was begun on the old connection may end there
		select {
		case <-old.gone:
		case <-l.stop.Done():
		case <-time.After(drainTimeout):
		}
		old.nc.Close()
	})
	return nil
}

// takeOver makes all subscriptions on the new session and lets it go on where the old one ends.
func (l *Link) takeOver(ctx context.Context, old, ses *session) error {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	o := &overlap{to: ses, seen: map[uint64]int{}}
	l.overlap.Store(o)
	for _, s := range l.subs {
		if !s.away {
			if err := l.subscribe(ses, s); err != nil {
				return err
			}
		}
	}
	if err := l.probe(ctx, old, ses); err != nil {
		return err
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	if err := l.drain(ctx, old); err != nil {
		return err
	}
	l.flushNewest()
	o.end(time.Now().Add(overlapTime))
	l.mu.Lock()
	if l.up != old {
		l.mu.Unlock()
		return errors.New("the old connection has ended")
	}
	l.up = ses
	l.state.Server, l.state.ServerName = ses.server, ses.nc.ConnectedServerName()
	l.state.Moves++
	l.live.Store(ses)
	l.mu.Unlock()
	close(ses.hold)
	return nil
}

// probe waits until the new server has confirmed the subscriptions, and has passed on a message that the old server got.
// So both belong to one cluster, and the old server knows of the subscriptions.
func (l *Link) probe(ctx context.Context, old, ses *session) error {
	inbox, got := nats.NewInbox(), make(chan *nats.Msg, 64)
	sub, err := ses.nc.ChanSubscribe(inbox, got)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with its connection
	confirm, cancel := context.WithTimeout(ctx, l.confirmTimeout())
	defer cancel()
	if err := ses.nc.FlushWithContext(confirm); err != nil {
		return fmt.Errorf("confirm the subscriptions: %w", err)
	}
	ses.awaitRefusals()
	if err := ses.nc.LastError(); err != nil && !errors.Is(err, nats.ErrPermissionViolation) || ses.refuses.Load() {
		return fmt.Errorf("the server refuses what the old one did not: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for {
		if err := old.nc.Publish(inbox, nil); err != nil {
			return err
		}
		if err := old.nc.FlushWithContext(ctx); err != nil {
			return fmt.Errorf("the servers do not pass messages on to each other: %w", err)
		}
		select {
		case <-got:
			return nil
		case <-time.After(probeEvery):
		}
	}
}

// drain ends the subscriptions of a session once everything that its server has sent on them was handled.
func (l *Link) drain(ctx context.Context, ses *session) error {
	l.mu.Lock()
	active := append([]*activeSub(nil), ses.active...)
	l.mu.Unlock()
	for _, t := range active {
		if err := t.sub.Drain(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for _, t := range active {
		for t.sub.IsValid() {
			l.State() // counts drops, which is not possible later
			if err := pause(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	if ses.nc.IsClosed() {
		return errors.New("the old connection has ended")
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// overlap remembers what the old session of a move delivers, so that the new one does not deliver it again.
type overlap struct {
	to *session

	mu    sync.Mutex
	seen  map[uint64]int // how often each message was delivered
	until time.Time      // zero: the old session still delivers
}

var overlapSeed = maphash.MakeSeed()

func hashOf(m *nats.Msg) uint64 {
	var h maphash.Hash
	h.SetSeed(overlapSeed)
	_, _ = h.WriteString(m.Subject) // never fails
	_ = h.WriteByte(' ')
	_, _ = h.Write(m.Data)
	return h.Sum64()
}

// skips reports whether a message on a session must not be delivered, because the other session has.
func (o *overlap) skips(ses *session, m *nats.Msg) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ses != o.to {
		if len(o.seen) < maxOverlap {
			o.seen[hashOf(m)]++
		}
		return false
	}
	if len(o.seen) == 0 || time.Now().After(o.until) {
		clear(o.seen)
		return false
	}
	h := hashOf(m)
	n := o.seen[h]
	switch n {
	case 0:
		return false
	case 1:
		delete(o.seen, h)
	default:
		o.seen[h] = n - 1
	}
	return true
}

func (o *overlap) end(until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = until
}

// over reports whether nothing is remembered any more.
func (o *overlap) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.until.IsZero() && time.Now().After(o.until)
}
