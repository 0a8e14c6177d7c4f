package reconcile

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// Leader tells who leads.
type Leader interface {
	Lead() Lead
}

// AppReader is a Source that can read the desired state of a single app: its rows, none if it is not there.
type AppReader interface {
	ReadApp(ctx context.Context, droplet app.GUID) ([]desired.App, error)
}

// LoopOptions are what a Loop is made of.
type LoopOptions struct {
	Options
	Log         Log
	Leader      Leader
	Publisher   Publisher
	Source      Source
	Intake      *Intake
	ReadTimeout time.Duration                  // of one complete read of the desired state
	PeerReads   func() app.Time                // the newest complete read that any peer has told of
	Told        func(began app.Time, apps int) // called after a complete read of one's own, to tell the peers
	// ReadEnded and AppReadEnded, if not nil, are told how each attempt of this leader to read the desired state ended,
	// or that of one app, before it is recorded.
	ReadEnded    func(began app.Time, read desired.Read, err error)
	AppReadEnded func(began app.Time, droplet app.GUID, rows []desired.App, err error)
}

// Loop drives a Core in the daemon: it steps when something was heard, recorded or decided elsewhere, when
// something becomes due, and when a read of the desired state has ended.
type Loop struct {
	opts     LoopOptions
	core     *Core
	logger   *slog.Logger
	wake     chan struct{}
	overview atomic.Pointer[Overview]
	journal  *Journal
}

// NewLoop returns a loop that Run starts. journal takes what Journal gives out.
func NewLoop(opts LoopOptions, journal *Journal) *Loop {
	_, opts.ReadsApps = opts.Source.(AppReader)
	l := &Loop{opts: opts, core: NewCore(opts.Options, opts.Log, opts.Publisher, opts.Intake, journal), wake: make(chan struct{}, 1), journal: journal}
	l.logger = l.core.logger
	l.publishOverview()
	return l
}

// Wake makes the loop step soon: something happened that it does not hear of itself. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Overview is what this node knows beyond the recorded state, as of its last step.
func (l *Loop) Overview() Overview { return *l.overview.Load() }

// LastHeard is when this node heard a DEA last, 0 if never.
func (l *Loop) LastHeard(dea string) app.Time { return l.opts.Intake.LastHeard(dea, l.opts.Log.Now()) }

// Journal is the record of commands that came to an end.
func (l *Loop) Journal() *Journal { return l.journal }

// outcome is how one attempt to read the desired state ended.
type outcome struct {
	began app.Time
	took  time.Duration
	read  desired.Read
	err   error
}

// Run steps until ctx is done, and returns after its reader has ended.
func (l *Loop) Run(ctx context.Context) {
	outcomes, appOutcomes := make(chan outcome, 1), make(chan []appOutcome, 1)
	reading, readingApps := false, false
	defer func() { // ctx is done, which ends the reads
		if reading {
			<-outcomes
		}
		if readingApps {
			<-appOutcomes
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.wake:
		case o := <-outcomes:
			reading = false
			l.take(ctx, o)
		case read := <-appOutcomes:
			readingApps = false
			l.takeApps(ctx, read)
		}
		next, read, err := l.step(ctx)
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("a reconcile step failed; it will be taken up again", "error", err)
		}
		if read && !reading {
			reading = true
			go func() { outcomes <- l.read(ctx) }()
		}
		if !readingApps {
			if ask := l.core.AppReads(); len(ask) > 0 {
				readingApps = true
				go func() { appOutcomes <- l.readApps(ctx, ask) }()
			}
		}
		timer.Reset(max(next.Sub(l.opts.Log.Now()), time.Millisecond))
	}
}

func (l *Loop) step(ctx context.Context) (next app.Time, read bool, err error) {
	if l.opts.PeerReads != nil {
		l.core.Learn(l.opts.PeerReads())
	}
	next, read, err = l.core.Step(ctx, l.opts.Log.Now(), l.opts.Leader.Lead())
	l.publishOverview()
	return next, read, err
}

func (l *Loop) publishOverview() {
	o := l.core.Overview(l.opts.Log.Now(), l.opts.Leader.Lead())
	l.overview.Store(&o)
}

func (l *Loop) read(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, l.opts.ReadTimeout)
	defer cancel()
	o := outcome{began: l.opts.Log.Now()}
	o.read, o.err = l.opts.Source.Read(ctx)
	o.took = l.opts.Log.Now().Sub(o.began)
	return o
}

// take records a read, if this node still leads.
func (l *Loop) take(ctx context.Context, o outcome) {
	if !l.opts.Leader.Lead().Leader || ctx.Err() != nil {
		return
	}
	if o.err != nil {
		l.logger.Warn("reading the desired state failed; what is recorded stays", "error", o.err, "took", o.took)
	}
	if l.opts.ReadEnded != nil {
		l.opts.ReadEnded(o.began, o.read, o.err)
	}
	if err := l.core.DesiredRead(ctx, l.opts.Log.Now(), o.began, o.read, o.err); err != nil {
		l.logger.Warn("a complete read of the desired state could not be recorded", "error", err)
		return
	}
	if o.err == nil && l.opts.Told != nil {
		l.opts.Told(o.began, len(o.read.Apps))
	}
}

// appOutcome is how the read of a single app ended.
type appOutcome struct {
	droplet app.GUID
	began   app.Time
	rows    []desired.App
	err     error
}

// readApps reads apps one by one.
func (l *Loop) readApps(ctx context.Context, droplets []app.GUID) []appOutcome {
	ctx, cancel := context.WithTimeout(ctx, l.opts.ReadTimeout)
	defer cancel()
	source := l.opts.Source.(AppReader) // Options.ReadsApps says so
	read := make([]appOutcome, 0, len(droplets))
	for _, d := range droplets {
		o := appOutcome{droplet: d, began: l.opts.Log.Now()}
		o.rows, o.err = source.ReadApp(ctx, d)
		read = append(read, o)
	}
	return read
}

// takeApps records reads of single apps, if this node still leads.
func (l *Loop) takeApps(ctx context.Context, read []appOutcome) {
	for _, o := range read {
		if !l.opts.Leader.Lead().Leader || ctx.Err() != nil {
			return
		}
		if o.err != nil {
			l.logger.Warn("reading one app's desired state failed; everything is read soon", "app", o.droplet, "error", o.err)
		}
		if l.opts.AppReadEnded != nil {
			l.opts.AppReadEnded(o.began, o.droplet, o.rows, o.err)
		}
		if err := l.core.AppRead(ctx, o.began, o.droplet, o.rows, o.err); err != nil {
			l.logger.Warn("a read of one app's desired state could not be recorded", "error", err)
			return
		}
	}
}
