package bus

import (
	"context"
	"fmt"
	"time"
)

// maxRetryFactor is how many ping intervals lie between two attempts at a refused subscription, at most.
const maxRetryFactor = 16

// retry says when the subscriptions that are refused on one connection are asked for again.
type retry struct {
	at   time.Time // zero: nothing is refused
	wait time.Duration
}

// askAgain asks once more for the subscriptions that the server refuses, if it is time to.
func (l *Link) askAgain(sp *spell) {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	var again []*subscription
	l.mu.Lock()
	for _, s := range l.subs {
		if !s.away && l.refused.rows[refusalKey{RefusedSubscribe, s.subject}] != nil {
			again = append(again, s)
		}
	}
	l.mu.Unlock()
	now := time.Now()
	switch {
	case len(again) == 0:
		sp.retry = retry{}
		return
	case sp.retry.at.IsZero():
		sp.retry = retry{now.Add(l.opts.PingInterval), l.opts.PingInterval}
		return
	case now.Before(sp.retry.at):
		return
	}
	sp.retry.wait = min(2*sp.retry.wait, maxRetryFactor*l.opts.PingInterval)
	sp.retry.at = now.Add(sp.retry.wait)
	_ = l.ask(sp, again) // if it fails, so does the connection, and the next one has them
}

// ask makes subscriptions on a connection, and waits until the server has confirmed or refused them. It must be called
// with subMu held.
func (l *Link) ask(sp *spell, subs []*subscription) error {
	subjects := make([]string, len(subs))
	for i, s := range subs {
		subjects[i] = s.subject
	}
	before := l.counts(RefusedSubscribe, subjects...)
	l.mu.Lock()
	for _, s := range subs {
		l.refused.asked[s.subject] = l.refused.asked[s.subject] || s.vital()
	}
	l.mu.Unlock()
	for _, s := range subs {
		l.forget(sp, s)
		if err := l.subscribe(sp, s); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(l.stop, l.confirmTimeout())
	defer cancel()
	if err := sp.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("confirm the subscriptions: %w", err)
	}
	sp.settle()
	after := l.counts(RefusedSubscribe, subjects...)
	for _, s := range subs {
		if k := (refusalKey{RefusedSubscribe, s.subject}); after[s.subject] == before[s.subject] && l.isRefused(k) {
			l.granted(k)
			l.hearsFrom(sp, s)
		}
	}
	return nil
}

func (l *Link) isRefused(k refusalKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused.rows[k] != nil
}

// hearsFrom begins an epoch, if what was said on a subscription so far was missed and counts.
func (l *Link) hearsFrom(sp *spell, s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == sp && s.vital() {
		l.beginEpoch()
	}
}
