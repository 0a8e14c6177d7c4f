package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Tap lets recordings be taken of a running node. The node's parts tell it what they hear; while nobody records, that
// costs them the look at one flag. A recording that cannot keep up with the node loses messages, which it says, and
// never holds the node up. Its times are the node's hm time, so that a replay decides at the very same moments. All its
// methods are safe for concurrent use.
type Tap struct {
	now func() app.Time

	on   atomic.Bool // somebody records
	mu   sync.Mutex
	taps map[*tapped]struct{}
}

// What may wait for a recording to be written.
const (
	tapMessages = 65_536
	tapBytes    = 256 << 20
	tapOthers   = 4_096 // reads, holds and the like: a recording that loses one of these ends
)

// tapBlank is how often a recording says nothing when there is nothing to say, so that its reader can tell a quiet node
// from one that is gone.
const tapBlank = 2 * time.Second

// errBehind ends a recording that is so far behind that it would not be one any more.
var errBehind = errors.New("the recording is too far behind what happens")

// tapped is one recording under way.
type tapped struct {
	queue chan tapEvent
	bytes atomic.Int64 // of the messages in queue
	lost  bool         // messages were left out, and the recording does not say so yet; guarded by Tap.mu
	ended atomic.Bool  // something was left out that cannot be
}

type tapEvent struct {
	size  int // bytes of a message
	write func(*Writer) error
}

// NewTap returns a tap that tells the time by now, which is hm time.
func NewTap(now func() app.Time) *Tap { return &Tap{now: now, taps: map[*tapped]struct{}{}} }

// On reports whether anybody records, so that what costs something to find out need not be.
func (t *Tap) On() bool { return t.on.Load() }

// Message tells of a message that was heard. Nobody may change data afterwards.
func (t *Tap) Message(subject string, data []byte) {
	if !t.On() {
		return
	}
	t.tell(len(data)+64, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Message(at, subject, data) }
	})
}

// Link tells that the node's NATS link was lost, is back, or, with gap, has lost messages.
func (t *Tap) Link(up, gap bool) {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Link(at, up, gap) }
	})
}

// Leader tells that another node leads, or this one anew.
func (t *Tap) Leader() {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Leader(at) }
	})
}

// Read tells how an attempt to read the desired state ended that was begun at began.
func (t *Tap) Read(began app.Time, read desired.Read, err error) {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Desired(at, began.Std(), read, err) }
	})
}

// ReadApp tells how an attempt to read one app ended.
func (t *Tap) ReadApp(began app.Time, droplet app.GUID, rows []desired.App, err error) {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.DesiredApp(at, began.Std(), droplet, rows, err) }
	})
}

// Hold tells that a person set a hold, or released it.
func (t *Tap) Hold(h raftfsm.Hold, released bool) {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Hold(at, h, released) }
	})
}

// Command tells of a command that was sent, in the form in which it is published.
func (t *Tap) Command(subject string, data []byte) {
	t.tell(0, func(at time.Time) func(*Writer) error {
		return func(w *Writer) error { return w.Message(at, subject, data) }
	})
}

// tell hands an event to every recording, in the order of time for all of them. size is not 0 for one that may be lost.
func (t *Tap) tell(size int, event func(at time.Time) func(*Writer) error) {
	if !t.On() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.now().Std()
	e := tapEvent{size, event(at)}
	for r := range t.taps {
		r.take(at, e)
	}
}

func (r *tapped) take(at time.Time, e tapEvent) {
	if e.size > 0 && (len(r.queue) >= tapMessages || r.bytes.Load() > tapBytes) {
		r.lost = true
		return
	}
	if r.lost { // what was left out is a gap, which ends here
		r.lost = false
		r.put(tapEvent{write: func(w *Writer) error { return w.Link(at, true, true) }})
	}
	r.put(e)
}

func (r *tapped) put(e tapEvent) {
	select {
	case r.queue <- e:
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
	r := &tapped{queue: make(chan tapEvent, tapMessages+tapOthers)}
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
	w := WriteTo(out, WriterOptions{Header: b.Header})
	if err := w.beginWith(t.now().Std(), b); err != nil {
		return err
	}
	return r.run(ctx, w, out, flush)
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
	pass := func() error {
		if flush == nil {
			return nil
		}
		return flush()
	}
	if err := pass(); err != nil {
		return err
	}
	tick := time.NewTicker(tapBlank / 4)
	defer tick.Stop()
	lines, quiet := 0, time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return w.Close()
		case e := <-r.queue:
			r.bytes.Add(-int64(e.size))
			if err := e.write(w); err != nil {
				return err
			}
			if len(r.queue) > 0 {
				continue // there is more to pass on
			}
		case <-tick.C:
			if r.ended.Load() {
				return errors.Join(errBehind, w.Close())
			}
			if quiet += tapBlank / 4; w.Stats.Lines != lines {
				lines, quiet = w.Stats.Lines, 0
			} else if quiet >= tapBlank {
				quiet = 0
				if _, err := out.Write([]byte("\n")); err != nil { // between lines; a reader passes over it
					return fmt.Errorf("writing the recording: %w", err)
				}
			}
		}
		if err := pass(); err != nil {
			return err
		}
	}
}
