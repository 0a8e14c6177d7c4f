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
	"hm/raftfsm"
)

// Options say by which policy to replay, and what of it to show. OptionsOf makes them of a configuration.
type Options struct {
	Reconcile    reconcile.Options
	HeartbeatTTL time.Duration // policy.heartbeat_ttl
	Freshness    time.Duration // policy.freshness

	Settle time.Duration // how long the clock runs on after the last event; negative: not at all, 0: 60 heartbeats
	Until  app.Time      // stop here, if before the end of the recording; 0: play all of it
	React  *React        // let simulated DEAs answer; nil: the recording is fate

	Watch  func(Moment) // called for each thing worth telling, in the order of time
	freeze bool         // views, as the daemon does; for tests

	Explain  app.GUID                                // a droplet whose trail Watch is told; zero: none
	Pace     Pace                                    // called before the clock moves; nil: as fast as it can
	Progress func(done int64, r *Result) (err error) // called now and then with the stored bytes read and what there is so far
}

// settlePeriods is how many heartbeat periods the clock runs on by default.
const settlePeriods = 60

// maxSettle bounds Settle: the clock runs through it step by step.
const maxSettle = 31 * 24 * time.Hour

// OptionsOf gives the options that a daemon with this configuration would run by.
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
			Shadow: cfg.Commands.Mode == config.ModeShadow,
		},
		HeartbeatTTL: cfg.HeartbeatTTL(), Freshness: cfg.Freshness(),
	}
}

// Run plays a recording. It reads to the end unless ctx ends, the recording is malformed (an *Error), or Until is
// reached.
func Run(ctx context.Context, opts Options, sources ...Source) (Result, error) {
	reader, err := NewReader(sources...)
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
	return p.sum(), nil
}

// player is one node, in virtual time, which leads unless none does. It is what reconcile.Core knows as log and publisher.
type player struct {
	opts    Options
	now     app.Time
	state   *raftfsm.State
	view    *raftfsm.State // of state; nil if it has changed since
	index   uint64
	term    uint64
	intake  *reconcile.Intake
	core    *reconcile.Core
	journal *reconcile.Journal
	wake    bool // something was heard that is not recorded

	readsTakeTime bool     // the newest recorded read was under way for a time, as a node's reads are
	leaderless    bool     // no node leads
	leaders       int      // times that another one took the lead
	next          app.Time // when the core is to be called at the latest

	ctx      context.Context
	result   Result
	touched  []app.Key // since the last settled instant
	findings *findings // nil if nobody watches
	missing  missing
	trail    *trail
	world    *world // nil if the recording is fate
	failed   error  // of a step
	eval     *reconcile.Evaluator
}

func newPlayer(opts Options, start app.Time) *player {
	if opts.Reconcile.Logger == nil {
		opts.Reconcile.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Settle == 0 {
		opts.Settle = settlePeriods * opts.Reconcile.Policy.HeartbeatPeriod
	}
	p := &player{opts: opts, now: start, state: raftfsm.NewState(), term: 1, next: start, wake: true, eval: reconcile.NewEvaluator(opts.Reconcile.Policy)}
	p.result = Result{Started: Time(start), Ended: Time(start), Commands: []Command{}, Gate: []GateChange{}, Drift: []DriftItem{}}
	p.journal = reconcile.NewJournal(100_000)
	p.listen()
	p.lead()
	if opts.Watch != nil {
		p.findings = newFindings(opts.Watch)
		if !opts.Explain.IsZero() {
			p.trail = newTrail(opts.Explain, opts.Watch)
		}
	}
	if opts.React != nil {
		p.world = newWorld(*opts.React, opts.Reconcile.Policy.HeartbeatPeriod)
	}
	p.missing.of = map[app.Key]int{}
	return p
}

// listen makes an intake that has heard nothing yet: a node's beginning.
func (p *player) listen() {
	live := actual.NewLiveness(p.opts.Reconcile.Policy.HeartbeatPeriod, p.opts.HeartbeatTTL, p.opts.Freshness, p.now)
	p.intake = reconcile.NewIntake(p, live, func() { p.wake = true })
	p.intake.Keep()
	p.intake.Link(true, 0)
}

// lead makes a core that knows what is recorded and what this node has heard: a leader's beginning.
func (p *player) lead() {
	var began app.Time
	if p.core != nil {
		began = p.core.Reads().Began
	}
	p.core = reconcile.NewCore(p.opts.Reconcile, p, p, p.intake, p.journal)
	p.core.Learn(p.now, began)
	p.next, p.leaderless = p.now, false
}

// leading is that this node leads, unless none does.
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
			if err := p.opts.Progress(b.done, &p.result); err != nil {
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

// reach settles the present instant and lets the clock run to t, but not through it: everything that happens at t is
// taken before the core looks at it.
func (p *player) reach(t app.Time) error {
	if p.wake || p.next <= p.now {
		p.step()
	}
	for p.failed == nil {
		due := p.next
		if p.world != nil {
			due = min(due, p.world.next())
		}
		if due >= t {
			break
		}
		if err := p.pass(due); err != nil {
			return err
		}
		if p.world != nil {
			p.world.happen(p)
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
		if err := p.opts.Pace(t, p.glimpse); err != nil {
			return err
		}
	}
	p.missing.pass(t.Sub(p.now))
	p.now = t
	return nil
}

// take has the node hear one event.
func (p *player) take(e *item) error {
	switch e.kind {
	case itemHeartbeat:
		p.result.Heartbeats++
		p.result.Instances += len(e.said.hb.Instances)
		p.result.RejectedInstances += e.said.hb.Rejected
		said := e.said
		if p.world != nil {
			said = p.world.hear(said, p.now)
		}
		p.hear(said)
	case itemExit:
		if p.world != nil && p.world.hidden(e.rest.exit.Instance) {
			return nil
		}
		p.intake.Exit(e.rest.exit)
		if p.trail != nil {
			p.trail.exit(p.now, e.rest.exit)
		}
	case itemUpdated:
		p.intake.Updated(e.rest.updated)
	case itemRejected:
		p.result.Rejected++
	case itemGarbled:
		p.result.Rejected++
		if g := e.rest.garbled; g.dea != "" {
			p.intake.Garbled(g.dea, g.why)
		}
	case itemStart, itemStop:
		p.recorded(e)
	case itemDesired:
		return p.desired(&e.rest.event)
	case itemLink:
		p.intake.Link(e.rest.event.Up, 0)
		p.tell(Moment{Kind: MomentLink, Text: linkText(&e.rest.event)})
	case itemLeaderless:
		p.leaderless, p.wake = true, true
		p.tell(Moment{Kind: MomentLeader, Text: "no node leads"})
	case itemLeader:
		p.term, p.leaders = p.term+1, p.leaders+1
		p.lead()
		p.tell(Moment{Kind: MomentLeader, Text: "another node leads"})
	case itemState:
		p.restore(e.rest.state)
	case itemHold:
		return p.hold(&e.rest.event)
	}
	return nil
}

func (p *player) hear(s *said) {
	if !p.intake.Unchanged(s.digest) {
		p.intake.Heartbeat(s.hb, s.digest)
	}
}

// desired takes the outcome of one attempt to read the desired state.
func (p *player) desired(e *Event) error {
	if !e.Only.IsZero() {
		return p.oneApp(e)
	}
	if p.world != nil {
		p.world.read = &e.Read
		if e.Failed != "" {
			p.world.read = nil
		}
	}
	if e.Again {
		return nil // the part before had it
	}
	var readErr error
	if e.Failed != "" {
		readErr = errors.New(e.Failed)
	}
	p.readsTakeTime = e.Began.Before(p.now.Std())
	p.tell(Moment{Kind: MomentDesired, Text: desiredText(e)})
	return p.readEnded(e.Read, app.TimeOf(e.Began), readErr)
}

func (p *player) readEnded(read desired.Read, began app.Time, readErr error) error {
	if err := p.core.DesiredRead(p.ctx, p.now, reconcile.ReadOutcome{Began: began, Read: read, Err: readErr}); err != nil {
		return fmt.Errorf("replaying at %v: %w", p.now, err)
	}
	p.wake = true
	return nil
}

// recorded notes a command that the hm of the recording sent.
func (p *player) recorded(e *item) {
	c := Command{At: Time(p.now)}
	if e.kind == itemStart {
		s := e.rest.start
		c.Action, c.App, c.Version, c.Index, c.ID = "start", s.Droplet.String(), s.Version.String(), s.Index, s.MessageID
	} else {
		s := e.rest.stop
		c.Action, c.App, c.Version, c.Index, c.Instance, c.ID = "stop", s.Droplet.String(), s.Version.String(), s.Index, s.Instance.String(), s.MessageID
	}
	p.result.Recorded = append(p.result.Recorded, c)
	if p.world != nil {
		p.world.recorded(e)
	}
}

// maxSteps is how often the core may ask to be called again in one instant. It never comes near it.
const maxSteps = 100_000

// step calls the core until it comes to rest, and takes note of what that led to.
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
		case p.world != nil:
			p.world.wantRead(p.now)
		case !p.readsTakeTime:
			p.core.ReadUnavailable(read)
		} // else the next read of the recording is what it comes to
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
	p.failed = fmt.Errorf("replaying at %v: the reconcile step does not come to rest", p.now)
}

// settled looks at what the present instant has led to.
func (p *player) settled() {
	if reasons := p.core.GateReasons(); len(p.result.Gate) == 0 || !slices.Equal(reasons, p.result.Gate[len(p.result.Gate)-1].Reasons) {
		g := GateChange{At: Time(p.now), Open: len(reasons) == 0, Reasons: append([]string{}, reasons...)}
		if n := len(p.result.Gate); n > 0 && p.result.Gate[n-1].At == g.At {
			p.result.Gate = p.result.Gate[:n-1] // the instant is not over: an event came at its time after a step
		}
		p.result.Gate = append(p.result.Gate, g)
		if g.Open && !p.missing.began {
			p.missing.begin(p.View(), p.eval)
		}
		p.tell(Moment{Kind: MomentGate, Text: gateText(g)})
		if g.Open && p.findings != nil {
			p.findings.begin(p.now)
		}
	}
	if len(p.touched) > 0 {
		view := p.View()
		for _, k := range p.touched { // in any order, and some of them twice
			p.missing.update(view, k)
		}
		if p.findings != nil {
			slices.SortFunc(p.touched, app.Key.Compare)
			p.touched = slices.Compact(p.touched)
			p.findings.update(view, p.touched, p.core.Knowledge(p.now), p.eval, p.now)
		}
		p.touched = p.touched[:0]
	}
	if p.trail != nil {
		p.trail.update(p.View(), p.core.Knowledge(p.now), p.eval, p.now)
	}
}

// runOn lets the clock run on after the last event.
func (p *player) runOn() error {
	if p.world != nil {
		p.world.carryOn(p.now)
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
	return p.opts.Pace(p.now, p.glimpse)
}

// sum sums up what there is.
func (p *player) sum() Result {
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

// View is the state as it is. It is not frozen, since to freeze it for every changed heartbeat would have most of each
// change be copying: nothing runs beside the one goroutine here, and the core looks at no view that it had before a
// proposal. TestFrozenViewsMakeNoDifference holds it to that.
func (p *player) View() *raftfsm.State {
	if !p.opts.freeze {
		return p.state
	}
	if p.view == nil {
		p.view = p.state.Freeze()
	}
	return p.view
}

// Leading reports whether term is the present one.
func (p *player) Leading(term uint64) bool { return term == p.term }

// VerifyLease says yes: there is one node.
func (p *player) VerifyLease(context.Context, uint64) error { return nil }

// Now is the recording's time.
func (p *player) Now() app.Time { return p.now }

// Suspended is never: a recording goes by its own time.
func (p *player) Suspended() time.Duration { return 0 }

// Publish notes commands as sent.
func (p *player) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	for _, c := range cmds {
		p.result.Commands = append(p.result.Commands, commandOf(c, p.now))
		p.tell(Moment{Kind: MomentCommand, Text: commandText(c), Command: &p.result.Commands[len(p.result.Commands)-1]})
		if p.world != nil {
			p.world.obey(c, p.now)
		}
	}
	return make([]error, len(cmds))
}

func (p *player) tell(m Moment) {
	if p.opts.Watch != nil {
		m.At = p.now
		p.opts.Watch(m)
	}
}
