package recorder

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
	"hm/internal/recording"
	"hm/raftfsm"
)

// ListenOptions say what Listen records.
type ListenOptions struct {
	Link         *bus.Link
	Source       reconcile.Source // of the desired state
	Writer       *recording.Writer
	PollInterval time.Duration // between reads of the desired state; a third of it after a failed one
	ReadTimeout  time.Duration // of one read
	// AskNode, if not nil, is called every checkEvery for what only nodes know. Each change is recorded.
	AskNode func(context.Context) (NodeInfo, error)
	Logger  *slog.Logger // nil discards
}

// NodeInfo is what a node knows and NATS does not carry.
type NodeInfo struct {
	Term  uint64         // of the leadership; 0: nobody leads
	Holds []raftfsm.Hold // that are set
}

// Subjects are those that Listen records: all that hm subscribes to, and the commands that hm or its predecessors send.
// A replay compares its commands with those.
var Subjects = []string{
	feed.SubjectHeartbeat, feed.SubjectExited, feed.SubjectUpdated,
	natspub.SubjectStart, natspub.SubjectStop, natspub.SubjectHealthStart, natspub.SubjectHealthStop,
}

const (
	flushEvery = time.Second
	checkEvery = 100 * time.Millisecond // the link and the leader

	// linkPatience is how long Listen waits for NATS at first. Without NATS no credentials for the read can be
	// requested, and the recording would begin with an outage that did not happen.
	linkPatience = 3 * time.Second

	// maxUpdated is how many apps may wait for a read of their own.
	maxUpdated = 100
)

var subscriptionLimits = bus.Limits{Messages: 65_536, Bytes: 256 << 20}

// Listen records until ctx ends or the recording cannot be written. It begins with a read of the desired state; what
// runs, the heartbeats of the DEAs show within one period. The caller closes link and writer afterwards.
func Listen(ctx context.Context, o ListenOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &listener{ListenOptions: o, end: cancel, updated: make(chan app.GUID, maxUpdated)}
	l.awaitLink(ctx)
	wait := l.read(ctx)
	l.apps, _ = o.Source.(reconcile.AppReader)
	state := o.Link.State()
	if !state.Up {
		l.write(func(w *recording.Writer) error { return w.Link(time.Now(), false, false) })
	}
	for _, subject := range Subjects {
		if err := o.Link.Subscribe(subject, subscriptionLimits, l.message); err != nil {
			return fmt.Errorf("subscribing to %s: %w", subject, err)
		}
	}
	if s := o.Link.State(); s.Up && state.Up && s.Outages == state.Outages {
		state = s // the subscriptions began new epochs
	}
	var others sync.WaitGroup
	others.Go(func() { l.poll(ctx, wait) })
	if o.AskNode != nil {
		others.Go(func() { l.followNode(ctx) })
	}
	l.followLink(ctx, state)
	others.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.failed
}

// listener is one call of Listen. Several goroutines write.
type listener struct {
	ListenOptions
	end     context.CancelFunc
	apps    reconcile.AppReader // the source, if it can read single apps
	updated chan app.GUID       // apps to read

	mu     sync.Mutex
	closed bool
	failed error // why nothing more can be written
}

func (l *listener) write(do func(*recording.Writer) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if err := do(l.Writer); err != nil {
		l.closed, l.failed = true, err
		l.end()
	}
}

func (l *listener) message(m bus.Msg) {
	l.write(func(w *recording.Writer) error { return w.Message(time.Now(), m.Subject, m.Data) })
	if l.apps == nil || m.Subject != feed.SubjectUpdated {
		return
	}
	if droplet, err := feed.DecodeUpdated(m.Data); err == nil {
		select {
		case l.updated <- droplet:
		default: // the next complete read has it
		}
	}
}

func (l *listener) awaitLink(ctx context.Context) {
	late := time.NewTimer(linkPatience)
	defer late.Stop()
	check := time.NewTicker(10 * time.Millisecond)
	defer check.Stop()
	for !l.Link.State().Up {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-check.C:
		}
	}
}

// read reads the desired state once and returns how long to wait for the next read.
func (l *listener) read(ctx context.Context) time.Duration {
	reading, cancel := context.WithTimeout(ctx, l.ReadTimeout)
	defer cancel()
	began := time.Now()
	read, err := l.Source.Read(reading)
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		l.Logger.Warn("reading the desired state failed; the failure is recorded", "error", err)
	}
	l.write(func(w *recording.Writer) error { return w.Desired(time.Now(), began, read, err) })
	if err != nil {
		return l.PollInterval / 3
	}
	return l.PollInterval
}

func (l *listener) poll(ctx context.Context, wait time.Duration) {
	next := time.NewTimer(max(wait, 10*time.Millisecond))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			wait = max(l.read(ctx), 10*time.Millisecond)
			next.Reset(wait)
		case droplet := <-l.updated:
			l.readApp(ctx, droplet)
		}
	}
}

// readApp reads one app after the Cloud Controller has announced a change of it, as hm does.
func (l *listener) readApp(ctx context.Context, droplet app.GUID) {
	reading, cancel := context.WithTimeout(ctx, l.ReadTimeout)
	defer cancel()
	began := time.Now()
	rows, err := l.apps.ReadApp(reading, droplet)
	if ctx.Err() == nil {
		l.write(func(w *recording.Writer) error { return w.DesiredApp(time.Now(), began, droplet, rows, err) })
	}
}

// followLink records each change of the link, and flushes the writer.
func (l *listener) followLink(ctx context.Context, last bus.State) {
	check, flush := time.NewTicker(checkEvery), time.NewTicker(flushEvery)
	defer check.Stop()
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			l.write(func(w *recording.Writer) error { return w.Flush() })
			continue
		case <-l.Link.Changed():
		case <-check.C:
		}
		s := l.Link.State()
		if s.Epoch == last.Epoch {
			continue
		}
		now := time.Now()
		l.write(func(w *recording.Writer) error {
			switch {
			case s.Up && last.Up && s.Outages == last.Outages:
				return w.Link(now, true, true)
			case s.Up && last.Up:
				if err := w.Link(now, false, false); err != nil { // down and up again since the last check
					return err
				}
			}
			return w.Link(now, s.Up, false)
		})
		l.Logger.Info("nats link", "up", s.Up, "outages", s.Outages, "gaps", s.Gaps)
		last = s
	}
}

// followNode records each change of the leadership, and the holds that people set and release.
func (l *listener) followNode(ctx context.Context) {
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	var known NodeInfo
	silent, leaderless := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
		}
		info, err := l.AskNode(ctx)
		if err != nil {
			if !silent && ctx.Err() == nil {
				silent = true
				l.Logger.Warn("the node does not answer; until it does, the recording has no leader changes and no holds", "error", err)
			}
			continue
		}
		if silent {
			silent = false
			l.Logger.Info("the node answers again; leader changes and holds are recorded")
		}
		switch {
		case info.Term == 0:
			if info.Term = known.Term; !leaderless && known.Term != 0 {
				leaderless = true
				l.write(func(w *recording.Writer) error { return w.Leaderless(time.Now()) })
			}
		case leaderless, known.Term != 0 && info.Term != known.Term:
			leaderless = false
			l.write(func(w *recording.Writer) error { return w.Leader(time.Now()) })
			l.Logger.Info("the leader has changed", "term", info.Term)
		}
		l.recordHolds(known.Holds, info.Holds)
		known = info
	}
}

// recordHolds records the difference between two answers of the node, except for the holds that hm sets by itself.
func (l *listener) recordHolds(known, now []raftfsm.Hold) {
	for _, h := range now {
		set := slices.ContainsFunc(known, func(x raftfsm.Hold) bool { return sameHold(x, h) })
		if !set && !reconcile.OwnHold(h) {
			l.write(func(w *recording.Writer) error { return w.Hold(time.Now(), h, false) })
		}
	}
	for _, h := range known {
		expired := h.Until != 0 && app.TimeOf(time.Now()) >= h.Until
		still := slices.ContainsFunc(now, func(x raftfsm.Hold) bool { return x.Name == h.Name })
		if !expired && !still && !reconcile.OwnHold(h) {
			l.write(func(w *recording.Writer) error { return w.Hold(time.Now(), h, true) })
		}
	}
}

// sameHold reports whether two answers of a node show the same hold. The node converts the end of a hold to the wall
// clock, so it may differ a little between two answers.
func sameHold(a, b raftfsm.Hold) bool {
	off := a.Until.Sub(b.Until)
	return a.Name == b.Name && a.Reason == b.Reason && a.By == b.By && (a.Until == 0) == (b.Until == 0) &&
		-time.Second < off && off < time.Second
}
