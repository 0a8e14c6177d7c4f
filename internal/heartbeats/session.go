package heartbeats

import (
	"bufio"
	"net"
	"sync"
	"time"

	"hm/actual/feed"
	"hm/internal/notify"
)

// Limits of what waits for one peer.
const (
	maxQueued      = 4096     // heartbeats
	maxQueuedBytes = 64 << 20 // of their bodies
)

// How often a receiver gives its clock, in the time that a heartbeat may take, and after how many of these times without
// a word of the receiver the connection counts as dead.
const (
	clocksPerWait = 4
	waitsToDeath  = 4
)

// session is one connection to a peer, as long as it works.
type session struct {
	conn     net.Conn
	digester feed.Digester // computes the peer's digests
	wait     time.Duration
	stats    *relayStats
	work     notify.Signal // there is something to write, or the session has ended

	mu      sync.Mutex
	clock   int64     // of the peer, from its newest reply
	clockAt time.Time // when that reply arrived
	number  uint64    // of the newest heartbeat
	queue   []*telling
	bytes   int                 // of the bodies in open
	open    map[uint64]*telling // heartbeats without an answer, by number
	ended   bool
}

// telling is one heartbeat on its way to one peer.
type telling struct {
	session  *session
	number   uint64
	digest   feed.Digest
	body     []byte
	deadline int64       // on the peer's clock
	until    time.Time   // the same time, or a later one, on this node's clock
	wanted   bool        // the peer wants the body
	written  bool        // a part of it may have left this node
	answered chan<- byte // gets the answer; it has room
}

func newSession(conn net.Conn, key feed.DigesterKey, wait time.Duration, stats *relayStats) *session {
	return &session{conn: conn, digester: feed.DigesterOf(key), wait: wait, stats: stats, work: notify.New(),
		open: map[uint64]*telling{}}
}

// tell queues a heartbeat. It gives nil if the peer has been silent for so long that it would drop the heartbeat, or if
// too much waits.
func (s *session) tell(body []byte, now time.Time, wait time.Duration, answered chan<- byte) *telling {
	t := &telling{session: s, digest: s.digester.Sum(body), body: body, until: now.Add(wait), answered: answered}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || now.Sub(s.clockAt) >= wait || len(s.queue) >= maxQueued || len(s.open) >= maxQueued || s.bytes+len(body) > maxQueuedBytes {
		return nil
	}
	s.number++
	t.number, t.deadline = s.number, s.clock+int64(wait)
	s.queue = append(s.queue, t)
	s.open[t.number] = t
	s.bytes += len(body)
	s.work.Notify()
	return t
}

// forget drops a heartbeat for which nobody waits any more.
func (s *session) forget(t *telling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(t)
}

// drop removes a heartbeat that has no answer yet. It may still be in the queue, without its body. The caller holds
// s.mu.
func (s *session) drop(t *telling) {
	if s.open[t.number] == t {
		delete(s.open, t.number)
		s.bytes -= len(t.body)
		t.body = nil
	}
}

// write sends what is queued, in order, until the session ends.
func (s *session) write() error {
	w := bufio.NewWriterSize(s.conn, 64<<10)
	for {
		s.mu.Lock()
		queue, ended := s.queue, s.ended
		s.queue = nil
		s.mu.Unlock()
		if ended {
			return nil
		}
		if len(queue) == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
			<-s.work.C()
			continue
		}
		for _, t := range queue {
			q, ok := s.request(t)
			if !ok {
				continue
			}
			if err := s.conn.SetWriteDeadline(time.Now().Add(s.patience())); err != nil {
				return err
			}
			if err := writeRequest(w, q); err != nil {
				return err
			}
			s.stats.bytes.Add(uint64(requestHeaderLen + len(q.payload)))
		}
	}
}

// request gives what to send of a heartbeat; false if nobody waits for it any more, or it would come too late.
func (s *session) request(t *telling) (request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[t.number] != t || time.Now().After(t.until) {
		return request{}, false
	}
	t.written = true
	q := request{kind: asksDigest, number: t.number, deadline: t.deadline, payload: t.digest[:]}
	if t.wanted {
		q.kind, q.payload = asksBody, t.body
	}
	return q, true
}

// patience is how long the peer may take to send or receive anything.
func (s *session) patience() time.Duration { return max(waitsToDeath*s.wait, time.Second) }

// read takes the peer's replies until the connection fails.
func (s *session) read() error {
	r := bufio.NewReader(s.conn)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.patience())); err != nil {
			return err
		}
		p, err := readReply(r)
		if err != nil {
			return err
		}
		s.take(p, time.Now())
	}
}

// take takes in a reply that arrived at now.
func (s *session) take(p reply, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.clock >= s.clock {
		s.clock, s.clockAt = p.clock, now
	}
	t := s.open[p.number]
	switch {
	case p.kind == saysClock || t == nil: // nobody waits for it any more
	case p.kind == saysWanted && !t.wanted:
		t.wanted = true
		s.queue = append(s.queue, t)
		s.work.Notify()
	default:
		s.drop(t)
		t.answered <- p.kind
	}
}

// end ends the session. What has not left this node will not arrive; for the rest its sender waits as long as it may
// still arrive.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.queue = true, nil
	for _, t := range s.open {
		if !t.written {
			s.drop(t)
			t.answered <- saysLate
		}
	}
	s.work.Notify()
}
