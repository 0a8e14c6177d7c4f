package reconcile

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/notify"
	"hm/raftfsm"
)

// Leader tells who leads.
type Leader interface {
	Lead() Lead
}

// AppReader is a Source that can read the desired state of a single app: its rows, none if it is
// not there.
type AppReader interface {
	ReadApp(ctx context.Context, droplet app.GUID) ([]desired.App, error)
}

// LoopOptions are what a Loop is made of.
type LoopOptions struct {
	Options
	Log          Log
	Leader       Leader
	Publisher    Publisher
	Source       Source
	Intake       *Intake
	Heard        notify.Signal                  // notified by Intake; the zero value: Intake calls Wake
	ReadTimeout  time.Duration                  // of one complete read of the desired state
	PeerReads    func() app.Time                // when the newest complete read began that any peer told of
	ReadRecorded func(began app.Time, apps int) // called after this node recorded a complete read, to tell the peers
	// ReadEnded and AppReadEnded, if not nil, are called with the outcome of each read of this
	// leader, complete or of one app, before it is recorded.
	ReadEnded    func(began app.Time, read desired.Read, err error)
	AppReadEnded func(began app.Time, droplet app.GUID, rows []desired.App, err error)
}

// Loop drives a Core in the daemon. It steps when something was heard or recorded, when something
// becomes due, and when a read of the desired state has ended.
type Loop struct {
	opts     LoopOptions
	core     *Core
	logger   *slog.Logger
	wake     notify.Signal
	overview atomic.Pointer[Overview]
	commands commandLog
	turns    atomic.Uint64 // that have ended
	busy     atomic.Bool   // a turn is under way
}

// NewLoop returns a loop, which Run starts.
func NewLoop(opts LoopOptions, ended *EndedCommands) *Loop {
	_, opts.ReadsApps = opts.Source.(AppReader)
	l := &Loop{opts: opts, wake: notify.New(), commands: newCommandLog(opts.Logger)}
	if opts.OnCommand == nil {
		opts.OnCommand = l.commands.write
	}
	l.core = NewCore(opts.Options, opts.Log, opts.Publisher, opts.Intake, ended)
	l.logger = l.core.logger
	l.publishOverview()
	return l
}

// Wake makes the loop step soon, since something happened that it does not notice itself. It never
// blocks.
func (l *Loop) Wake() { l.wake.Notify() }

// Overview is what this node knows beyond the recorded state, as of its last step.
func (l *Loop) Overview() Overview { return *l.overview.Load() }

// Turns is how many turns have ended, and whether one is under way. A turn takes in what has happened, decides, and
// records and sends what follows. A loop whose turn does not end is stuck.
func (l *Loop) Turns() (ended uint64, busy bool) { return l.turns.Load(), l.busy.Load() }

// LastHeard is when this node last heard a DEA, 0 if never.
func (l *Loop) LastHeard(dea string) app.Time { return l.opts.Intake.LastHeard(dea, l.opts.Log.Now()) }

// Trouble is what this node cannot read of a DEA's messages, and whether there is anything.
func (l *Loop) Trouble(dea string) (Trouble, bool) {
	return l.opts.Intake.Trouble(dea, l.opts.Log.Now())
}

// Unplaced gives, by app, when each unplaced entry was first heard (Intake.Unplaced).
func (l *Loop) Unplaced() map[app.Key][]app.Time { return l.opts.Intake.AllUnplaced(l.opts.Log.Now()) }

// LogEnded logs a command that a person ended through this node, which leads.
func (l *Loop) LogEnded(e raftfsm.EndedCommand) {
	l.commands.write(CommandEvent{Command: e.Command, Detail: e.Detail, At: e.At})
}

// outcome is how one attempt to read the desired state ended.
type outcome struct {
	ReadOutcome
	took time.Duration
}

// Run steps until ctx is done, and returns after its reader has ended.
func (l *Loop) Run(ctx context.Context) {
	outcomes, appOutcomes := make(chan outcome, 1), make(chan []AppReadOutcome, 1)
	var reading attempt
	readingApps := false
	asked := uint64(0) // number of the read to begin next
	defer func() {     // ctx is done, which ends the reads
		if reading.stop != nil {
			<-outcomes
			reading.stop()
		}
		if readingApps {
			<-appOutcomes
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var stepped, due time.Time // the end of the newest step, and when the next one is due
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.wake.C():
			if l.waitsFor(stepped.Add(gatherFor), &due, timer) {
				continue
			}
		case <-l.opts.Heard.C():
			if l.waitsFor(stepped.Add(l.gatherHeard()), &due, timer) {
				continue
			}
		case o := <-outcomes:
			l.busy.Store(true)
			reading.stop()
			reading.stop = nil
			l.take(ctx, o)
		case read := <-appOutcomes:
			l.busy.Store(true)
			readingApps = false
			l.takeApps(ctx, read)
		}
		l.busy.Store(true)
		next, read, err := l.step(ctx)
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("a reconcile step failed; it will be tried again", "error", err)
		}
		if read != 0 {
			if asked = read; reading.stop != nil {
				reading.stop() // it began in an earlier leadership: nobody waits for its outcome
			}
		}
		if asked != 0 && reading.stop == nil {
			reading = l.begin(ctx, asked, outcomes)
			asked = 0
		}
		if !readingApps {
			if ask, term := l.core.AppReads(); len(ask) > 0 {
				readingApps = true
				go func() { appOutcomes <- l.readApps(ctx, ask, term) }()
			}
		}
		stepped = time.Now()
		due = stepped.Add(max(next.Sub(l.opts.Log.Now()), time.Millisecond))
		timer.Reset(time.Until(due))
		l.busy.Store(false)
		l.turns.Add(1)
	}
}

// How soon after a step something new makes the loop step again. What comes meanwhile goes into the same entry: under
// churn an entry and its sync for each heartbeat would cost more than what they record.
const (
	gatherFor        = 25 * time.Millisecond
	gatherHeartbeats = 50 * time.Millisecond // if there are only heartbeats, which repeat every period what runs
)

// gatherHeard is how soon after a step what the intake has makes the loop step again. With a short heartbeat period
// heartbeats wait no longer than the rest.
func (l *Loop) gatherHeard() time.Duration {
	if l.opts.Intake.urgent.Load() {
		return gatherFor
	}
	return min(max(l.opts.Policy.HeartbeatPeriod/100, gatherFor), gatherHeartbeats)
}

// waitsFor has the loop step at soon, unless that is past or a step is due before. It reports whether the loop waits.
func (l *Loop) waitsFor(soon time.Time, due *time.Time, timer *time.Timer) bool {
	if !time.Now().Before(soon) {
		return false
	}
	if soon.Before(*due) {
		*due = soon
		timer.Reset(time.Until(soon))
	}
	return true
}

func (l *Loop) step(ctx context.Context) (next app.Time, read uint64, err error) {
	now := l.opts.Log.Now()
	l.opts.Intake.urgent.Store(false) // before what it has is taken
	if l.opts.PeerReads != nil {
		l.core.Learn(now, l.opts.PeerReads())
	}
	began := time.Now()
	next, read, err = l.core.Step(ctx, now, l.opts.Leader.Lead())
	observe(l.opts.Times.Step, time.Since(began))
	l.commands.leftOut()
	l.publishOverview()
	return next, read, err
}

func (l *Loop) publishOverview() {
	o := l.core.Overview(l.opts.Log.Now(), l.opts.Leader.Lead())
	l.overview.Store(&o)
}

// attempt is a read of the desired state that is under way; stop is nil if none is.
type attempt struct{ stop context.CancelFunc }

// begin begins a read. Its outcome goes into outcomes, which must have room for it.
func (l *Loop) begin(ctx context.Context, number uint64, outcomes chan<- outcome) attempt {
	ctx, stop := context.WithTimeout(ctx, l.opts.ReadTimeout)
	recorded := l.core.reads.recorded
	go func() { outcomes <- l.read(ctx, number, recorded) }()
	return attempt{stop}
}

// read reads the desired state and compares it with the record, unless it is the read that was recorded when this one
// began. Whether that still holds is decided again when it is taken.
func (l *Loop) read(ctx context.Context, number uint64, recorded recordedRead) outcome {
	began, start := l.opts.Log.Now(), time.Now()
	o := outcome{ReadOutcome: ReadOutcome{Number: number}}
	o.Read, o.Err = l.opts.Source.Read(ctx)
	o.took = time.Since(start)
	o.Began = l.begun(began, o.took).Add(-o.Read.Lag)
	if o.Err == nil {
		o.compare(l.opts.Guard, l.opts.Log.View(), recorded)
	}
	return o
}

// begun is when a read that took this long began. hm time may have been corrected during the read: a
// node uses its wall clock until it knows hm time.
func (l *Loop) begun(began app.Time, took time.Duration) app.Time {
	return min(began, l.opts.Log.Now().Add(-took))
}

// take records a read, if this node still leads.
func (l *Loop) take(ctx context.Context, o outcome) {
	if !l.opts.Leader.Lead().Leader || ctx.Err() != nil {
		return
	}
	ended := l.opts.Times.ReadComplete
	if o.Err != nil {
		ended = l.opts.Times.ReadFailed
		l.logger.Warn("reading the desired state failed; the recorded one stays", "error", o.Err, "took", o.took)
	}
	observe(ended, o.took)
	if l.opts.ReadEnded != nil {
		l.opts.ReadEnded(o.Began, o.Read, o.Err)
	}
	if err := l.core.DesiredRead(ctx, l.opts.Log.Now(), o.ReadOutcome); err != nil {
		l.logger.Warn("recording a complete read of the desired state failed", "error", err)
		return
	}
	if o.Err == nil && l.opts.ReadRecorded != nil {
		l.opts.ReadRecorded(o.Began, len(o.Read.Apps))
	}
}

// readApps reads apps one by one.
func (l *Loop) readApps(ctx context.Context, droplets []app.GUID, term uint64) []AppReadOutcome {
	ctx, cancel := context.WithTimeout(ctx, l.opts.ReadTimeout)
	defer cancel()
	source := l.opts.Source.(AppReader) // Options.ReadsApps says so
	read := make([]AppReadOutcome, 0, len(droplets))
	for _, d := range droplets {
		began, start := l.opts.Log.Now(), time.Now()
		o := AppReadOutcome{Term: term, Droplet: d}
		o.Rows, o.Err = source.ReadApp(ctx, d)
		o.Began = l.begun(began, time.Since(start))
		read = append(read, o)
	}
	return read
}

// takeApps records reads of single apps, if this node still leads.
func (l *Loop) takeApps(ctx context.Context, read []AppReadOutcome) {
	for _, o := range read {
		if !l.opts.Leader.Lead().Leader || ctx.Err() != nil {
			return
		}
		if o.Err != nil {
			l.logger.Warn("reading the desired state of one app failed; a complete read follows", "app", o.Droplet, "error", o.Err)
		}
		if l.opts.AppReadEnded != nil {
			l.opts.AppReadEnded(o.Began, o.Droplet, o.Rows, o.Err)
		}
		if err := l.core.AppRead(ctx, l.opts.Log.Now(), o); err != nil {
			l.logger.Warn("recording a read of one app failed", "error", err)
			return
		}
	}
}
