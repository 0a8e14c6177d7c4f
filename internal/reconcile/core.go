package reconcile

import (
	"log/slog"
	"slices"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
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
	// OnCommand is told of each command that this leader sends, and of each that ends. nil: nobody is told.
	OnCommand func(CommandEvent)

	partBytes int // of a desired read in one entry; tests make small reads large
}

// Core is one node's reconcile step: everything between what is heard and what is sent. It has no goroutine, no
// clock and no I/O but its ports, and must be called by one goroutine at a time.
type Core struct {
	opts   Options
	log    Log
	pub    Publisher
	intake *Intake
	ended  *EndedCommands
	logger *slog.Logger

	term      uint64 // of the leadership that the fields below belong to; 0 while this node does not lead
	throttle  commands.Throttle
	queue     queue
	ready     ready
	claimAt   [2]app.Time // when the throttle allows starts and stops again
	claims    claimNotes
	nextSweep app.Time
	nextFull  app.Time
	nextTidy  app.Time // when to look next for crash marks that nobody needs

	reads        reads
	losses       losses              // of instances, within one time to live
	surplus      surplus             // live instances that a loss is not measured by
	recoveries   map[string]recovery // by the name of the hold on a loss
	inherited    bool                // the losses that earlier leaders recorded are still to be judged
	firstPicture firstPicture
	nextLate     app.Time // when to look whether a hold on a loss names all of it
	heardByPeers heardByPeers
	gate         []string
	gateSince    app.Time
	gateKnown    bool
	epoch        uint64 // of the link, when the gate was computed last

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
func NewCore(opts Options, log Log, pub Publisher, intake *Intake, ended *EndedCommands) *Core {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Core{opts: opts, log: log, pub: pub, intake: intake, ended: ended, logger: opts.Logger, eval: NewEvaluator(opts.Policy), ready: ready{apps: map[commands.ID]app.Key{}}}
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
		Missed:     len(c.heardByPeers.missed),
		Unreadable: c.intake.Unreadable(),
	}
}
