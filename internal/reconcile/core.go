package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// Options are what a Core decides by.
type Options struct {
	Policy       diff.Policy
	Guard        Guard
	StartLimit   int // commands per heartbeat period, 0: no limit (policy.start_limit)
	StopLimit    int // (policy.stop_limit)
	DesiredTTL   time.Duration
	PollInterval time.Duration // between complete reads of the desired state
	ClaimLease   time.Duration // how long after it asked for a claim a leader may still publish
	Shadow       bool          // decide, and publish nothing
	ReadsApps    bool          // the source can read single apps, which AppReads then asks for
	StateDiffers func() bool   // this node's recorded state is not that of its peers; nil: it never is
	Peers        Peers         // nil: there are none
	NATSRefused  func() bool   // the link is up, and the server refuses the subscription to the heartbeats; nil: it never does
	Logger       *slog.Logger

	partBytes int // of a desired read in one entry; tests make small reads large
}

// Core is one node's reconcile step: everything between what is heard and what is sent. It has no goroutine, no
// clock and no I/O but its ports, and must be called by one goroutine at a time.
type Core struct {
	opts    Options
	log     Log
	pub     Publisher
	intake  *Intake
	journal *Journal
	logger  *slog.Logger

	term      uint64 // of the leadership that the fields below belong to; 0 while this node does not lead
	throttle  commands.Throttle
	queue     queue
	ready     ready
	claimAt   [2]app.Time // when the throttle allows starts and stops again
	refused   refused
	nextSweep app.Time
	nextFull  app.Time
	nextTidy  app.Time // when to look next for crash marks that nobody needs

	reads     reads
	losses    losses          // of instances, within one time to live
	surplus   surplus         // live instances that a loss is not measured by
	back      map[string]back // by the name of the hold on a loss
	inherited bool            // the losses that earlier leaders recorded are still to be judged
	picture   picture
	nextLate  app.Time // when to look whether a hold on a loss names all of it
	ears      ears
	gate      []string
	gateSince app.Time
	gateKnown bool
	epoch     uint64 // of the link, when the gate was computed last

	eval *Evaluator
}

// How much one step takes on at once, so that no step takes long.
const (
	deasPerProposal   = 2_000
	maxRounds         = 50
	appsPerEvaluation = 5_000
	claimsPerEntry    = 500
	maxSeeds          = 10_000 // newest commands that a new leader's throttle counts
)

// fullPassPeriods is how many heartbeat periods lie between two passes over the whole fleet that nothing but time
// asks for.
const fullPassPeriods = 60

// NewCore returns a core that knows nothing yet.
func NewCore(opts Options, log Log, pub Publisher, intake *Intake, journal *Journal) *Core {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Core{opts: opts, log: log, pub: pub, intake: intake, journal: journal, logger: opts.Logger, eval: NewEvaluator(opts.Policy), ready: ready{apps: map[commands.ID]app.Key{}}}
}

// Step does what is to be done at now, and says when to call again at the latest. read, if it is not 0, asks for a read
// of the desired state to be begun, whose outcome DesiredRead is to be given under this number. An error means that a
// proposal failed; the next step takes it up again.
func (c *Core) Step(ctx context.Context, now app.Time, lead Lead) (next app.Time, read uint64, err error) {
	c.reads.notAhead(now)
	c.tellDoubled()
	if !lead.Leader {
		c.term, c.ears = 0, ears{}
		c.reads.abandon()
		c.intake.TakeExits() // the leader hears them too
		c.intake.TakeUpdated()
		c.intake.TakeShifted()
		c.intake.Settle(c.log.View())
		c.setGate(now, lead, true)
		if c.due(&c.nextSweep, now, c.opts.Policy.HeartbeatPeriod) {
			c.intake.Forget(c.log.View())
		}
		return now.Add(c.opts.Policy.HeartbeatPeriod / 2), 0, nil
	}
	if lead.Term != c.term {
		c.lead(lead.Term, now)
	}
	recorded, err := false, c.inherit(ctx, now)
	if err == nil {
		recorded, err = c.record(ctx, now)
	}
	if err != nil {
		c.setGate(now, lead, false) // what was heard is not recorded
		return now.Add(c.opts.Policy.HeartbeatPeriod / 10), 0, err
	}
	if now >= c.nextSweep {
		if c.nextSweep, err = c.sweep(ctx, now); err != nil {
			c.setGate(now, lead, false)
			return now.Add(c.opts.Policy.HeartbeatPeriod / 10), 0, err
		}
	}
	wasOpen := c.gateKnown && evaluates(c.gate)
	c.setGate(now, lead, recorded)
	var unsettled []app.Key
	opens := !wasOpen && evaluates(c.gate)
	if opens || c.picture.due(c.gate) {
		unsettled = c.eval.Unsettled(c.log.View())
		if c.picture.due(c.gate) {
			err = c.judgePicture(ctx, now, unsettled)
		}
		if err == nil && opens {
			err = c.doubt(ctx, now)
		}
		if err != nil {
			return now.Add(c.opts.Policy.HeartbeatPeriod / 10), 0, err
		}
		c.setGate(now, lead, recorded)
	}
	c.announced(c.intake.TakeUpdated())
	c.shifted(c.intake.TakeShifted())
	read = c.reads.due(now, c.opts) // before anything is decided, which a read that is under way may put off
	more := false
	if evaluates(c.gate) {
		if !wasOpen || c.queue.full || c.due(&c.nextFull, now, fullPassPeriods*c.opts.Policy.HeartbeatPeriod) {
			c.nextFull = now.Add(fullPassPeriods * c.opts.Policy.HeartbeatPeriod)
			if !opens { // else they are known
				unsettled = c.eval.Unsettled(c.log.View())
			}
			c.queue.replace(unsettled)
		}
		if more, err = c.act(ctx, now); err != nil {
			return now.Add(c.opts.Policy.HeartbeatPeriod / 10), read, err
		}
	}
	return c.nextStep(now, more || !recorded), read, nil
}

// doubt looks, before the gate opens, whether what is desired can be right at all.
func (c *Core) doubt(ctx context.Context, now app.Time) error {
	view := c.log.View()
	if c.reads.notice(view) || c.reads.accepted {
		return nil
	}
	why := c.opts.Guard.Doubts(view)
	if why == "" {
		return nil
	}
	c.logger.Warn("holding all commands: the desired state is doubtful", "why", why)
	c.reads.holding = true
	hold := raftfsm.Hold{Name: HoldDesiredShrink, Reason: why, By: holdBy, SetAt: now}
	if err := c.propose(ctx, raftfsm.HoldSet{Hold: hold}); err != nil {
		return fmt.Errorf("holding all commands: %w", err)
	}
	return nil
}

// lead begins a leadership: nothing of an earlier one is trusted.
func (c *Core) lead(term uint64, now app.Time) {
	c.term = term
	c.throttle = commands.Throttle{StartLimit: c.opts.StartLimit, StopLimit: c.stopLimit(c.log.View(), now), Period: c.opts.Policy.HeartbeatPeriod}
	var claimed []commands.Command
	recent := func(cmd commands.Command) {
		if cmd.ClaimedAt != 0 && now.Sub(cmd.ClaimedAt) < c.opts.Policy.HeartbeatPeriod {
			claimed = append(claimed, cmd)
		}
	}
	for cmd := range c.log.View().AllCommands() {
		recent(cmd)
	}
	for _, e := range c.journal.Newest(maxSeeds) {
		recent(e.Command)
	}
	slices.SortFunc(claimed, func(a, b commands.Command) int { return int(a.ClaimedAt - b.ClaimedAt) })
	for _, cmd := range claimed {
		c.throttle.Seed(cmd.Action, cmd.ClaimedAt)
	}
	c.queue = queue{}
	c.ready = ready{apps: map[commands.ID]app.Key{}}
	c.claimAt, c.refused = [2]app.Time{}, nil
	c.nextSweep, c.nextFull, c.nextTidy = now, now, now
	c.gateKnown, c.inherited, c.ears = false, true, ears{}
	c.surplus = surplus{}
	c.losses, c.back, c.picture, c.nextLate = losses{}, map[string]back{}, picture{}, now
	c.reads.lead()
}

// record brings the log up to what was heard before this step, and reports whether all of that is recorded.
func (c *Core) record(ctx context.Context, now app.Time) (all bool, err error) {
	for full, rounds := true, 0; full; rounds++ {
		if rounds == maxRounds {
			return false, nil
		}
		view := c.log.View()
		changes := c.intake.Changes(view, deasPerProposal)
		if len(changes) == 0 {
			break
		}
		records, recorded := c.guardLoss(view, now, changes)
		err := c.propose(ctx, records...)
		if recorded(err); err != nil {
			return false, fmt.Errorf("recording what %d DEAs said: %w", len(changes), err)
		}
		c.intake.Settle(c.log.View())
		full = len(changes) == deasPerProposal // else: what is left came in meanwhile, and is for the next step
	}
	view := c.log.View()
	var records []raftfsm.Record
	for _, e := range c.intake.TakeExits() {
		if news(view, e) {
			records = append(records, raftfsm.InstanceExited{Exit: e})
		}
	}
	if len(records) > 0 {
		if err := c.propose(ctx, records...); err != nil {
			return false, fmt.Errorf("recording %d exits: %w", len(records), err)
		}
	}
	return true, nil
}

// news reports whether an exit would change what is recorded (R33 to R36).
func news(view *raftfsm.State, e actual.Exit) bool {
	if e.Reason == actual.ExitStopped || e.Reason == actual.ExitOther {
		return false // the next heartbeat will say
	}
	a, known := view.App(e.App)
	if !known {
		return false
	}
	wanted := a.HasDesired && a.Desired.Wanted() && e.Index < a.Desired.Instances
	for _, inst := range view.Instances(nil, e.App) {
		if inst.GUID == e.Instance {
			return inst.State != actual.Stopping && inst.State.AfterExit(e.Reason) != inst.State
		}
		if inst.Index == e.Index && inst.State.Live() {
			wanted = false // an old crash, told again: something runs at the index (W44)
		}
	}
	return wanted && e.Reason.Ends()
}

// propose records, and queues the apps that it touched for evaluation.
func (c *Core) propose(ctx context.Context, records ...raftfsm.Record) error {
	results, err := c.log.Propose(ctx, records...)
	view := c.log.View()
	for _, r := range results {
		c.touched(view, r.Touched)
		for _, refused := range r.Refused {
			c.logger.Debug("the record refused a change", "error", refused.Err)
		}
	}
	return err
}

// touched queues apps that changed, and the other versions of their droplets that have commands: a stop of one version
// waits for what another does.
func (c *Core) touched(view *raftfsm.State, keys []app.Key) {
	c.queue.add(keys...)
	for _, k := range keys {
		for other := range view.OthersWithCommands(k) {
			c.queue.add(other)
		}
	}
}

// shifted queues apps of which the DEAs list other entries without a place, all if there are many.
func (c *Core) shifted(keys []app.Key, all bool) {
	c.queue.add(keys...)
	c.queue.full = c.queue.full || all
}

// tellDoubled tells people of ids that two DEAs use.
func (c *Core) tellDoubled() {
	for _, d := range c.intake.TakeDoubled() {
		if d.Ended {
			c.logger.Info("only one DEA uses this id now, or none", "dea", d.DEA)
		} else {
			c.logger.Warn("two DEAs use one id: what either of them lists counts; give one of them an id of its own by starting it anew", "dea", d.DEA)
		}
	}
}

// reasons gives why the gate is closed at now. recorded says that everything heard before is.
func (c *Core) reasons(now app.Time, lead Lead, recorded bool) []string {
	fresh, up, _ := c.intake.Fresh(now)
	return Gate(GateInput{
		Lead: lead, NATSUp: up, NATSLate: c.intake.Late(), Deaf: lead.Leader && c.ears.deaf, ActualFresh: fresh && recorded, DesiredFresh: c.reads.fresh(now, c.opts),
		Holds: c.log.View().Holds(), Shadow: c.opts.Shadow, StateDiffers: c.opts.StateDiffers != nil && c.opts.StateDiffers(),
		NATSRefused: c.opts.NATSRefused != nil && c.opts.NATSRefused(),
	}, now)
}

// setGate computes the gate and remembers since when it has been as it is.
func (c *Core) setGate(now app.Time, lead Lead, recorded bool) {
	c.epoch = c.intake.Epoch() // before the link is looked at: a gap between the two is noticed before the publish
	reasons := c.reasons(now, lead, recorded)
	c.picture.follow(c.log.View(), reasons)
	if !c.gateKnown || !slices.Equal(reasons, c.gate) {
		if !c.gateKnown || (len(reasons) == 0) != (len(c.gate) == 0) {
			c.gateSince = now
		}
		c.logger.Info("gate", "open", len(reasons) == 0, "reasons", reasons)
	}
	c.gate, c.gateKnown = reasons, true
}

// due reports whether a periodic duty is to be done at now, and sets its next time.
func (c *Core) due(next *app.Time, now app.Time, period time.Duration) bool {
	if now < *next {
		return false
	}
	*next = now.Add(period)
	return true
}

func (c *Core) nextStep(now app.Time, more bool) app.Time {
	if more {
		return now
	}
	next := c.nextSweep
	from, until := c.intake.FreshWithin(now)
	for _, at := range [...]app.Time{from, until, c.reads.staleAt(c.opts)} { // the gate opens and closes when it is due
		if at > now {
			next = min(next, at)
		}
	}
	if at, ok := c.queue.next(); ok && evaluates(c.gate) {
		next = min(next, at)
	}
	for _, at := range c.claimAt {
		if at > now && len(c.ready.apps) > 0 {
			next = min(next, at)
		}
	}
	if at, ok := c.reads.nextPoll(now, c.opts); ok {
		next = min(next, at)
	}
	return next
}

func held(view *raftfsm.State, name string) bool {
	return slices.ContainsFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Name == name })
}

// GateReasons are why the gate is closed, as of the last step; none if it is open. They must not be changed.
func (c *Core) GateReasons() []string { return c.gate }

// Reads is what this core knows of the reads of the desired state.
func (c *Core) Reads() diff.Reads { return c.reads.known() }

// Knowledge is what this core knows beyond the recorded state, as of its last step.
func (c *Core) Knowledge(now app.Time) Knowledge {
	return Knowledge{Reads: c.reads.known(), Held: c.gate, Unplaced: func(k app.Key) []app.Time { return c.intake.Unplaced(k, now) }}
}

// deciding is what this core knows when it decides: the gate is open then, or closed only to publish nothing.
func (c *Core) deciding(now app.Time) Knowledge {
	know := c.Knowledge(now)
	know.Held, know.AppRead, know.Quiet = nil, c.reads.beganOf, c.intake.Quiet
	return know
}

// Overview tells what this core knows, as of its last step.
func (c *Core) Overview(now app.Time, lead Lead) Overview {
	fresh, up, since := c.intake.Fresh(now)
	return Overview{
		At: now, Lead: lead,
		GateOpen: c.gateKnown && len(c.gate) == 0, GateReasons: slices.Clone(c.gate), GateSince: c.gateSince,
		LinkUp: up, LinkSince: since, ActualFresh: fresh, DesiredFresh: c.reads.fresh(now, c.opts),
		Reads: c.reads.known(), ReadError: c.reads.lastError, Queue: c.queue.len(), Backlog: c.intake.Backlog(),
		Missed:     len(c.ears.missed),
		Unreadable: c.intake.Unreadable(),
	}
}
