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

// Limits bound the messages that wait for a subscriber. Beyond either limit, messages are dropped, which is a gap.
type Limits struct {
	Messages int // default 65,536
	Bytes    int // default 64 MiB
	// Spare says that these messages only report sooner what is learned in another way, too. A refusal of the subject, and
	// its end, are then no gap.
	Spare bool
	// Aside says that no decision depends on these messages. Then nothing that is missed of them is a gap.
	Aside bool
	// Newest says that only the newest message of each sender counts; nil: all count. The limits hold for those that wait
	// as they came and those of which the newest is kept together.
	Newest *Newest
}

func (l Limits) orDefault() Limits {
	if l.Messages <= 0 {
		l.Messages = 65_536
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Newest != nil {
		l.Messages, l.Bytes = max(l.Messages/2, 1), max(l.Bytes/2, 1) // of each of the two queues
	}
	return l
}

// Msg is a message as received. Data belongs to the receiver.
type Msg struct {
	Subject string
	Reply   string // where an answer is expected; empty if none is
	Data    []byte
}

// subscription is kept for the life of the link and made again on each connection.
type subscription struct {
	subject, queue string
	limits         Limits
	fn             func(Msg)
	newest         *newestQueue // nil: fn gets each message as it comes
	turn           sync.Mutex   // held while fn runs: a new connection's messages wait for the old one's handler
	ended          bool         // guarded by turn
	away           bool         // has left its queue group; guarded by Link.subMu
}

// vital reports whether missing a message of the subject is a gap.
func (s *subscription) vital() bool { return s.queue == "" && !s.limits.Spare && !s.limits.Aside }

// Subscribe calls fn for each message on subject, one at a time and in the order of arrival, for the life of the link.
// fn must return soon: messages wait meanwhile, within limits. A subscription on a link that is up begins a new epoch,
// because earlier messages were missed. Subscribe returns when the server has confirmed the subscription, or at once if
// the link is down. An error means that the subject is invalid or the link closed. Messages that wait when a connection
// breaks are lost, as part of the outage. A subject that the server refuses is no error: it is in Refusals, and the link
// tries it again until it is granted.
func (l *Link) Subscribe(subject string, limits Limits, fn func(Msg)) error {
	return l.SubscribeQueue(subject, "", limits, fn)
}

// SubscribeQueue is Subscribe as a member of a queue group: each message goes to one member only. No member expects every
// message, so such a subscription begins no epoch, and dropped messages are no gap.
func (l *Link) SubscribeQueue(subject, queue string, limits Limits, fn func(Msg)) error {
	if err := validSubject(subject); err != nil {
		return err
	}
	if queue != "" && strings.ContainsAny(queue, " \t\r\n") {
		return fmt.Errorf("nats queue group %.80q must not contain spaces", queue)
	}
	if queue != "" && limits.Newest != nil {
		return fmt.Errorf("nats queue group %.80q: only a subscription that gets every message can keep the newest of each sender",
			queue)
	}
	s := &subscription{subject: subject, queue: queue, limits: limits.orDefault(), fn: fn}
	l.subMu.Lock()
	defer l.subMu.Unlock()
	if !l.begin(s) {
		return errors.New("nats link is closed")
	}
	l.subs = append(l.subs, s)
	ses := l.live.Load()
	if ses == nil {
		return nil
	}
	// If it fails, the connection fails, too, and the next one makes s.
	_ = l.subscribeAndConfirm(ses, []*subscription{s})
	if queue == "" && !limits.Aside {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.up == ses {
			l.beginEpoch()
		}
	}
	return nil
}

// begin begins what a subscription needs besides its connection. It returns false if the link is closed.
func (l *Link) begin(s *subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if s.limits.Newest != nil {
		s.newest = newNewestQueue(*s.limits.Newest, s.limits)
		l.loops.Go(func() { l.tend(s) })
	}
	return true
}

// Leave makes this link leave a queue group: the other members get its messages. Messages that it already has are still
// handled.
func (l *Link) Leave(subject, queue string) {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	for _, s := range l.subs {
		if s.subject != subject || s.queue != queue || queue == "" || s.away {
			continue
		}
		s.away = true
		if ses := l.live.Load(); ses != nil {
			l.unsubscribe(ses, s)
		}
		l.mu.Lock()
		delete(l.refused.rows, refusalKey{RefusedSubscribe, subject}) // no longer wanted
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
		if ses := l.live.Load(); ses != nil {
			// If it fails, the connection fails, too, and the next one makes s.
			_ = l.subscribeAndConfirm(ses, []*subscription{s})
		}
	}
}

// subscribeAll makes every subscription on a new connection and waits until the server has them.
func (l *Link) subscribeAll(ses *session) error {
	l.subMu.Lock()
	defer l.subMu.Unlock()
	l.live.Store(ses)
	var subs []*subscription
	for _, s := range l.subs {
		if !s.away {
			subs = append(subs, s)
		}
	}
	if err := l.subscribeAndConfirm(ses, subs); err != nil {
		return err
	}
	if err := ses.nc.LastError(); errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return fmt.Errorf("make the subscriptions: %w", err) // the server does not say which
	}
	return nil
}

// unsubscribe ends a subscription on a connection, once the messages received on it have been handled.
func (l *Link) unsubscribe(ses *session, s *subscription) {
	l.mu.Lock()
	l.countDropsLocked()
	var old []*activeSub
	ses.active = slices.DeleteFunc(ses.active, func(t *activeSub) bool {
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

func (l *Link) subscribe(ses *session, s *subscription) error {
	sub, err := ses.nc.QueueSubscribe(s.subject, s.queue, func(m *nats.Msg) { l.deliver(ses, s, m) })
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.subject, err)
	}
	if err := sub.SetPendingLimits(s.limits.Messages, s.limits.Bytes); err != nil {
		return err
	}
	l.mu.Lock()
	ses.active = append(ses.active, &activeSub{sub: sub, s: s})
	l.mu.Unlock()
	return nil
}

func (l *Link) deliver(ses *session, s *subscription, m *nats.Msg) {
	if ses.hold != nil && s.queue == "" {
		<-ses.hold
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	o := l.overlap.Load()
	takesOver := s.queue != "" && o != nil && o.to == ses // a queue group gives a message to one of the two sessions only
	if s.ended || l.live.Load() != ses && !takesOver {
		return // of a closed connection: an older message must not follow a newer one
	}
	if o != nil && s.queue == "" && o.skips(ses, m) {
		return
	}
	l.heard.Store(int64(time.Since(l.began)))
	msg := Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}
	if s.newest == nil {
		s.fn(msg)
		return
	}
	if !moreArrived(m.Sub) && s.newest.handleAlone(ses, msg, s.fn) {
		return
	}
	s.newest.put(ses, msg)
	// First take in what has arrived, as long as there is room: it may replace what waits.
	for !moreArrived(m.Sub) || s.newest.full() {
		if !s.newest.handle(l.live.Load(), s.fn) {
			break
		}
	}
	s.newest.wake()
}

// moreArrived reports whether a subscription has further messages than the one that is being delivered.
func moreArrived(sub *nats.Subscription) bool {
	pending, _, err := sub.Pending()
	return err == nil && pending > 1
}

// tend handles what waits in s.newest when no message arrives.
func (l *Link) tend(s *subscription) {
	for {
		select {
		case <-l.stop.Done():
			return
		case <-s.newest.timer.C:
		}
		for handled := true; handled; {
			s.turn.Lock()
			if handled = s.newest.handle(l.live.Load(), s.fn); !handled {
				s.newest.wake()
			}
			s.turn.Unlock()
		}
	}
}

// flushNewest handles what waits in the subscriptions of which the newest messages count. subMu must be held.
func (l *Link) flushNewest() {
	for _, s := range l.subs {
		if s.newest != nil {
			s.turn.Lock()
			s.newest.flush(l.live.Load(), s.fn)
			s.turn.Unlock()
		}
	}
}

// lastHeard is when a message was last delivered, or when the link was opened.
func (l *Link) lastHeard() time.Time { return l.began.Add(time.Duration(l.heard.Load())) }

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
