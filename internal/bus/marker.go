package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/notify"
)

// MarkerOptions say how a link's lag is measured.
type MarkerOptions struct {
	Subject string // this node's own: MarkerSubject makes one
	// Behind names subjects of this link's subscriptions. A marker counts as received when all messages that came on them
	// before it have been handled.
	Behind []string
	Every  time.Duration // between two markers
	// Heard, if not nil, is called after a marker was received, with the time that it took. It must be quick.
	Heard func(took time.Duration)
}

// MarkerSubject is where a node publishes its markers.
func MarkerSubject(node string) string { return NodeSubject(node, "marker") }

// NodeSubject is a subject of one node.
func NodeSubject(node, name string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, node)
	return "hm." + clean + "." + name
}

// Lag is how late a link is.
type Lag struct {
	Known bool
	Down  bool // the link is down, or has just come up and carried no marker yet
	// Time is the age of the oldest marker that has not come back, or the time that the newest one took, whichever is more.
	Time time.Duration
	// Refused is the server's text if it refuses the markers: the lag is then not known.
	Refused string
}

// maxPendingMarkers bounds the markers that have not come back. At the bound no more are sent: the oldest gives the lag.
const maxPendingMarkers = 256

// Marker measures how late a link is: it publishes markers and receives them on the link's own connection. A marker comes
// back behind all messages that the server holds for this connection, and counts as received once all messages that wait
// in this process have been handled. It ends with its link.
type Marker struct {
	link    *Link
	opts    MarkerOptions
	prefix  string        // of this process's markers: others may publish on the subject, too
	arrived notify.Signal // a marker has come back

	mu       sync.Mutex
	ses      *session
	number   uint64 // of the newest marker
	pending  []pendingMarker
	took     time.Duration // of the newest marker that was received on this connection
	received bool          // a marker was received on this connection

	back   uint64    // the newest marker that came back
	proved time.Time // when it was sent; zero: none ever came back

	awaited uint64          // a marker that came back, while messages before it are still to be handled; 0: none
	next    uint64          // the newest marker that came back since
	queues  []queuePosition // the messages to be handled before it

	refused   string // by the server, on the connection refusedOn
	refusedOn *session
	warned    bool
}

type pendingMarker struct {
	number uint64
	sent   time.Time
}

// queuePosition is a position in the queue of a subscription: the number of messages delivered before it.
type queuePosition struct {
	sub *nats.Subscription
	at  int64

	newest *newestQueue // where delivered messages wait on; nil: nowhere
	passed bool         // all before the position were delivered: those that are not handled are in newest
	number uint64       // of the newest message in newest then
}

// Mark begins to measure the link's lag. A link has one marker.
func (l *Link) Mark(o MarkerOptions) (*Marker, error) {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	m := &Marker{link: l, opts: o, prefix: hex.EncodeToString(nonce[:]) + " ", arrived: notify.New()}
	if !l.marker.CompareAndSwap(nil, m) {
		return nil, errors.New("the lag of this nats link is already measured")
	}
	limits := Limits{Messages: 4 * maxPendingMarkers, Bytes: 1 << 20, Spare: true}
	if err := l.Subscribe(o.Subject, limits, m.receive); err != nil {
		return nil, err
	}
	l.loops.Go(m.run)
	return m, nil
}

// Lag is how late the link is now. It is not known while the link is down.
func (m *Marker) Lag() Lag {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ses == nil || m.link.current() != m.ses:
		return Lag{Down: true}
	case m.refusedOn == m.ses:
		return Lag{Refused: m.refused}
	}
	lag := Lag{Known: m.received || len(m.pending) > 0, Time: m.took}
	if len(m.pending) > 0 {
		lag.Time = max(lag.Time, time.Since(m.pending[0].sent))
	}
	return lag
}

// Life is what the markers show about whether the link is alive. A connection can be dead for seconds before its pings
// fail.
type Life struct {
	// Proved is when the newest marker was sent that came back: the link was alive then. Zero: none ever came back.
	Proved time.Time
	// Silent is when the first marker was sent that has not come back and after which nothing at all has arrived. Zero:
	// there is none, or the link is down.
	Silent time.Time
}

// Life says whether the link is alive. It knows nothing while the server refuses the markers.
func (m *Marker) Life() Life {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusedOn != nil && m.refusedOn == m.link.current() {
		return Life{}
	}
	life := Life{Proved: m.proved}
	if m.ses == nil || m.link.current() != m.ses {
		return life
	}
	heard := m.link.lastHeard()
	for _, p := range slices.Backward(m.pending) {
		if p.number <= m.back || !p.sent.After(heard) {
			break
		}
		life.Silent = p.sent
	}
	return life
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
		case <-m.arrived.C():
		case <-look.C:
		}
		if m.checkArrived() {
			look.Reset(max(m.opts.Every/20, time.Millisecond))
		}
	}
}

// send sends a marker, if the link is up.
func (m *Marker) send() {
	ses := m.link.current()
	m.mu.Lock()
	if ses != m.ses {
		m.ses, m.pending, m.took, m.received, m.awaited, m.next, m.queues = ses, nil, 0, false, 0, 0, nil
	}
	if ses == nil || m.refusedOn == ses || len(m.pending) == maxPendingMarkers {
		m.mu.Unlock()
		return
	}
	m.number++
	text := m.prefix + strconv.FormatUint(m.number, 10)
	m.pending = append(m.pending, pendingMarker{m.number, time.Now()})
	m.mu.Unlock()
	_ = ses.nc.Publish(m.opts.Subject, []byte(text)) // may block, and fails only with the connection
}

// receive handles a message on the marker's subject.
func (m *Marker) receive(msg Msg) {
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
	if len(m.pending) == 0 || number < m.pending[0].number || number > m.number {
		return // of an earlier connection
	}
	if number > m.back { // the numbers of the pending markers have no gap
		m.back, m.proved = number, m.pending[number-m.pending[0].number].sent
	}
	if m.awaited != 0 {
		m.next = max(m.next, number)
		return
	}
	m.waitFor(number)
	m.arrived.Notify()
}

// waitFor notes a marker that came back, and where the queues end now. m.mu must be held.
func (m *Marker) waitFor(number uint64) {
	m.awaited, m.next, m.queues = number, 0, m.queues[:0]
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	for _, t := range m.ses.active {
		for _, subject := range m.opts.Behind {
			if t.s.subject != subject {
				continue
			}
			// In this order, a message that is delivered between the two calls is counted in neither, not in both.
			delivered, err := t.sub.Delivered()
			pending, _, errPending := t.sub.Pending()
			if err == nil && errPending == nil && (pending > 0 || t.s.newest != nil) {
				m.queues = append(m.queues, queuePosition{sub: t.sub, at: delivered + int64(pending), newest: t.s.newest})
			}
		}
	}
}

// handled reports whether all messages before the position have been handled.
func (q *queuePosition) handled() bool {
	if !q.passed {
		if !q.delivered() {
			return false
		}
		if q.passed = true; q.newest != nil {
			q.number = q.newest.arrivals()
		}
	}
	return q.newest == nil || q.newest.passed(q.number)
}

// delivered reports whether all messages before the position have been delivered. The message that is being delivered
// counts as delivered and as pending, so the position may be one too high: an empty queue is enough, too.
func (q *queuePosition) delivered() bool {
	delivered, err := q.sub.Delivered()
	if err != nil || delivered > q.at {
		return true // or the subscription was closed
	}
	pending, _, err := q.sub.Pending()
	return err != nil || pending == 0
}

// checkArrived counts the marker that came back as received once all messages before it have been handled. It reports
// whether it still waits for them.
func (m *Marker) checkArrived() (waiting bool) {
	for {
		m.mu.Lock()
		if m.awaited == 0 {
			m.mu.Unlock()
			return false
		}
		for i := range m.queues {
			if !m.queues[i].handled() {
				m.mu.Unlock()
				return true
			}
		}
		now := time.Now()
		longest := time.Duration(0)
		for len(m.pending) > 0 && m.pending[0].number <= m.awaited {
			m.took = now.Sub(m.pending[0].sent)
			longest = max(longest, m.took)
			m.pending = m.pending[1:]
		}
		m.received = true
		if m.next != 0 {
			m.waitFor(m.next)
		} else {
			m.awaited = 0
		}
		m.mu.Unlock()
		if m.opts.Heard != nil {
			m.opts.Heard(longest)
		}
	}
}

// noteRefusal records that the server refuses the markers on a connection, and reports false for other subjects.
func (m *Marker) noteRefusal(ses *session, err error) bool {
	if m == nil || !strings.Contains(err.Error(), `"`+m.opts.Subject+`"`) {
		return false
	}
	text := m.link.redact(err)
	m.mu.Lock()
	first := !m.warned
	m.warned = true
	m.refusedOn, m.refused = ses, text
	if m.ses == ses {
		m.pending, m.awaited, m.next = nil, 0, 0
	}
	m.mu.Unlock()
	if first {
		m.link.logger.Warn("nats refuses the messages that measure how late this link is: this node will not notice a late link",
			"subject", m.opts.Subject, "error", text, "hint",
			"grant the user that hm connects as the permission to publish and to subscribe to this subject")
	}
	return true
}
