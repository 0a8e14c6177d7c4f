package replay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Tap lets recordings be taken of a running node. The node's parts tell it what they hear; while nobody records, that
// costs them the look at one flag. A recording that cannot keep up with the node loses messages, which it says, and
// never holds the node up. Its times begin with hm time, so that a replay decides at the very same moments, and go on
// with the time that passes: hm time itself jumps forward on a node that has slept through the log's newest entries.
// What a node learns of late (the log and its peers tell it what the leader did) is given its own time, and is put in its
// place if it comes within tapSettle. All methods are safe for concurrent use, and all times they take are hm time.
type Tap struct {
	now func() app.Time

	on   atomic.Bool // somebody records
	mu   sync.Mutex
	taps map[*tapped]struct{}
}

// What may wait for a recording to be written.
const (
	tapMessages = 131_072
	tapBytes    = 256 << 20
	tapOthers   = 4_096 // reads, holds and the like: a recording that loses one of these ends
)

const (
	// tapSettle is after how long an event is written: what is earlier is known by then. That a leader is lost is noticed
	// after raft.heartbeat_timeout, at most twice as long.
	tapSettle = 2 * time.Second
	tapLook   = 50 * time.Millisecond  // between two looks for such events
	tapBlank  = 2 * time.Second        // between signs of life when there is nothing to say
	tapWaver  = 250 * time.Millisecond // by which hm time may be off a recording's, where they should be the same
)

// errBehind ends a recording that is so far behind that it would not be one any more.
var errBehind = errors.New("the recording is too far behind what happens")

// tapped is one recording under way.
type tapped struct {
	id      string // of no other recording, not even of one before the node was started anew
	begin   func() Begin
	began   time.Time // with a monotonic reading
	beganAt app.Time  // hm time then

	queue chan tapEvent
	count atomic.Int64 // events that are not written
	bytes atomic.Int64 // of the messages among them
	lost  bool         // messages were left out, and the recording does not say so yet; guarded by Tap.mu
	ended atomic.Bool  // something was left out that cannot be

	marked atomic.Bool // a state waits to be written

	waiting []tapEvent // taken from the queue, in the order of time; run's alone
}

type tapEvent struct {
	at    app.Time      // by the recording's time
	ahead time.Duration // of hm time over the recording's
	size  int           // bytes of a message
	part  bool          // what is recorded: whatever is told of later comes behind it
	write tapWrite
}

// tapWrite writes an event. of gives a time of hm's by the recording's time.
type tapWrite func(w *Writer, at time.Time, of func(app.Time) time.Time) error

// now is the recording's time.
func (r *tapped) now() app.Time { return r.beganAt.Add(time.Since(r.began)) }

// of gives a time of hm's by the recording's time.
func (e *tapEvent) of(t app.Time) time.Time { return t.Add(-e.ahead).Std() }

// NewTap returns a tap that tells the time by now, which is hm time.
func NewTap(now func() app.Time) *Tap { return &Tap{now: now, taps: map[*tapped]struct{}{}} }

// On reports whether anybody records, so that what costs something to find out need not be.
func (t *Tap) On() bool { return t.on.Load() }

// Message tells of a message that is heard now. Nobody may change data afterwards.
func (t *Tap) Message(subject string, data []byte) {
	if t.On() {
		t.tell(0, len(data)+64, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Message(at, subject, data) })
	}
}

// Link tells that the node's NATS link is lost, is back, or, with gap, has lost messages.
func (t *Tap) Link(up, gap bool) {
	t.tell(0, 0, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Link(at, up, gap) })
}

// Leader tells that another node leads, or this one anew.
func (t *Tap) Leader() {
	t.tell(0, 0, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Leader(at) })
}

// Leaderless tells that no node has led since a time, as far as this one knows.
func (t *Tap) Leaderless(at app.Time) {
	t.tell(at, 0, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Leaderless(at) })
}

// Read tells how an attempt to read the desired state ended at a time, 0 for now, that was begun at began.
func (t *Tap) Read(at, began app.Time, read desired.Read, err error) {
	t.tell(at, 0, func(w *Writer, at time.Time, of func(app.Time) time.Time) error {
		return w.Desired(at, of(began), read, err)
	})
}

// ReadApp tells how an attempt to read one app ended at a time, 0 for now.
func (t *Tap) ReadApp(at, began app.Time, droplet app.GUID, rows []desired.App, err error) {
	t.tell(at, 0, func(w *Writer, at time.Time, of func(app.Time) time.Time) error {
		return w.DesiredApp(at, of(began), droplet, rows, err)
	})
}

// Hold tells that a person set a hold at a time, or released it.
func (t *Tap) Hold(at app.Time, h raftfsm.Hold, released bool) {
	t.tell(at, 0, func(w *Writer, at time.Time, of func(app.Time) time.Time) error {
		if h.Until != 0 {
			h.Until = app.TimeOf(of(h.Until))
		}
		return w.Hold(at, h, released)
	})
}

// Command tells of a command that was sent at a time, in the form in which it is published.
func (t *Tap) Command(at app.Time, subject string, data []byte) {
	t.tell(at, 0, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Message(at, subject, data) })
}

// tell hands an event to every recording. at is when it happened, 0 for now; size is not 0 for one that may be lost.
func (t *Tap) tell(at app.Time, size int, write tapWrite) {
	if !t.On() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if at == 0 {
		at = now
	}
	for r := range t.taps {
		ahead := now.Sub(r.now())
		r.take(tapEvent{at: at.Add(-ahead), ahead: ahead, size: size, write: write})
	}
}

func (r *tapped) take(e tapEvent) {
	if e.size > 0 && (r.count.Load() >= tapMessages || r.bytes.Load() > tapBytes) {
		r.lost = true
		return
	}
	if r.lost { // what was left out is a gap, which ends here
		r.lost = false
		r.put(tapEvent{at: e.at, write: func(w *Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Link(at, true, true) }})
	}
	r.put(e)
}

func (r *tapped) put(e tapEvent) {
	select {
	case r.queue <- e:
		r.count.Add(1)
		r.bytes.Add(int64(e.size))
	default:
		r.ended.Store(true)
	}
}

// Begin is what a recording of a node begins with.
type Begin struct {
	Header Header
	Up     bool           // the node's NATS link
	State  *raftfsm.State // frozen
	Read   app.Time       // when the newest complete read was begun, 0 if there is none. What it gave is what State has
}

// Record writes a recording to out, as JSON lines, until ctx ends, which is no error, or out fails. begin is called once
// everything that happens from then on is taken. flush, which may be nil, is called when out should pass on what it has.
func (t *Tap) Record(ctx context.Context, out io.Writer, flush func() error, begin func() Begin) error {
	r := &tapped{id: rand.Text(), begin: begin, queue: make(chan tapEvent, tapMessages+tapOthers), began: time.Now(), beganAt: t.now()}
	t.mu.Lock()
	t.taps[r] = struct{}{}
	t.on.Store(true)
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.taps, r)
		t.on.Store(len(t.taps) > 0)
		t.mu.Unlock()
	}()
	b := begin()
	b.Header.ID = r.id
	w := WriteTo(out, WriterOptions{Header: b.Header})
	if err := w.beginWith(r.now().Std(), b); err != nil {
		return err
	}
	return r.run(ctx, w, out, flush)
}

// State puts what is recorded now into the recording with an id (Header.ID), in its place among what happens, so that a
// further part of it can begin there. It is false if there is no such recording, or if hm time has jumped since it began,
// so that the times in a state are not those of the recording, or if one waits to be written already.
func (t *Tap) State(id string) bool {
	state := make(chan *raftfsm.State, 1)
	r := t.mark(id, func(w *Writer, at time.Time, _ func(app.Time) time.Time) error {
		s, ok := <-state
		if !ok {
			return nil // there was none to be had
		}
		return w.State(later(at, s.Time().Std()), s)
	})
	defer close(state)
	if r == nil {
		return false
	}
	state <- r.begin().State // as at the beginning: what is told meanwhile is in the recording, and may be in the state
	return true
}

// mark puts an event for which all others that are told of from now on have to wait into the recording with an id.
func (t *Tap) mark(id string, write tapWrite) *tapped {
	t.mu.Lock()
	defer t.mu.Unlock()
	for r := range t.taps {
		if r.id == id && t.now().Sub(r.now()).Abs() <= tapWaver && r.marked.CompareAndSwap(false, true) {
			r.put(tapEvent{at: r.now(), part: true, write: write})
			return r
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *Writer) beginWith(at time.Time, b Begin) error {
	if err := w.State(at, b.State); err != nil {
		return err
	}
	if !b.Up {
		if err := w.Link(at, false, false); err != nil {
			return err
		}
	}
	if b.Read == 0 || !b.State.DesiredMeta().Complete {
		return nil
	}
	read, err := RecordedRead(b.State)
	if err != nil {
		return err
	}
	return w.Desired(at, b.Read.Std(), read, nil)
}

// RecordedRead gives the newest complete read as it is recorded.
func RecordedRead(s *raftfsm.State) (desired.Read, error) {
	apps := make([]desired.App, 0, s.DesiredMeta().Apps)
	for a := range s.DesiredApps() {
		apps = append(apps, a)
	}
	read, err := desired.NewRead(s.DesiredMeta().Source, apps)
	if err != nil {
		return read, fmt.Errorf("recording the desired state: %w", err)
	}
	return read, nil
}

// run writes what comes, until ctx ends.
func (r *tapped) run(ctx context.Context, w *Writer, out io.Writer, flush func() error) error {
	if flush == nil {
		flush = func() error { return nil }
	}
	if err := flush(); err != nil {
		return err
	}
	tick := time.NewTicker(tapLook)
	defer tick.Stop()
	for quiet := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			for len(r.queue) > 0 {
				r.sort(<-r.queue)
			}
			return errors.Join(r.write(w, math.MaxInt64), w.Close())
		case e := <-r.queue:
			r.sort(e)
			continue
		case <-tick.C:
		}
		if r.ended.Load() {
			return errors.Join(errBehind, w.Close())
		}
		before := w.Stats.Lines
		if err := r.write(w, r.now().Add(-tapSettle)); err != nil {
			return err
		}
		if quiet += tapLook; w.Stats.Lines != before {
			quiet = 0
		} else if quiet < tapBlank {
			continue
		} else if _, err := out.Write([]byte("\n")); err != nil { // between lines; a reader passes over it
			return fmt.Errorf("writing the recording: %w", err)
		} else {
			quiet = 0
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

// sort puts an event behind all that are not later, and behind what is recorded before it was told of.
func (r *tapped) sort(e tapEvent) {
	i := len(r.waiting)
	for i > 0 && r.waiting[i-1].at > e.at && !r.waiting[i-1].part {
		i--
	}
	if i > 0 {
		e.at = max(e.at, r.waiting[i-1].at)
	}
	r.waiting = slices.Insert(r.waiting, i, e)
}

// write writes the events up to a time.
func (r *tapped) write(w *Writer, until app.Time) error {
	n := 0
	for n < len(r.waiting) && r.waiting[n].at <= until {
		e := &r.waiting[n]
		r.count.Add(-1)
		r.bytes.Add(-int64(e.size))
		if e.part {
			r.marked.Store(false)
		}
		if err := e.write(w, e.at.Std(), e.of); err != nil {
			return err
		}
		n++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	return nil
}
