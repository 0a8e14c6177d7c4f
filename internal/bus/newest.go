package bus

import (
	"slices"
	"sync"
	"time"
)

// Newest is for a subject on which each message says everything that its sender's message before it said, such as a list
// that is always complete. While messages wait, only the newest of each sender counts: if there is more to handle than
// can be handled, what waits does not grow, and nothing is dropped. It is not for queue groups.
type Newest struct {
	// Arrived is called with each message, in the order of arrival, also with those that are never handled. It must be
	// quick.
	Arrived func(Msg)
	// Sender returns who sent a message. Messages whose sender is not known ("") replace nothing.
	Sender func(data []byte) string
	// Replaces reports whether a message may take the place of an older one of its sender that still waits. If not, both
	// are handled.
	Replaces func(newer, older []byte) bool
	// MaxPause is the longest time between two messages of one sender. The subscriber's share of a processor says how much
	// of it counts: with no load there is no pause, and from half a processor on it is MaxPause. 0: there is no pause.
	MaxPause time.Duration
}

const (
	loadWindow = time.Second           // over which the load is measured
	minPause   = time.Millisecond      // a shorter pause is none
	idleWait   = 10 * time.Millisecond // after which what waits is handled if no further message arrives
)

// newestQueue holds the messages of a subscription that wait to be handled. Whoever puts messages in or handles them holds
// the subscription's turn. mu lets the Marker look at any time.
type newestQueue struct {
	opts  Newest
	limit Limits
	timer *time.Timer // fires when something is to be handled although no message arrives

	began  time.Time     // of the present window
	busy   time.Duration // for which messages were handled in it
	paused time.Duration // between two messages of one sender, as the load says

	mu      sync.Mutex
	ses     *session // of the messages that wait
	arrived uint64   // messages so far
	alone   uint64   // number of the message that handleAlone is handling; 0: none
	waiting int      // messages, those that are being handled included
	bytes   int      // of these
	senders map[string]*sender
	ready   []*sender // to be handled, in this order
	resting []*sender // handled not long ago, in this order; their next messages may wait
}

// sender is who has a message that waits, or had one not long ago.
type sender struct {
	id      string
	waiting []Msg     // oldest first
	since   uint64    // number of the oldest message for which these stand
	handled time.Time // when its newest message was handled
}

func newNewestQueue(opts Newest, limit Limits) *newestQueue {
	q := &newestQueue{opts: opts, limit: limit, timer: time.NewTimer(0), began: time.Now(), senders: map[string]*sender{}}
	q.timer.Stop()
	return q
}

// handleAlone passes a message that has arrived on a session to fn at once, if nothing waits and there is no pause. It
// reports whether it did. So without load a message costs no more than if all counted.
func (q *newestQueue) handleAlone(ses *session, m Msg, fn func(Msg)) bool {
	if !q.beginAlone(ses) {
		return false
	}
	began := time.Now()
	q.opts.Arrived(m)
	fn(m)
	now := time.Now()
	q.noteLoad(now.Sub(began), now)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.alone = 0
	return true
}

func (q *newestQueue) beginAlone(ses *session) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.senders) > 0 || q.paused > 0 {
		return false
	}
	q.ses = ses
	q.arrived++
	q.alone = q.arrived
	return true
}

// put adds a message that has arrived on a session. Messages of an earlier session are lost with it.
func (q *newestQueue) put(ses *session, m Msg) {
	q.opts.Arrived(m)
	id := q.opts.Sender(m.Data)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ses != ses {
		q.ses, q.senders, q.ready, q.resting, q.waiting, q.bytes = ses, map[string]*sender{}, nil, nil, 0, 0
	}
	q.arrived++
	s := q.senders[id]
	if s == nil {
		s = &sender{id: id}
		q.senders[id] = s
		q.ready = append(q.ready, s)
	}
	n := len(s.waiting)
	if n == 0 {
		s.since = q.arrived
	}
	if n > 0 && id != "" && q.opts.Replaces(m.Data, s.waiting[n-1].Data) {
		q.bytes += len(m.Data) - len(s.waiting[n-1].Data)
		s.waiting[n-1] = m
		return
	}
	s.waiting = append(s.waiting, m)
	q.waiting++
	q.bytes += len(m.Data)
}

// full reports whether no more messages may wait.
func (q *newestQueue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting >= q.limit.Messages || q.bytes >= q.limit.Bytes
}

// handle passes the messages of one sender to fn, if one is ready: those of the session live. It reports whether one was.
func (q *newestQueue) handle(live *session, fn func(Msg)) bool {
	began := time.Now()
	s := q.next(began)
	if s == nil {
		return false
	}
	for _, m := range s.waiting {
		if q.ses == live {
			fn(m)
		}
	}
	q.end(s, began, time.Now())
	return true
}

// next takes the sender that has waited longest.
func (q *newestQueue) next(now time.Time) *sender {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.resting) > 0 && now.Sub(q.resting[0].handled) >= q.paused {
		s := q.resting[0]
		q.resting[0] = nil
		q.resting = q.resting[1:]
		if len(s.waiting) > 0 {
			q.ready = append(q.ready, s)
		} else {
			delete(q.senders, s.id)
		}
	}
	if len(q.ready) == 0 {
		return nil
	}
	s := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	return s
}

// end notes that the messages of a sender were handled.
func (q *newestQueue) end(s *sender, began, now time.Time) {
	q.noteLoad(now.Sub(began), now)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting -= len(s.waiting)
	for _, m := range s.waiting {
		q.bytes -= len(m.Data)
	}
	s.waiting, s.since, s.handled = nil, 0, now
	if q.paused > 0 && s.id != "" {
		q.resting = append(q.resting, s)
	} else {
		delete(q.senders, s.id)
	}
}

// noteLoad notes for how long a sender's messages were handled, and sets the pause.
func (q *newestQueue) noteLoad(took time.Duration, now time.Time) {
	q.busy += took
	window := now.Sub(q.began)
	if window < loadWindow {
		return
	}
	share := float64(q.busy) / float64(window)
	wanted := min(time.Duration(2*share*float64(q.opts.MaxPause)), q.opts.MaxPause)
	if q.paused = (q.paused + wanted) / 2; q.paused < minPause {
		q.paused = 0
	}
	q.began, q.busy = now, 0
}

// wake sets the timer, if anything waits.
func (q *newestQueue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) > 0 {
		q.timer.Reset(idleWait)
		return
	}
	if q.waiting == 0 {
		return
	}
	next := q.resting[slices.IndexFunc(q.resting, func(s *sender) bool { return len(s.waiting) > 0 })]
	q.timer.Reset(max(q.paused-time.Since(next.handled), minPause))
}

// flush handles everything that waits.
func (q *newestQueue) flush(live *session, fn func(Msg)) {
	q.paused = 0
	for q.handle(live, fn) {
	}
}

// arrivals is how many messages have arrived so far.
func (q *newestQueue) arrivals() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.arrived
}

// passed reports whether the message with this number and all before it have been handled, or replaced by one that was.
func (q *newestQueue) passed(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.alone != 0 && q.alone <= number {
		return false
	}
	if q.waiting == 0 {
		return true
	}
	for _, s := range q.senders {
		if len(s.waiting) > 0 && s.since <= number {
			return false
		}
	}
	return true
}
