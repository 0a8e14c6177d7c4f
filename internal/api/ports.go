package api

import (
	"context"
	"net"
	"sync"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Node is the cluster node of this API: *cluster.Node.
type Node interface {
	View() *raftfsm.State
	Now() app.Time
	Leadership() cluster.Leadership
	Members() []cluster.Member
	// LeaderContact is when this node, while it did not lead, last heard from a leader; zero if never.
	LeaderContact() time.Time
	// Add makes a node a member, or gives a member another address. It reports whether it changed something.
	Add(ctx context.Context, id, address string, force bool) (changed bool, err error)
	// Remove makes a node no member any more.
	Remove(ctx context.Context, id string, force bool) error
	// HandOver hands the leadership to a member, or to the best one if id is empty, and gives its id.
	HandOver(ctx context.Context, id string) (to string, err error)
	// Joining reports whether the node still fetches the record that it may have lost with its disk.
	Joining() bool
	// Replaying reports whether the node still has to apply entries that its log had when it was started.
	Replaying() bool
	// Writes accepts the connections on which other members forward writes to this node. The server closes it.
	Writes() net.Listener
	// DialWrites opens a connection to the Writes of another member.
	DialWrites(ctx context.Context, id string) (net.Conn, error)
	Stats() cluster.Stats
	// DiskTrouble gives for how long the disk has not worked, and why; 0 and nil if it works.
	DiskTrouble() (stalled time.Duration, err error)
	Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error)
	// Knows reports whether every voter can apply records of a kind.
	Knows(kind raftfsm.Kind) bool
}

// Loop has what the node knows beyond the recorded state: *reconcile.Loop.
type Loop interface {
	Overview() reconcile.Overview
	Freshness() reconcile.Freshness
	LastHeard(dea string) app.Time
	// Trouble gives what the node cannot read in the messages of a DEA, and whether there is anything.
	Trouble(dea string) (reconcile.Trouble, bool)
	// Unplaced gives, by app, when each of its entries without a readable index or instance was first heard.
	Unplaced() map[app.Key][]app.Time
	// LogEnded logs a command that was ended through the API.
	LogEnded(raftfsm.EndedCommand)
	Wake()
}

// Link is the node's link to NATS: *bus.Link.
type Link interface {
	State() bus.State
	// Refusals gives what the server refuses now, by action and subject.
	Refusals() []bus.Refusal
	// RefusalTotals calls fn with how often the server has refused each action and subject.
	RefusalTotals(fn func(action, subject string, total uint64))
}

// FeedStats has running totals of what was heard from the DEAs, for /metrics.
type FeedStats struct {
	Heartbeats         uint64 // messages taken in, whichever way they came
	Posted             uint64 // of these, those that DEAs posted to this node over HTTPS
	Relayed            uint64 // of these, those that other nodes passed on
	Unchanged          uint64 // of these, those that repeated what was recorded; they are recognised without decoding
	Superseded         uint64 // of these, those that were not looked at: the DEA's next one came while they waited
	HeartbeatsRejected uint64 // messages that could not be understood
	InstancesRejected  uint64 // entries left out of the other messages
	InstancesUnplaced  uint64 // of these, those that name an app
	UnknownStates      uint64 // entries in a state that hm does not know; they are not left out
	Exits              uint64 // droplet.exited messages taken in
	ExitsRejected      uint64
	Updates            uint64 // droplet.updated messages taken in
}

// ComponentStats has running totals of what the node did as a component for collectors, for /metrics.
type ComponentStats struct {
	Announced uint64         // announcements sent
	Answered  uint64         // questions for components that were answered
	Ignored   uint64         // questions that were not, because too many came at once
	Failed    uint64         // announcements and answers that could not be sent
	Requests  map[int]uint64 // for /varz and /healthz, by HTTP status
}

// PostStats has running totals of the endpoint for heartbeats over HTTPS, for /metrics.
type PostStats struct {
	Connections  int               // open now
	Refused      map[string]uint64 // connections and heartbeats, by reason
	Relayed      map[string]uint64 // heartbeats that were to be passed on to a peer, by outcome; nil: there are no peers
	RelayedBytes uint64            // sent to peers for that
}

// Transfers has running totals of how often this node handed over its leadership for one reason, for /metrics.
type Transfers struct {
	Reason       string
	Done, Failed uint64
}

// snapshot is what the node knows at one time. Most answers begin with one.
type snapshot struct {
	view  *raftfsm.State
	over  reconcile.Overview
	lead  cluster.Leadership
	hm    app.Time
	wall  Wall
	at    Timestamp
	age   time.Duration
	local string
	know  *reconcile.Knowledge // of the pass that the view comes from; nil: that of the node
	// refused gives, by action, why NATS or the Cloud Controller refuses commands of the leader.
	refused func() map[commands.Action]refusedCommand
	details *CommandDetails // nil: there are none
	// unplaced gives, by app, when each entry was first heard that has no place in it.
	unplaced func() map[app.Key][]app.Time
}

// replayWithin is how long the first answer about the whole fleet waits for the entries that the log had at the start.
const replayWithin = 2 * time.Second

// wholeSnapshot is snapshot for answers about the whole fleet. In a large one the first of them waits while the node
// replays its log: the record lacks a part until then, and to count what seems to be missing would take longer than to
// wait.
func (s *Server) wholeSnapshot(ctx context.Context) snapshot {
	if s.fleet.newest.Load() == nil && s.opts.Node.Replaying() && s.opts.Node.View().Counts().Apps >= s.fleet.small {
		ctx, cancel := context.WithTimeout(ctx, replayWithin)
		defer cancel()
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for s.opts.Node.Replaying() && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-s.done: // this server closes
				return s.snapshot()
			case <-ticker.C:
			}
		}
	}
	return s.snapshot()
}

// snapshot takes a snapshot. It is cheap: the view is frozen in microseconds.
func (s *Server) snapshot() snapshot {
	wall := s.opts.Clock()
	n := snapshot{
		view: s.opts.Node.View(), over: s.opts.Loop.Overview(), lead: s.opts.Node.Leadership(),
		hm: s.opts.Node.Now(), at: stamp(wall), local: s.opts.ID,
	}
	n.wall = s.wall.at(wall, n.hm)
	n.refused = sync.OnceValue(func() map[commands.Action]refusedCommand { return s.refusedCommands(n.lead) })
	n.details = s.opts.Details
	n.unplaced = sync.OnceValue(s.opts.Loop.Unplaced)
	if !n.lead.Leader {
		n.age = s.sinceLeader(n.lead)
	}
	return n
}

// sinceLeader is the time since this node, a follower, last heard from the leader.
func (s *Server) sinceLeader(lead cluster.Leadership) time.Duration {
	for _, m := range s.opts.Node.Members() {
		if m.ID == lead.LeaderID && m.ID != s.opts.ID && !m.LastContact.IsZero() {
			return time.Since(m.LastContact)
		}
	}
	if lead.LeaderID == "" {
		return time.Since(lead.Since)
	}
	return 0
}

// basis gives the basis of an answer from view.
func (n snapshot) basis(view *raftfsm.State) Basis {
	return Basis{Index: view.Index(), AgeMS: n.age.Milliseconds(), Leader: n.lead.LeaderID, Node: n.local, At: n.at}
}

// held gives the reasons why a due command is not sent, as this node knows them. That another node leads is not one of
// them, because that node sends.
func (n snapshot) held() []string {
	var held []string
	for _, r := range n.over.GateReasons {
		if r != reconcile.ReasonNotLeader {
			held = append(held, r)
		}
	}
	return held
}

// knowledge is the part of decisions' input that is not recorded. It does not change later.
func (n snapshot) knowledge() reconcile.Knowledge {
	if n.know != nil {
		return *n.know
	}
	know := n.over.Knowledge()
	know.Held = n.held()
	know.Unplaced = func(k app.Key) []app.Time { return n.unplaced()[k] }
	return know
}
