package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/recording"
	"hm/raftfsm"
)

// Options say by which policy to replay, and what to show of it. OptionsOf makes them of a configuration.
type Options struct {
	Reconcile    reconcile.Options
	HeartbeatTTL time.Duration // policy.heartbeat_ttl
	Freshness    time.Duration // policy.freshness

	Settle time.Duration // how long the clock runs on after the last event; negative: not at all, 0: 60 heartbeats
	Until  app.Time      // stop here, if before the end of the recording; 0: play all of it
	React  *React        // let simulated DEAs react to the commands; nil: instances come and go as recorded

	Watch   func(TimelineEvent) // called for each event of the timeline, in the order of time; nil: nobody watches
	Explain app.GUID            // a droplet whose history Watch is called with; zero: none
	Pace    Pace                // called before the clock moves; nil: as fast as possible

	// Progress is called after each batch of events with the stored bytes that were read and the result so far. An
	// error ends the replay. nil: not called.
	Progress func(bytesRead int64, r *Result) error

	freeze bool // views, as the daemon does; for tests
}

// settlePeriods is how many heartbeat periods the clock runs on by default.
const settlePeriods = 60

// maxSettle bounds Settle: the clock runs through it step by step.
const maxSettle = 31 * 24 * time.Hour

// OptionsOf returns the options that a daemon with this configuration would run by.
func OptionsOf(cfg config.Config) Options {
	return Options{
		Reconcile: reconcile.Options{
			Policy: cfg.DiffPolicy(),
			Guard: reconcile.Guard{
				DesiredShrink: cfg.Guard.DesiredShrink, MinApps: cfg.Guard.MinApps, ConfirmReads: cfg.Guard.ConfirmReads,
				MassLoss: cfg.Guard.MassLoss, MinDEAs: cfg.Guard.MinDEAs, MassLossHold: cfg.MassLossHold(),
			},
			StartLimit: cfg.Policy.StartLimit, StopLimit: cfg.Policy.StopLimit,
			DesiredTTL: cfg.DesiredTTL(), PollInterval: cfg.PollInterval(), ClaimLease: cfg.Commands.ClaimLease,
			AnyFilter: true, // that of the recorded reads
		},
		HeartbeatTTL: cfg.HeartbeatTTL(), Freshness: cfg.Freshness(),
	}
}

// Run plays a recording. It reads to the end unless ctx ends, the recording is malformed (a *recording.Error), or Until
// is reached.
func Run(ctx context.Context, opts Options, sources ...recording.Source) (Result, error) {
	reader, err := recording.NewReader(sources...)
	if err != nil {
		return Result{}, err
	}
	defer reader.Close()
	if opts.Settle > maxSettle {
		return Result{}, fmt.Errorf("settling for %v: at most %v are allowed", opts.Settle, maxSettle)
	}
	start := app.TimeOf(reader.Started())
	if opts.Until != 0 && opts.Until < start {
		return Result{}, fmt.Errorf("until %v: the recording begins at %v", opts.Until, start)
	}
	p := newPlayer(opts, start)
	reading, stop := context.WithCancel(ctx)
	s := newStream(reading, reader)
	defer func() { stop(); <-s.ended }() // before the reader closes
	err = p.play(ctx, s)
	p.result.Ended = Time(p.now)
	if err == nil {
		err = p.runOn()
	}
	if err != nil && !errors.Is(err, ErrStop) {
		return Result{}, err
	}
	return p.summarize(), nil
}

// player is one node in virtual time. It leads unless the recording says that no node does. It is the log and the
// publisher of reconcile.Core.
type player struct {
	opts    Options
	now     app.Time
	state   *raftfsm.State
	view    *raftfsm.State // of state; nil if it has changed since
	index   uint64
	term    uint64
	intake  *reconcile.Intake
	core    *reconcile.Core
	journal *reconcile.EndedCommands
	wake    bool // there is something for the core to do

	readsTakeTime bool     // the newest recorded read took time, as the reads of a node do
	leaderless    bool     // no node leads
	leaderChanges int      // times that another node took the lead
	next          app.Time // when the core must be called at the latest

	ctx      context.Context
	result   Result
	touched  []app.Key // apps that have changed since the last settled instant
	findings *findings // nil if nobody watches
	missing  missing
	history  *history // nil if no app is explained
	fleet    *fleet   // nil if instances come and go as recorded
	failed   error    // of a step
	eval     *reconcile.Evaluator
}

func newPlayer(opts Options, start app.Time) *player {
	if opts.Reconcile.Logger == nil {
		opts.Reconcile.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Settle == 0 {
		opts.Settle = settlePeriods * opts.Reconcile.Policy.HeartbeatPeriod
	}
	p := &player{
		opts: opts, now: start, state: raftfsm.NewState(), term: 1, next: start, wake: true,
		eval: reconcile.NewEvaluator(opts.Reconcile.Policy),
	}
	p.result = Result{
		Started: Time(start), Ended: Time(start), Commands: []Command{}, Gate: []GateChange{}, Drift: []DriftItem{},
	}
	p.journal = reconcile.NewEndedCommands(100_000)
	p.startNode()
	p.lead()
	if opts.Watch != nil {
		p.findings = newFindings(opts.Watch)
		if !opts.Explain.IsZero() {
			p.history = newHistory(opts.Explain, opts.Watch)
		}
	}
	if opts.React != nil {
		p.fleet = newFleet(*opts.React, opts.Reconcile.Policy.HeartbeatPeriod)
	}
	p.missing.byApp = map[app.Key]int{}
	return p
}

// startNode makes an intake that has received nothing yet.
func (p *player) startNode() {
	live := actual.NewLiveness(p.opts.Reconcile.Policy.HeartbeatPeriod, p.opts.HeartbeatTTL, p.opts.Freshness, p.now)
	p.intake = reconcile.NewIntake(p, live, func() { p.wake = true })
	p.intake.Keep()
	p.intake.Link(true, 0)
}

// lead makes the core of a new leader, which knows what is recorded and what this node has received.
func (p *player) lead() {
	var began app.Time
	if p.core != nil {
		began = p.core.Reads().Began
	}
	core := p.opts.Reconcile
	core.Notes = func() bool { return false } // a replay has no history, and its state hash counts entries
	p.core = reconcile.NewCore(core, p, p, p.intake, p.journal)
	p.core.Learn(p.now, began)
	p.next, p.leaderless = p.now, false
}

// leading returns who leads: this node, or none.
func (p *player) leading() reconcile.Lead {
	return reconcile.Lead{Leader: !p.leaderless, Known: !p.leaderless, Term: p.term}
}

// play takes every event of the stream.
func (p *player) play(ctx context.Context, s *stream) error {
	p.ctx = ctx
	for {
		b, err := s.next(ctx)
		if err != nil {
			return err
		}
		for i := range b.items {
			e := &b.items[i]
			if p.opts.Until != 0 && e.at > p.opts.Until {
				return p.reach(p.opts.Until)
			}
			if e.at > p.now {
				if err := p.reach(e.at); err != nil {
					return err
				}
			}
			p.result.Events++
			if err := p.take(e); err != nil {
				return err
			}
		}
		if p.opts.Progress != nil {
			if err := p.opts.Progress(b.bytes, &p.result); err != nil {
				return err
			}
		}
		if errors.Is(b.err, io.EOF) {
			return nil
		} else if b.err != nil {
			return b.err
		}
	}
}

// reach finishes the present instant and moves the clock to t. It does not call the core at t: everything that happens
// at t is taken first.
func (p *player) reach(t app.Time) error {
	if p.wake || p.next <= p.now {
		p.step()
	}
	for p.failed == nil {
		due := p.next
		if p.fleet != nil {
			due = min(due, p.fleet.next())
		}
		if due >= t {
			break
		}
		if err := p.pass(due); err != nil {
			return err
		}
		if p.fleet != nil {
			p.fleet.run(p)
		}
		if p.wake || p.next <= p.now {
			p.step()
		}
	}
	if p.failed != nil {
		return p.failed
	}
	return p.pass(t)
}

// pass moves the clock.
func (p *player) pass(t app.Time) error {
	if p.opts.Pace != nil {
		if err := p.opts.Pace(t, p.snapshot); err != nil {
			return err
		}
	}
	p.missing.pass(t.Sub(p.now))
	p.now = t
	return nil
}

// take gives one event to the node.
func (p *player) take(e *item) error {
	switch e.kind {
	case itemHeartbeat:
		p.result.Heartbeats++
		p.result.Instances += len(e.heartbeat.Instances)
		p.result.RejectedInstances += e.heartbeat.Rejected
		hb := e.heartbeat
		if p.fleet != nil {
			hb = p.fleet.rewrite(hb, p.now)
		}
		p.receive(hb)
	case itemExit:
		if p.fleet != nil && p.fleet.hidden(e.rest.exit.Instance) {
			return nil
		}
		p.intake.Exit(e.rest.exit)
		if p.history != nil {
			p.history.exit(p.now, e.rest.exit)
		}
	case itemUpdated:
		p.intake.Updated(e.rest.updated)
	case itemRejected:
		p.result.Rejected++
	case itemUndecodable:
		p.result.Rejected++
		if u := e.rest.undecodable; u.dea != "" {
			p.intake.Garbled(u.dea, u.reason)
		}
	case itemStart, itemStop:
		p.recordedCommand(e)
	case itemDesired:
		return p.desired(&e.rest.event)
	case itemLink:
		p.intake.Link(e.rest.event.Up, 0)
		p.report(TimelineEvent{Kind: TimelineLink, Text: linkText(&e.rest.event)})
	case itemLeaderless:
		p.leaderless, p.wake = true, true
		p.report(TimelineEvent{Kind: TimelineLeader, Text: "no node leads"})
	case itemLeader:
		p.term, p.leaderChanges = p.term+1, p.leaderChanges+1
		p.lead()
		p.report(TimelineEvent{Kind: TimelineLeader, Text: "another node leads"})
	case itemState:
		p.restore(e.rest.state)
	case itemHold:
		return p.hold(&e.rest.event)
	}
	return nil
}

func (p *player) receive(hb *heartbeat) {
	if !p.intake.Unchanged(hb.digest) {
		p.intake.Heartbeat(hb.Heartbeat, hb.digest)
	}
}

// desired takes the outcome of one attempt to read the desired state.
func (p *player) desired(e *recording.Event) error {
	if !e.OnlyApp.IsZero() {
		return p.appRead(e)
	}
	if p.fleet != nil {
		p.fleet.read = &e.Read
		if e.Failed != "" {
			p.fleet.read = nil
		}
	}
	if e.CarriedOver {
		return nil // the file before had it
	}
	p.readsTakeTime = e.Began.Before(p.now.Std())
	p.report(TimelineEvent{Kind: TimelineDesired, Text: desiredText(e)})
	return p.readEnded(e.Read, app.TimeOf(e.Began), e.ReadError())
}

func (p *player) readEnded(read desired.Read, began app.Time, readErr error) error {
	outcome := reconcile.ReadOutcome{Began: began, Read: read, Err: readErr}
	if err := p.core.DesiredRead(p.ctx, p.now, outcome); err != nil {
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	return nil
}

// recordedCommand takes a command that the recorded hm sent.
func (p *player) recordedCommand(e *item) {
	c := Command{At: Time(p.now)}
	if e.kind == itemStart {
		s := e.rest.start
		c.Action, c.ID = "start", s.MessageID
		c.App, c.Version, c.Index = s.Droplet.String(), s.Version.String(), s.Index
	} else {
		s := e.rest.stop
		c.Action, c.ID = "stop", s.MessageID
		c.App, c.Version, c.Index, c.Instance = s.Droplet.String(), s.Version.String(), s.Index, s.Instance.String()
	}
	p.result.Recorded = append(p.result.Recorded, c)
	if p.fleet != nil {
		p.fleet.recordedCommand(e)
	}
}

// maxSteps is how often the core may ask to be called again in one instant: far more than it ever does.
const maxSteps = 100_000

// step calls the core until it has nothing more to do at this instant.
func (p *player) step() {
	for range maxSteps {
		p.wake = false
		next, read, err := p.core.Step(p.ctx, p.now, p.leading())
		if err != nil {
			p.failed = fmt.Errorf("replaying at %v: %w", p.now, err)
			return
		}
		switch {
		case read == 0:
		case p.fleet != nil:
			p.fleet.wantRead(p.now)
		case !p.readsTakeTime:
			p.core.ReadUnavailable(read)
		} // else the next read of the recording is the answer
		if next > p.now && !p.wake {
			p.next = next
			p.settled()
			return
		}
		if err := p.ctx.Err(); err != nil {
			p.failed = context.Cause(p.ctx)
			return
		}
	}
	p.failed = fmt.Errorf("replaying at %v: the reconcile step does not end", p.now)
}

// settled takes the gate, the drift and the app's history at the end of the present instant.
func (p *player) settled() {
	reasons := p.core.GateReasons()
	if n := len(p.result.Gate); n == 0 || !slices.Equal(reasons, p.result.Gate[n-1].Reasons) {
		p.gateChanged(reasons)
	}
	if len(p.touched) > 0 {
		view := p.View()
		for _, k := range p.touched { // not sorted, and with duplicates
			p.missing.update(view, k)
		}
		if p.findings != nil {
			slices.SortFunc(p.touched, app.Key.Compare)
			p.touched = slices.Compact(p.touched)
			p.findings.update(view, p.touched, p.core.Knowledge(p.now), p.eval, p.now)
		}
		p.touched = p.touched[:0]
	}
	if p.history != nil {
		p.history.update(p.View(), p.core.Knowledge(p.now), p.eval, p.now)
	}
}

func (p *player) gateChanged(reasons []string) {
	g := GateChange{At: Time(p.now), Open: len(reasons) == 0, Reasons: append([]string{}, reasons...)}
	if n := len(p.result.Gate); n > 0 && p.result.Gate[n-1].At == g.At {
		p.result.Gate = p.result.Gate[:n-1] // an event came at the same instant after a step
	}
	p.result.Gate = append(p.result.Gate, g)
	if g.Open && !p.missing.begun {
		p.missing.begin(p.View(), p.eval)
	}
	p.report(TimelineEvent{Kind: TimelineGate, Text: gateText(g)})
	if g.Open && p.findings != nil {
		p.findings.begin(p.now)
	}
}

// runOn lets the clock run on after the last event.
func (p *player) runOn() error {
	if p.fleet != nil {
		p.fleet.endRecording(p.now)
	}
	if err := p.reach(p.now.Add(max(p.opts.Settle, 0))); err != nil {
		return err
	}
	if p.wake || p.next <= p.now {
		p.step()
	}
	if p.failed != nil || p.opts.Pace == nil {
		return p.failed
	}
	return p.opts.Pace(p.now, p.snapshot)
}

// summarize returns the result.
func (p *player) summarize() Result {
	held := p.core.GateReasons()
	p.eval.Fleet(p.View(), p.core.Knowledge(p.now), p.now, func(e *reconcile.Evaluation) bool {
		for f := range e.Drift() {
			p.result.Drift = append(p.result.Drift, driftOf(e.Input.Key, f, held))
		}
		return true
	})
	p.result.StateHash = p.state.Hash().String()
	p.result.Totals = TotalsOf(p.result.Commands, p.opts.Reconcile.Policy.HeartbeatPeriod)
	p.result.Totals.MissingSeconds = p.missing.total.Seconds()
	return p.result
}

// Propose applies records at once.
func (p *player) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	p.index++
	r := p.state.Apply(p.index, p.term, raftfsm.Entry{At: p.now, Records: records})
	p.view = nil
	p.journal.Add(r.Ended)
	p.touched = append(p.touched, r.Touched...)
	return []raftfsm.Result{r}, r.Err
}

// View returns the state itself, not a frozen copy: copying would be most of the work for each changed heartbeat. That
// is safe because there is only one goroutine, and the core does not use a view from before a proposal.
// TestFrozenViewsMakeNoDifference checks that.
func (p *player) View() *raftfsm.State {
	if !p.opts.freeze {
		return p.state
	}
	if p.view == nil {
		p.view = p.state.Freeze()
	}
	return p.view
}

// Leading reports whether term is the current one.
func (p *player) Leading(term uint64) bool { return term == p.term }

// VerifyLease always succeeds: there is one node.
func (p *player) VerifyLease(context.Context, uint64) error { return nil }

// Now is the recording's time.
func (p *player) Now() app.Time { return p.now }

// Suspended returns 0: virtual time is never suspended.
func (p *player) Suspended() time.Duration { return 0 }

// Publish adds the commands to the result.
func (p *player) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	for _, c := range cmds {
		p.result.Commands = append(p.result.Commands, commandOf(c, p.now))
		sent := &p.result.Commands[len(p.result.Commands)-1]
		p.report(TimelineEvent{Kind: TimelineCommand, Text: commandText(c), Command: sent})
		if p.fleet != nil {
			p.fleet.command(c, p.now)
		}
	}
	return make([]error, len(cmds))
}

func (p *player) report(e TimelineEvent) {
	if p.opts.Watch != nil {
		e.At = p.now
		p.opts.Watch(e)
	}
}
