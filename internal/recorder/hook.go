package recorder

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
	"hm/internal/recording"
	"hm/raftfsm"
)

// Hook lets a running node be recorded. The node's parts call it with each event. While no recording is under way, a
// call costs one atomic load. A recording that is too slow loses messages, notes that, and never delays the node.
//
// The times of a recording start with hm time, so that a replay decides at the same instants, and then follow the
// monotonic clock: hm time itself jumps forward on a node that receives log entries late. Events learned after the fact
// keep their original time and are inserted in order if they arrive within settleTime.
//
// All methods are safe for concurrent use, and all times that they take are hm time.
type Hook struct {
	now func() app.Time

	active atomic.Bool // at least one recording is under way
	mu     sync.Mutex
	all    map[*hooked]struct{}
}

// Limits of the events that wait to be written, per recording.
const (
	maxQueuedMessages = 131_072
	maxQueuedBytes    = 256 << 20
	maxQueuedOthers   = 4_096 // reads, holds and the like: a recording that loses one of these ends
)

const (
	// settleTime is how long an event waits before it is written: by then all earlier ones are known. A follower
	// notices the loss of the leader after raft.heartbeat_timeout, at most twice as long.
	settleTime     = 2 * time.Second
	writeEvery     = 50 * time.Millisecond  // how often events that have waited long enough are written
	keepAliveEvery = 2 * time.Second        // between empty lines while there is nothing to write
	maxClockSkew   = 250 * time.Millisecond // between hm time and the recording's time, where they should be the same
)

// errBehind ends a recording that has lost an event that it must not lose.
var errBehind = errors.New("the recording is too far behind what happens")

// hooked is one recording under way.
type hooked struct {
	id        string // unique, also across restarts of the node
	start     func() Start
	began     time.Time // with a monotonic reading
	beganTime app.Time  // hm time at began

	queue chan hookEvent
	count atomic.Int64 // events that are not written yet
	bytes atomic.Int64 // of the messages among them
	lost  bool         // messages were left out, and the recording does not say so yet; guarded by Hook.mu
	ended atomic.Bool  // an event was left out that must not be

	statePending atomic.Bool // a state waits to be written

	waiting []hookEvent // taken from the queue, in the order of time; run's alone
}

type hookEvent struct {
	at    app.Time      // by the recording's time
	skew  time.Duration // hm time minus the recording's time
	size  int           // bytes of a message
	state bool          // the recorded state: later calls are written after it, whatever their time
	write writeFunc
}

// writeFunc writes an event. convert gives an hm time by the recording's time.
type writeFunc func(w *recording.Writer, at time.Time, convert func(app.Time) time.Time) error

// now is the recording's time.
func (r *hooked) now() app.Time { return r.beganTime.Add(time.Since(r.began)) }

// convert gives an hm time by the recording's time.
func (e *hookEvent) convert(t app.Time) time.Time { return t.Add(-e.skew).Std() }

// NewHook returns a hook. now gives hm time.
func NewHook(now func() app.Time) *Hook { return &Hook{now: now, all: map[*hooked]struct{}{}} }

// Active reports whether any recording is under way. It spares the node work whose outcome nobody would record.
func (h *Hook) Active() bool { return h.active.Load() }

// Message records a message that is received now. The caller must not change data afterwards.
func (h *Hook) Message(subject string, data []byte) {
	if h.Active() {
		h.add(0, len(data)+64, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error {
			return w.Message(at, subject, data)
		})
	}
}

// Link records that the node's NATS link is down or up, or, with gap, that it lost messages.
func (h *Hook) Link(up, gap bool) {
	h.add(0, 0, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error {
		return w.Link(at, up, gap)
	})
}

// Leader records that another node leads, or this one again.
func (h *Hook) Leader() {
	h.add(0, 0, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Leader(at) })
}

// Leaderless records that no node has led since at, as far as this node knows.
func (h *Hook) Leaderless(at app.Time) {
	h.add(at, 0, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error { return w.Leaderless(at) })
}

// Read records how a read of the desired state ended at a time, 0 for now. It was begun at began.
func (h *Hook) Read(at, began app.Time, read desired.Read, err error) {
	h.add(at, 0, func(w *recording.Writer, at time.Time, convert func(app.Time) time.Time) error {
		return w.Desired(at, convert(began), read, err)
	})
}

// ReadApp records how a read of one app ended at a time, 0 for now. It was begun at began.
func (h *Hook) ReadApp(at, began app.Time, droplet app.GUID, rows []desired.App, err error) {
	h.add(at, 0, func(w *recording.Writer, at time.Time, convert func(app.Time) time.Time) error {
		return w.DesiredApp(at, convert(began), droplet, rows, err)
	})
}

// Hold records that a person set a hold at a time, or released it.
func (h *Hook) Hold(at app.Time, hold raftfsm.Hold, released bool) {
	h.add(at, 0, func(w *recording.Writer, at time.Time, convert func(app.Time) time.Time) error {
		if hold.Until != 0 {
			hold.Until = app.TimeOf(convert(hold.Until))
		}
		return w.Hold(at, hold, released)
	})
}

// Command records a command that was sent at a time, in the form in which it is published.
func (h *Hook) Command(at app.Time, subject string, data []byte) {
	h.add(at, 0, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error {
		return w.Message(at, subject, data)
	})
}

// add gives an event to every recording. at is when it happened, 0 for now; size is not 0 for one that may be lost.
func (h *Hook) add(at app.Time, size int, write writeFunc) {
	if !h.Active() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if at == 0 {
		at = now
	}
	for r := range h.all {
		skew := now.Sub(r.now())
		r.add(hookEvent{at: at.Add(-skew), skew: skew, size: size, write: write})
	}
}

// add queues an event, or leaves a message out if too much waits already.
func (r *hooked) add(e hookEvent) {
	if e.size > 0 && (r.count.Load() >= maxQueuedMessages || r.bytes.Load() > maxQueuedBytes) {
		r.lost = true
		return
	}
	if r.lost { // the gap ends here
		r.lost = false
		r.enqueue(hookEvent{at: e.at, write: func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error {
			return w.Link(at, true, true)
		}})
	}
	r.enqueue(e)
}

func (r *hooked) enqueue(e hookEvent) {
	select {
	case r.queue <- e:
		r.count.Add(1)
		r.bytes.Add(int64(e.size))
	default:
		r.ended.Store(true)
	}
}

// Start is what the recording of a node starts with.
type Start struct {
	Header    recording.Header
	LinkUp    bool           // the node's NATS link
	State     *raftfsm.State // frozen
	ReadBegan app.Time       // when the newest complete read was begun, 0 if there is none. State has its outcome
}

// Record writes a recording to out, as JSON lines, until ctx ends, which is no error, or out fails. It calls start once
// every later event is recorded. flush, which may be nil, is called when out should pass on what it has.
func (h *Hook) Record(ctx context.Context, out io.Writer, flush func() error, start func() Start) error {
	r := &hooked{
		id: rand.Text(), start: start, queue: make(chan hookEvent, maxQueuedMessages+maxQueuedOthers),
		began: time.Now(), beganTime: h.now(),
	}
	h.mu.Lock()
	h.all[r] = struct{}{}
	h.active.Store(true)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.all, r)
		h.active.Store(len(h.all) > 0)
		h.mu.Unlock()
	}()
	s := start()
	s.Header.ID = r.id
	w := recording.WriteTo(out, recording.WriterOptions{Header: s.Header})
	if err := writeStart(w, r.now().Std(), s); err != nil {
		return err
	}
	return r.run(ctx, w, out, flush)
}

// InsertState writes the recorded state into the recording with an id (Header.ID), in order with the other events, so
// that another file of it can begin there. It returns false if there is no such recording, if one state waits to be
// written already, or if hm time has jumped since the recording began: the times in a state would not be those of the
// recording.
func (h *Hook) InsertState(id string) bool {
	state := make(chan *raftfsm.State, 1)
	r := h.reserve(id, func(w *recording.Writer, at time.Time, _ func(app.Time) time.Time) error {
		s, ok := <-state
		if !ok {
			return nil // there was none
		}
		if t := s.Time().Std(); t.After(at) {
			at = t
		}
		return w.State(at, s)
	})
	defer close(state)
	if r == nil {
		return false
	}
	state <- r.start().State // as at the start: what happens meanwhile is in the recording, and may be in the state
	return true
}

// reserve adds a state to the recording with an id. All later calls are written after it. It returns nil if it cannot.
func (h *Hook) reserve(id string, write writeFunc) *hooked {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.all {
		if r.id == id && h.now().Sub(r.now()).Abs() <= maxClockSkew && r.statePending.CompareAndSwap(false, true) {
			r.enqueue(hookEvent{at: r.now(), state: true, write: write})
			return r
		}
	}
	return nil
}

// writeStart writes what the recording of a node starts with.
func writeStart(w *recording.Writer, at time.Time, s Start) error {
	if err := w.State(at, s.State); err != nil {
		return err
	}
	if !s.LinkUp {
		if err := w.Link(at, false, false); err != nil {
			return err
		}
	}
	if s.ReadBegan == 0 || !s.State.DesiredMeta().Complete {
		return nil
	}
	read, err := RecordedRead(s.State)
	if err != nil {
		return err
	}
	return w.Desired(at, s.ReadBegan.Std(), read, nil)
}

// RecordedRead returns the newest complete read as the state has it.
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

// run writes the queued events until ctx ends.
func (r *hooked) run(ctx context.Context, w *recording.Writer, out io.Writer, flush func() error) error {
	if flush == nil {
		flush = func() error { return nil }
	}
	if err := flush(); err != nil {
		return err
	}
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for quiet := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			for len(r.queue) > 0 {
				r.insert(<-r.queue)
			}
			return errors.Join(r.write(w, math.MaxInt64), w.Close())
		case e := <-r.queue:
			r.insert(e)
			continue
		case <-tick.C:
		}
		if r.ended.Load() {
			return errors.Join(errBehind, w.Close())
		}
		before := w.Stats.Lines
		if err := r.write(w, r.now().Add(-settleTime)); err != nil {
			return err
		}
		if quiet += writeEvery; w.Stats.Lines != before {
			quiet = 0
		} else if quiet < keepAliveEvery {
			continue
		} else if _, err := out.Write([]byte("\n")); err != nil { // an empty line, which readers skip
			return fmt.Errorf("writing the recording: %w", err)
		} else {
			quiet = 0
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

// insert puts an event after all events that are not later, and after the state that was reserved before it.
func (r *hooked) insert(e hookEvent) {
	i := len(r.waiting)
	for i > 0 && r.waiting[i-1].at > e.at && !r.waiting[i-1].state {
		i--
	}
	if i > 0 {
		e.at = max(e.at, r.waiting[i-1].at)
	}
	r.waiting = slices.Insert(r.waiting, i, e)
}

// write writes the events up to a time.
func (r *hooked) write(w *recording.Writer, until app.Time) error {
	n := 0
	for n < len(r.waiting) && r.waiting[n].at <= until {
		e := &r.waiting[n]
		r.count.Add(-1)
		r.bytes.Add(-int64(e.size))
		if e.state {
			r.statePending.Store(false)
		}
		if err := e.write(w, e.at.Std(), e.convert); err != nil {
			return err
		}
		n++
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	return nil
}
