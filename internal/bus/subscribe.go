package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Limits bound what may wait for a subscriber. Beyond either, messages are dropped and counted as a gap.
type Limits struct {
	Messages int // default 65,536
	Bytes    int // default 64 MiB
	// Spare says that these messages only hasten what is learnt in another way as well: while the server refuses the
	// subject, and when it grants it, what is heard has no gap.
	Spare bool
}

func (l Limits) orDefault() Limits {
	if l.Messages <= 0 {
		l.Messages = 65_536
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	return l
}

// Msg is a message as received. Data belongs to the receiver.
type Msg struct {
	Subject string
	Reply   string // where an answer is expected; empty if none is
	Data    []byte
}

// subscription is kept for the life of the link and made anew on each connection.
type subscription struct {
	subject, queue string
	limits         Limits
	fn             func(Msg)
	turn           sync.Mutex // held while fn runs: a new connection's messages wait for the old one's handler
	ended          bool       // guarded by turn
	away           bool       // it has left its queue group; guarded by Link.subMu
}

// vital reports whether something rests on having heard all that was said on the subject.
func (s *subscription) vital() bool { return s.queue == "" && !s.limits.Spare }

// Subscribe has fn called for each message on subject, one at a time and in the order of their arrival, for the
// life of the link. fn must return soon: what comes meanwhile waits within limits. A subscription on a link that
// is up begins a new epoch: what was said before it was not heard. It returns when the server has confirmed the
// subscription, at once if the link is down; an error means that subject can never be subscribed to, or that the
// link is closed. Messages that waited when a connection broke are lost; the outage stands for them. A subject that the
// server refuses is no error: Refusals tells of it, and the link asks for it again until it is granted.
func (l *Link) Subscribe(subject string, limits Limits, fn func(Msg)) error {
	return l.SubscribeQueue(subject, "", limits, fn)
}

// SubscribeQueue is Subscribe as a member of a queue group: each message goes to one member only. Since no member hears
// them all, such a subscription begins no epoch, and what is dropped of it is no gap.
func (l *Link) SubscribeQueue(subject, queue string, limits Limits, fn func(Msg)) error {
	if err := validSubject(subject); err != nil {
		return err
	}
	if queue != "" && strings.ContainsAny(queue, " \t\r\n") {
		return fmt.Errorf("nats queue group %.80q must not contain spaces", queue)
	}
	s := &subscription{subject: subject, queue: queue, limits: limits.orDefault(), fn: fn}
	l.subMu.Lock()
	defer l.subMu.Unlock()
	if l.isClosed() {
		return errors.New("nats link is closed")
	}
	l.subs = append(l.subs, s)
	sp := l.live.Load()
	if sp == nil {
		return nil
	}
	_ = l.ask(sp, []*subscription{s}) // if it fails, so does the connection, and the next one has s
	if queue == "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.up == sp {
			l.beginEpoch()
		}
	}
	return nil
}

// Leave has this link leave a queue group: the other members get its messages. What it has been given it still handles.
func (l *Link) Leave(subject, queue string) {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	for _, s := range l.subs {
		if s.subject != subject || s.queue != queue || queue == "" || s.away {
			continue
		}
		s.away = true
		if sp := l.live.Load(); sp != nil {
			l.forget(sp, s)
		}
		l.mu.Lock()
		delete(l.refused.rows, refusalKey{RefusedSubscribe, subject}) // it is not asked for
		l.mu.Unlock()
	}
}

// Rejoin undoes Leave.
func (l *Link) Rejoin(subject, queue string) {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	for _, s := range l.subs {
		if s.subject != subject || s.queue != queue || !s.away {
			continue
		}
		s.away = false
		if sp := l.live.Load(); sp != nil {
			_ = l.ask(sp, []*subscription{s}) // if it fails, so does the connection, and the next one has s
		}
	}
}

// subscribeAll makes every subscription on a new connection and waits until the server has them.
func (l *Link) subscribeAll(sp *spell) error {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	l.live.Store(sp)
	var subs []*subscription
	for _, s := range l.subs {
		if !s.away {
			subs = append(subs, s)
		}
	}
	if err := l.ask(sp, subs); err != nil {
		return err
	}
	if err := sp.nc.LastError(); errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return fmt.Errorf("make the subscriptions: %w", err) // which of them there is no telling
	}
	return nil
}

// forget ends what a connection has of a subscription, once what came in on it has been handled.
func (l *Link) forget(sp *spell, s *subscription) {
	l.mu.Lock()
	l.countDropsLocked()
	var old []*tap
	sp.taps = slices.DeleteFunc(sp.taps, func(t *tap) bool {
		if t.s == s {
			old = append(old, t)
		}
		return t.s == s
	})
	l.mu.Unlock()
	for _, t := range old {
		_ = t.sub.Drain() // fails only with its connection
	}
}

func (l *Link) confirmTimeout() time.Duration {
	return max((maxPingsOut+1)*l.opts.PingInterval, connectTimeout)
}

func (l *Link) subscribe(sp *spell, s *subscription) error {
	sub, err := sp.nc.QueueSubscribe(s.subject, s.queue, func(m *nats.Msg) { l.deliver(sp, s, m) })
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.subject, err)
	}
	if err := sub.SetPendingLimits(s.limits.Messages, s.limits.Bytes); err != nil {
		return err
	}
	l.mu.Lock()
	sp.taps = append(sp.taps, &tap{sub: sub, s: s})
	l.mu.Unlock()
	return nil
}

func (l *Link) deliver(sp *spell, s *subscription, m *nats.Msg) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ended || l.live.Load() != sp {
		return // of a connection that is gone: an older message must not follow a newer one's
	}
	s.fn(Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data})
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func validSubject(subject string) error {
	if subject == "" || len(subject) > 1024 || strings.ContainsAny(subject, " \t\r\n\x00") {
		return fmt.Errorf("%.80q is not a nats subject: it must have 1 to 1024 bytes and no spaces", subject)
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return fmt.Errorf("%.80q is not a nats subject: a part between its dots is empty", subject)
		}
	}
	return nil
}
