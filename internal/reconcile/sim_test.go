package reconcile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

const hb = 10 * time.Second

var testPolicy = diff.Policy{
	HeartbeatPeriod: hb, Grace: 3 * hb, CrashesBeforeBackoff: 3, BackoffStart: 3 * hb, BackoffMax: 96 * hb, DuplicateGrace: 4,
	StopYield: 18 * hb, StartingTTL: 30 * hb,
}

func testOptions() Options {
	return Options{
		Policy: testPolicy, StartLimit: 60, DesiredTTL: 12 * hb, PollInterval: 6 * hb, ClaimLease: 2 * time.Second,
		Guard: Guard{DesiredShrink: 0.5, MinApps: 20, ConfirmReads: 10, MassLoss: 0.5, MinDEAs: 4, MassLossHold: 30 * hb},
	}
}

// simCF simulates a Cloud Foundry in virtual time around the Core of each hm node, of which one
// leads: DEAs that send heartbeats and obey, a Cloud Controller that can be read, and a log. The log
// is the plain state machine, and every node knows it at once; or, after beginCluster, each node has
// a process, a state, a clock and a link of its own, and a model of Raft stands between them.
type simCF struct {
	*simNode // the leader
	nodes    []*simNode
	cluster  *simCluster // nil: the log is the plain state machine
	events   events
	trace    *trace   // nil: none is written
	told     []string // the faults so far, in words
	number   int      // of the present fault

	t         testing.TB
	now       app.Time
	state     *raftfsm.State // what is committed
	view      *raftfsm.State
	index     uint64
	term      uint64
	fail      error           // what proposals fail with
	tolerant  bool            // a step may fail
	stepping  context.Context // of the steps of a node without a cluster; nil: they do not end
	suspended time.Duration
	faults    *faults // what goes wrong by chance; nil: nothing, and there is no cluster

	opts      Options
	linkUp    bool
	linkSince app.Time
	epoch     uint64
	inFlight  []message

	deas       map[string]*simDEA
	apps       []desired.App
	answer     func([]desired.App) []desired.App // what the Cloud Controller says by error; nil: the truth
	readErr    error
	readsMade  int                   // complete reads made
	readAt     map[app.Time]app.Time // when reads began that have a begin in hm time
	complete   app.Time              // when the newest complete read began that a leader took
	wrongReads int                   // wrong answers that may be about to be recorded
	// readTime is how long a read takes; it shows what there was when it was begun. 0: 50 ms.
	readTime        time.Duration
	leaseErr        error // what asking whether the leader still leads fails with
	sent            []sentCommand
	ended           [][16]byte // confirmed commands
	nobodyObeys     bool       // starts and stops are published, but nobody obeys
	pubErr          error
	onStart         func(*actual.Instance) // changes an instance that a start makes
	instancesMade   int
	unreadable      app.GUID // an instance whose entry cannot be read
	unreadableSince app.Time // since when
	misreported     map[app.GUID]misreport
	junk            bool // every heartbeat has entries that cannot be read and name nothing that is known
	shared          bool // some DEAs have shared an id
	nextDEA         int
	silentUntil     app.Time // until when nobody is heard, though every link is up
	truth           truth
	losses          recordedLosses
	notes           []raftfsm.Note // that are recorded
	cell            simCell
	excusedAt       app.Time // when excuse was last called
	released        bool     // a person, not hm, releases a hold
}

// simNode is one node of hm.
type simNode struct {
	cf            *simCF
	id            int
	core          *Core
	endedCommands *EndedCommands
	intake        *Intake
	reads         []pendingRead
	recordsWrong  bool // the read that it records is wrong
	appReads      []pendingAppRead
	next          app.Time
	wake          bool
	begun         app.Time // when its process began

	slow     slowLink
	notHeard map[string]bool // DEAs whose heartbeats do not reach it
	asked    []string        // DEAs about which it asked its peers
	told     Hearing         // what it told its peers last
	toldAt   app.Time

	// The fields below are for the nodes of a cluster.
	process     *process
	down        bool
	pausedUntil app.Time
	suspended   time.Duration // in total
	wall        time.Duration // of the intake's clock, from the monotonic time
	clock       simClock
	raft        *simRaft // nil: it has no part in a model of the log
	view        *raftfsm.State
	proposals   []*proposal // that have no outcome yet
	verified    app.Time    // when a majority last confirmed that it leads
	linkDown    bool        // its own link to NATS is down
	away        bool        // it has not found its way back to NATS yet
	linkEpoch   uint64
	linkSince   app.Time
	words       map[*simNode]word // what it was told by its peers
	handover    simHandover
}

type sentCommand struct {
	commands.Command
	at app.Time
}

func newSimCF(t testing.TB, opts Options) *simCF {
	cf := &simCF{t: t, now: 1_700_000_000_000, state: raftfsm.NewState(), term: 1, opts: opts, deas: map[string]*simDEA{}, readAt: map[app.Time]app.Time{}, simNode: &simNode{}}
	cf.nodes = []*simNode{cf.simNode}
	cf.truth.begin()
	cf.restart()
	cf.setLink(true)
	return cf
}

// restart puts a new node in the place of the leader: it knows what is recorded, and nothing else.
// It leads again.
func (cf *simCF) restart() {
	cf.term++
	cf.open(cf.simNode)
	cf.disturbSharers()
}

// disturbSharers notes that a node does not know any more which DEAs share an id.
func (cf *simCF) disturbSharers() {
	for _, d := range cf.deas {
		if len(cf.sharers(d)) > 0 {
			d.disturbed = cf.now
		}
	}
}

// open begins a node's process.
func (cf *simCF) open(n *simNode) {
	n.cf = cf
	n.begin()
}

// newCore gives a core to a node.
func (cf *simCF) newCore(n *simNode) *Core {
	opts := cf.opts
	opts.Peers = simPeers{cf, n}
	return NewCore(opts, n, n, n.intake, n.endedCommands)
}

// failover puts a node in the leader's place that has heard everything.
func (cf *simCF) failover() {
	cf.term++
	began := cf.core.reads.began
	cf.core = cf.newCore(cf.simNode)
	cf.core.Learn(cf.now, began)
	cf.next, cf.reads, cf.appReads = cf.now, nil, nil
}

func (cf *simCF) setLink(up bool) {
	if cf.linkUp != up {
		cf.spell(up)
	}
}

// spell begins a new spell of the link. What was under way is lost.
func (cf *simCF) spell(up bool) {
	cf.epoch++
	cf.linkUp, cf.linkSince, cf.inFlight = up, cf.now, nil
	for _, n := range cf.nodes {
		n.slow = slowLink{}
		switch {
		case cf.cluster == nil:
			n.intake.Link(up, cf.epoch)
		case up:
			n.reconnect()
		default:
			n.linkChanged()
		}
	}
}

func testKey(n, version int) app.Key {
	return app.Key{Droplet: app.MustGUID(fmt.Sprintf("app-%03d", n)), Version: app.MustGUID(fmt.Sprintf("v%d", version))}
}

// desire adds n apps of so many instances each, which all run already if running is set.
func (cf *simCF) desire(n int, instances uint32, running bool) {
	first := len(cf.apps)
	for i := range n {
		a := desired.App{Key: testKey(first+i, 1), Instances: instances, State: desired.Started, Package: desired.Staged}
		cf.apps = append(cf.apps, a)
		if running {
			for index := range instances {
				cf.obey(commands.Command{Action: commands.Start, App: a.Key, Index: index})
			}
		}
	}
}
