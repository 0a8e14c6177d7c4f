package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/notify"
)

// MarkerOptions say how a link's lag is measured.
type MarkerOptions struct {
	Subject string // of this node's own: MarkerSubject makes one
	// Behind names subjects of this link's subscriptions. A marker counts as heard when everything has been handled that
	// came on them before it.
	Behind []string
	Every  time.Duration // between two markers
	// Heard, if not nil, is called after a marker was heard, with how long that took. It must be quick.
	Heard func(took time.Duration)
}

// MarkerSubject is where a node publishes its markers.
func MarkerSubject(node string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, node)
	return "hm." + clean + ".marker"
}

// Lag is how late a link is.
type Lag struct {
	Known bool
	// Time is for how long the oldest marker has been under way, or how long the newest one took, whichever is more.
	Time time.Duration
	// Refused is why it cannot be known, in the server's words.
	Refused string
}

// maxMarkersOut bounds the markers that are under way. With more none is sent: the oldest tells the lag.
const maxMarkersOut = 256

// Marker measures how late a link is: it publishes markers and listens to them on the connection on which everything
// else is heard. A marker comes back behind all that the server holds for this connection, and counts as heard behind
// all that waits in this process. It ends with its link.
type Marker struct {
	link   *Link
	opts   MarkerOptions
	prefix string        // of this process's own markers: others may use the subject as well
	came   notify.Signal // a marker came

	mu     sync.Mutex
	sp     *spell
	number uint64 // of the newest marker
	out    []markerOut
	took   time.Duration // by the newest marker that was heard on this connection
	heard  bool          // one was heard on this connection

	awaits uint64     // a marker that came, while what came before it is still to be handled; 0: none
	next   uint64     // the newest marker that came since
	queues []queueEnd // up to where the queues are to be handled

	refused   string // by the server, on the connection refusedOn
	refusedOn *spell
	warned    bool
}

type markerOut struct {
	number uint64
	sent   time.Time
}

// queueEnd is a place in the queue of a subscription, by how many messages were delivered before it.
type queueEnd struct {
	sub *nats.Subscription
	at  int64
}

// Mark begins to measure the link's lag. A link has one marker.
func (l *Link) Mark(o MarkerOptions) (*Marker, error) {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	m := &Marker{link: l, opts: o, prefix: hex.EncodeToString(nonce[:]) + " ", came: notify.New()}
	if !l.marker.CompareAndSwap(nil, m) {
		return nil, errors.New("the lag of this nats link is measured already")
	}
	if err := l.Subscribe(o.Subject, Limits{Messages: 4 * maxMarkersOut, Bytes: 1 << 20, Spare: true}, m.hear); err != nil {
		return nil, err
	}
	l.loops.Go(m.run)
	return m, nil
}

// Lag is how late the link is at this moment. It is not known while the link is down.
func (m *Marker) Lag() Lag {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.sp == nil || m.link.current() != m.sp:
		return Lag{}
	case m.refusedOn == m.sp:
		return Lag{Refused: m.refused}
	}
	lag := Lag{Known: m.heard || len(m.out) > 0, Time: m.took}
	if len(m.out) > 0 {
		lag.Time = max(lag.Time, time.Since(m.out[0].sent))
	}
	return lag
}

func (m *Marker) run() {
	tick := time.NewTicker(m.opts.Every)
	defer tick.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-m.link.stop.Done():
			return
		case <-tick.C:
			m.send()
		case <-m.came.C():
		case <-look.C:
		}
		if m.settle() {
			look.Reset(max(m.opts.Every/20, time.Millisecond))
		}
	}
}

// send sends a marker on the connection that there is.
func (m *Marker) send() {
	sp := m.link.current()
	m.mu.Lock()
	if sp != m.sp {
		m.sp, m.out, m.took, m.heard, m.awaits, m.next, m.queues = sp, nil, 0, false, 0, 0, nil
	}
	if sp == nil || m.refusedOn == sp || len(m.out) == maxMarkersOut {
		m.mu.Unlock()
		return
	}
	m.number++
	text := m.prefix + strconv.FormatUint(m.number, 10)
	m.out = append(m.out, markerOut{m.number, time.Now()})
	m.mu.Unlock()
	_ = sp.nc.Publish(m.opts.Subject, []byte(text)) // it may block, and fails only with the connection
}

// hear takes a message on the marker's subject.
func (m *Marker) hear(msg Msg) {
	if len(msg.Data) > 64 {
		return
	}
	text, own := strings.CutPrefix(string(msg.Data), m.prefix)
	number, err := strconv.ParseUint(text, 10, 64)
	if !own || err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.out) == 0 || number < m.out[0].number || number > m.number {
		return // of an earlier connection
	}
	if m.awaits != 0 {
		m.next = max(m.next, number)
		return
	}
	m.await(number)
	m.came.Notify()
}

// await notes a marker that came, and where the queues end at this moment. m.mu must be held.
func (m *Marker) await(number uint64) {
	m.awaits, m.next, m.queues = number, 0, m.queues[:0]
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	for _, t := range m.sp.taps {
		for _, subject := range m.opts.Behind {
			if t.s.subject != subject {
				continue
			}
			// In this order: what is delivered between the two is then counted in neither, and not in both.
			delivered, err := t.sub.Delivered()
			pending, _, errPending := t.sub.Pending()
			if err == nil && errPending == nil && pending > 0 {
				m.queues = append(m.queues, queueEnd{t.sub, delivered + int64(pending)})
			}
		}
	}
}

// handled reports whether everything before the place has been handled. The message that is being handled counts as
// delivered and as pending, so that the place may be one too far: an empty queue tells as well.
func (q queueEnd) handled() bool {
	delivered, err := q.sub.Delivered()
	if err != nil || delivered > q.at {
		return true // a subscription that is no more has nothing to wait for
	}
	pending, _, err := q.sub.Pending()
	return err != nil || pending == 0
}

// settle looks whether the marker that came counts as heard, and reports whether it is still to be awaited.
func (m *Marker) settle() (awaits bool) {
	for {
		m.mu.Lock()
		if m.awaits == 0 {
			m.mu.Unlock()
			return false
		}
		for _, q := range m.queues {
			if !q.handled() {
				m.mu.Unlock()
				return true
			}
		}
		now := time.Now()
		longest := time.Duration(0)
		for len(m.out) > 0 && m.out[0].number <= m.awaits {
			m.took = now.Sub(m.out[0].sent)
			longest = max(longest, m.took)
			m.out = m.out[1:]
		}
		m.heard = true
		if m.next != 0 {
			m.await(m.next)
		} else {
			m.awaits = 0
		}
		m.mu.Unlock()
		if m.opts.Heard != nil {
			m.opts.Heard(longest)
		}
	}
}

// refuse takes in that the server refuses something on a connection, and reports whether that is the marker.
func (m *Marker) refuse(sp *spell, err error) bool {
	if m == nil || !strings.Contains(err.Error(), `"`+m.opts.Subject+`"`) {
		return false
	}
	words := m.link.redact(err)
	m.mu.Lock()
	first := !m.warned
	m.warned = true
	m.refusedOn, m.refused = sp, words
	if m.sp == sp {
		m.out, m.awaits, m.next = nil, 0, 0
	}
	m.mu.Unlock()
	if first {
		m.link.logger.Warn("nats refuses the messages by which this node measures how late it hears: it will not notice a link that is late",
			"subject", m.opts.Subject, "error", words, "hint", "grant the user that hm connects as the permission to publish and to subscribe to this subject")
	}
	return true
}
