package replay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"hm/actual/feed"
	"hm/commands/natspub"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// RecorderOptions say what to record.
type RecorderOptions struct {
	Link         *bus.Link
	Source       reconcile.Source // of the desired state
	Writer       *Writer
	PollInterval time.Duration // between reads of the desired state; a third of it after one that failed
	ReadTimeout  time.Duration // of one read
	// Ask, if not nil, asks a node now and then for what only nodes know; each change is recorded.
	Ask    func(context.Context) (Told, error)
	Logger *slog.Logger
}

// Told is what a node tells of that nobody hears over NATS.
type Told struct {
	Term  uint64         // of the leadership; 0: nobody leads
	Holds []raftfsm.Hold // that are set
}

// Subjects are what is recorded: all that hm listens to, and the commands that it or its predecessors send, which tell
// a replay what was done then.
var Subjects = []string{feed.SubjectHeartbeat, feed.SubjectExited, feed.SubjectUpdated, natspub.SubjectStart, natspub.SubjectStop, "health.start", "health.stop"}

const (
	recordFlush = time.Second
	recordLook  = 100 * time.Millisecond // at the link and the leader
)

var recordLimits = bus.Limits{Messages: 65_536, Bytes: 256 << 20}

// Record records until ctx ends or the recording cannot be written. It begins with a read of the desired state; what
// runs, the DEAs tell within a heartbeat period. The caller closes link and writer afterwards.
func Record(ctx context.Context, o RecorderOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &recorder{RecorderOptions: o, end: cancel, updated: make(chan app.GUID, maxUpdated)}
	r.awaitLink(ctx)
	wait := r.read(ctx)
	r.apps, _ = o.Source.(reconcile.AppReader)
	state := o.Link.State()
	if !state.Up {
		r.write(func(w *Writer) error { return w.Link(time.Now(), false, false) })
	}
	for _, subject := range Subjects {
		if err := o.Link.Subscribe(subject, recordLimits, r.message); err != nil {
			return fmt.Errorf("listening on %s: %w", subject, err)
		}
	}
	if s := o.Link.State(); s.Up && state.Up && s.Outages == state.Outages {
		state = s // the epochs that the subscriptions began
	}
	var others sync.WaitGroup
	others.Go(func() { r.poll(ctx, wait) })
	if o.Ask != nil {
		others.Go(func() { r.follow(ctx) })
	}
	r.followLink(ctx, state)
	others.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.failed
}

// recorder writes what several goroutines have to tell.
type recorder struct {
	RecorderOptions
	end     context.CancelFunc
	apps    reconcile.AppReader // the source, if it can read single apps
	updated chan app.GUID       // apps that are to be read

	mu     sync.Mutex
	closed bool
	failed error // why nothing more can be written
}

func (r *recorder) write(do func(*Writer) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if err := do(r.Writer); err != nil {
		r.closed, r.failed = true, err
		r.end()
	}
}

func (r *recorder) message(m bus.Msg) {
	r.write(func(w *Writer) error { return w.Message(time.Now(), m.Subject, m.Data) })
	if r.apps == nil || m.Subject != feed.SubjectUpdated {
		return
	}
	if droplet, err := feed.DecodeUpdated(m.Data); err == nil {
		select {
		case r.updated <- droplet:
		default: // the next complete read has it
		}
	}
}

// maxUpdated is how many apps may wait to be read by themselves.
const maxUpdated = 100

// linkPatience is how long the recording waits for NATS at first: without it no credentials for the read can be asked
// for, and the recording would begin with an outage that is none.
const linkPatience = 3 * time.Second

func (r *recorder) awaitLink(ctx context.Context) {
	late := time.NewTimer(linkPatience)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !r.Link.State().Up {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-look.C:
		}
	}
}

// read makes one read of the desired state and says when the next one is due.
func (r *recorder) read(ctx context.Context) time.Duration {
	reading, cancel := context.WithTimeout(ctx, r.ReadTimeout)
	defer cancel()
	began := time.Now()
	read, err := r.Source.Read(reading)
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		r.Logger.Warn("reading the desired state failed; that is recorded, too", "error", err)
	}
	r.write(func(w *Writer) error { return w.Desired(time.Now(), began, read, err) })
	if err != nil {
		return r.PollInterval / 3
	}
	return r.PollInterval
}

func (r *recorder) poll(ctx context.Context, wait time.Duration) {
	late := time.NewTimer(max(wait, 10*time.Millisecond))
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			wait = max(r.read(ctx), 10*time.Millisecond)
			late.Reset(wait)
		case droplet := <-r.updated:
			r.readApp(ctx, droplet)
		}
	}
}

// readApp reads an app of which a change was announced, as hm does.
func (r *recorder) readApp(ctx context.Context, droplet app.GUID) {
	reading, cancel := context.WithTimeout(ctx, r.ReadTimeout)
	defer cancel()
	began := time.Now()
	rows, err := r.apps.ReadApp(reading, droplet)
	if ctx.Err() == nil {
		r.write(func(w *Writer) error { return w.DesiredApp(time.Now(), began, droplet, rows, err) })
	}
}

// followLink notes what becomes of the link, and flushes.
func (r *recorder) followLink(ctx context.Context, last bus.State) {
	look, flush := time.NewTicker(recordLook), time.NewTicker(recordFlush)
	defer look.Stop()
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			r.write(func(w *Writer) error { return w.Flush() })
			continue
		case <-r.Link.Changed():
		case <-look.C:
		}
		s := r.Link.State()
		if s.Epoch == last.Epoch {
			continue
		}
		now := time.Now()
		r.write(func(w *Writer) error {
			switch {
			case s.Up && last.Up && s.Outages == last.Outages:
				return w.Link(now, true, true)
			case s.Up && last.Up:
				if err := w.Link(now, false, false); err != nil { // down and up again since the last look
					return err
				}
			}
			return w.Link(now, s.Up, false)
		})
		r.Logger.Info("nats link", "up", s.Up, "outages", s.Outages, "gaps", s.Gaps)
		last = s
	}
}

// follow notes each change of the leadership, and what people do to holds.
func (r *recorder) follow(ctx context.Context) {
	look := time.NewTicker(recordLook)
	defer look.Stop()
	var known Told
	silent := false
	for lost := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		told, err := r.Ask(ctx)
		if err != nil {
			if !silent && ctx.Err() == nil {
				silent = true
				r.Logger.Warn("the node does not say who leads and what people hold; that is missing in the recording until it does", "error", err)
			}
			continue
		}
		if silent {
			silent = false
			r.Logger.Info("the node says who leads and what people hold")
		}
		switch {
		case told.Term == 0:
			if told.Term = known.Term; !lost && known.Term != 0 {
				lost = true
				r.write(func(w *Writer) error { return w.Leaderless(time.Now()) })
			}
		case lost, known.Term != 0 && told.Term != known.Term:
			lost = false
			r.write(func(w *Writer) error { return w.Leader(time.Now()) })
			r.Logger.Info("another leadership", "term", told.Term)
		}
		for _, h := range told.Holds {
			if !slices.ContainsFunc(known.Holds, func(x raftfsm.Hold) bool { return sameHold(x, h) }) && !reconcile.OwnHold(h) {
				r.write(func(w *Writer) error { return w.Hold(time.Now(), h, false) })
			}
		}
		for _, h := range known.Holds {
			over := h.Until != 0 && app.TimeOf(time.Now()) >= h.Until
			if !over && !reconcile.OwnHold(h) && !slices.ContainsFunc(told.Holds, func(x raftfsm.Hold) bool { return x.Name == h.Name }) {
				r.write(func(w *Writer) error { return w.Hold(time.Now(), h, true) })
			}
		}
		known = told
	}
}

// sameHold reports whether two answers of a node tell of one hold. Its end is shown by the wall clock, which wavers.
func sameHold(a, b raftfsm.Hold) bool {
	off := a.Until.Sub(b.Until)
	return a.Name == b.Name && a.Reason == b.Reason && a.By == b.By && (a.Until == 0) == (b.Until == 0) && -time.Second < off && off < time.Second
}
