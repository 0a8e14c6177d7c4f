package bus

import (
	"context"
	"fmt"
	"time"
)

// maxRetryFactor is the greatest number of ping intervals between two attempts at a refused subscription.
const maxRetryFactor = 16

// retry is when the refused subscriptions of one connection are tried again.
type retry struct {
	at   time.Time // zero: nothing is refused
	wait time.Duration
}

// retryRefused tries the subscriptions again that the server refuses, if it is time.
func (l *Link) retryRefused(ses *session) {
	if !l.subMu.TryLock() { // held for long while the link moves to another server
		return
	}
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
		ses.retry = retry{}
		return
	case ses.retry.at.IsZero():
		ses.retry = retry{now.Add(l.opts.PingInterval), l.opts.PingInterval}
		return
	case now.Before(ses.retry.at):
		return
	}
	ses.retry.wait = min(2*ses.retry.wait, maxRetryFactor*l.opts.PingInterval)
	ses.retry.at = now.Add(ses.retry.wait)
	_ = l.subscribeAndConfirm(ses, again) // if it fails, the connection fails, too, and the next one makes them
}

// subscribeAndConfirm makes subscriptions on a connection, and waits until the server has confirmed or refused them.
// subMu must be held.
func (l *Link) subscribeAndConfirm(ses *session, subs []*subscription) error {
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
		l.unsubscribe(ses, s)
		if err := l.subscribe(ses, s); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(l.stop, l.confirmTimeout())
	defer cancel()
	if err := ses.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("confirm the subscriptions: %w", err)
	}
	ses.awaitRefusals()
	after := l.counts(RefusedSubscribe, subjects...)
	for _, s := range subs {
		if k := (refusalKey{RefusedSubscribe, s.subject}); after[s.subject] == before[s.subject] && l.isRefused(k) {
			l.noteGrant(k)
			l.beginEpochFor(ses, s)
		}
	}
	return nil
}

func (l *Link) isRefused(k refusalKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused.rows[k] != nil
}

// beginEpochFor begins an epoch if messages of a vital subscription were missed so far.
func (l *Link) beginEpochFor(ses *session, s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == ses && s.vital() {
		l.beginEpoch()
	}
}
