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
	ClaimLease   time.Duration // for how long after it asked for a claim a leader may publish
	// ClaimsAtOnce is how many commands are claimed in one entry and published together at most; 0: 4,000. All of them
	// must be published within ClaimLease.
	ClaimsAtOnce int
	// LeaseHolds is for how long after a leader asked whether it still leads no other node can be elected, if the answer
	// was yes; 0: for ever.
	LeaseHolds time.Duration
	ReadsApps  bool // the source can read single apps; AppReads asks for them
	// Filter is the text of desired.filter (desired.Filter.String); empty: the whole desired state is read. What was read
	// through another filter counts as not read.
	Filter       string
	AnyFilter    bool        // Filter is not known, as in a replay: each read counts
	StateDiffers func() bool // this node's recorded state differs from that of its peers; nil: never
	Peers        Peers       // nil: there are none
	NATSRefused  func() bool // the link is up, and the server refuses the subscription to heartbeats; nil: never
	// CCReachable reports whether this node, as leader of a term, knows that the Cloud Controller can take commands;
	// nil: nobody asks, since commands go over NATS.
	CCReachable func(term uint64) bool
	Logger      *slog.Logger
	// OnCommand is called with each command that this leader sends, and with each that ends. nil: it
	// is not called.
	OnCommand func(CommandEvent)

	// Node is this node's id; empty: nobody is told who leads. Notes says whether every voter knows notes
	// (raftfsm.Noted), which tell the history what only the leader knows; nil: all do.
	Node  string
	Notes func() bool
	Times Times // how long things took is told there

	// WhyLead says, when this node begins to lead, what it knows of why; nil: nothing.
	WhyLead func() string

	partBytes int // size of a part of a read in one entry; tests set it
}

// Core is one node's reconcile step: everything between what is heard and what is sent. It has no
// goroutine and no clock, and reaches the outside through its ports only. It is not safe for
// concurrent use.
type Core struct {
	opts   Options
	log    Log
	pub    Publisher
	intake *Intake
	ended  *EndedCommands
	logger *slog.Logger

	// When the last step began, in hm time and by the intake's clock, and for how long this node's
	// machine had been suspended by then.
	stepped, steppedMono app.Time
	suspended            time.Duration

	restores     uint64 // how often the record was replaced by a snapshot, as of the last step
	restoresSeen bool

	term      uint64 // of the leadership that the fields below belong to; 0 while this node does not lead
	throttle  commands.Throttle
	queue     queue
	ready     ready
	claimAt   [2]app.Time // when the throttle allows starts and stops again
	claims    claimNotes
	drain     drain
	notes     notes
	nextSweep app.Time
	nextFull  app.Time
	nextTidy  app.Time // when to look for crash marks that can be forgotten

	reads        reads
	losses       losses              // places lost within one time to live
	surplus      surplus             // live instances that are no measure for a loss
	recoveries   map[string]recovery // by the name of the hold on a loss
	inherited    bool                // the losses that earlier leaders recorded are not judged yet
	firstPicture firstPicture
	nextLate     app.Time // when to add later losses to a hold
	heardByPeers heardByPeers
	gate         []string
	gateSince    app.Time
	gateKnown    bool
	epoch        uint64 // of the link when the gate was last computed

	eval *Evaluator
	// Parts of the knowledge with which this core decides, made once: it is put together for every batch of apps.
	appRead func(app.GUID) app.Time
	isQuiet func(dea string, instance app.GUID) bool
}

// How much one step does at once, so that no step takes long.
const (
	deasPerProposal   = 2_000
	maxRounds         = 50
	appsPerEvaluation = 5_000
	claimsPerEntry    = 4_000 // unless Options.ClaimsAtOnce says otherwise
)

// fullPassPeriods is after how many heartbeat periods the whole fleet is evaluated again without a
// cause.
const fullPassPeriods = 60

// NewCore returns a core that knows nothing yet.
func NewCore(opts Options, log Log, pub Publisher, intake *Intake, ended *EndedCommands) *Core {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Core{
		opts: opts, log: log, pub: pub, intake: intake, ended: ended, logger: opts.Logger,
		eval: NewEvaluator(opts.Policy), ready: ready{apps: map[commands.ID]app.Key{}},
	}
	intake.observeRecorded(opts.Times.HeartbeatRecorded)
	c.appRead, c.isQuiet = c.reads.beganOf, intake.Quiet
	return c
}

// GateReasons gives why the gate is closed, as of the last step; none if it is open. The caller
// must not change them.
func (c *Core) GateReasons() []string { return c.gate }

// Reads is what this core knows of the reads of the desired state.
func (c *Core) Reads() diff.Reads { return c.reads.known() }

// Knowledge is what this core knows beyond the recorded state, as of its last step.
func (c *Core) Knowledge(now app.Time) Knowledge {
	unplaced := func(k app.Key) []app.Time { return c.intake.Unplaced(k, now) }
	return Knowledge{Reads: c.reads.known(), Held: c.gate, Unplaced: unplaced}
}

// deciding is what this core knows when it decides: the gate is open then, or closed only to
// publish nothing.
func (c *Core) deciding(now app.Time) Knowledge {
	know := c.Knowledge(now)
	know.Held, know.AppRead, know.Quiet = nil, c.appRead, c.isQuiet
	return know
}

// Overview sums up what this core knows, as of its last step.
func (c *Core) Overview(now app.Time, lead Lead) Overview {
	fresh, up, since := c.intake.Fresh(now)
	limited := func(a commands.Action) bool {
		return len(c.ready.due[a-commands.Start]) > 0 && c.throttle.Next(a, now) > now
	}
	return Overview{
		At: now, Lead: lead, Suspended: c.suspended,
		GateOpen: c.gateKnown && len(c.gate) == 0, GateReasons: slices.Clone(c.gate), GateSince: c.gateSince,
		LinkUp: up, LinkSince: since, ActualFresh: fresh, DesiredFresh: c.desiredFresh(now),
		Reads: c.reads.known(), ReadError: c.reads.lastError, Queue: c.queue.len(), Backlog: c.intake.Backlog(),
		Missed:     len(c.heardByPeers.missed),
		MissedDEAs: c.heardByPeers.shownMissed(),
		Unreadable: c.intake.Unreadable(),
		Drain:      c.drain.shown(), StartsLimited: limited(commands.Start), StopsLimited: limited(commands.Stop),
	}
}
