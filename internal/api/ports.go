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

// Node is the cluster node that the API speaks for: *cluster.Node.
type Node interface {
	View() *raftfsm.State
	Now() app.Time
	Leadership() cluster.Leadership
	Members() []cluster.Member
	// LeaderContact is when this node, while it did not lead, last had word from a leader; zero if never.
	LeaderContact() time.Time
	// Joining reports whether the node still fetches what it may have lost with its disk.
	Joining() bool
	// Writes are the connections on which other members hand writes on to this node. The server closes the listener.
	Writes() net.Listener
	// DialWrites opens a connection to the Writes of another member.
	DialWrites(ctx context.Context, id string) (net.Conn, error)
	Stats() cluster.Stats
	// DiskTrouble says for how long the disk has taken nothing in, and why; 0 and nil if it does.
	DiskTrouble() (stalled time.Duration, err error)
	Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error)
}

// Loop is what the node knows beyond the recorded state: *reconcile.Loop.
type Loop interface {
	Overview() reconcile.Overview
	Freshness() reconcile.Freshness
	LastHeard(dea string) app.Time
	// Trouble is what the node cannot read of what a DEA says, and whether there is anything.
	Trouble(dea string) (reconcile.Trouble, bool)
	// Unplaced gives, by app, when each entry was first heard that has no place in it.
	Unplaced() map[app.Key][]app.Time
	EndedCommands() *reconcile.EndedCommands
	Wake()
}

// Link is the node's link to NATS: *bus.Link.
type Link interface {
	State() bus.State
	// Refusals are what the server refuses now, by action and subject.
	Refusals() []bus.Refusal
	// RefusalTotals calls fn with how often the server has refused each action and subject.
	RefusalTotals(fn func(action, subject string, total uint64))
}

// FeedStats are running totals of what was heard from the DEAs, for /metrics.
type FeedStats struct {
	Heartbeats         uint64 // messages taken in
	Unchanged          uint64 // of these, those that said what was already recorded, recognised without decoding
	HeartbeatsRejected uint64 // messages that could not be understood
	InstancesRejected  uint64 // entries left out of messages that could
	InstancesUnplaced  uint64 // of these, those that name an app
	UnknownStates      uint64 // entries not left out, in a state that hm does not know
	Exits              uint64 // droplet.exited messages taken in
	ExitsRejected      uint64
	Updates            uint64 // droplet.updated messages taken in
}

// Transfers are running totals of the times that this node, leading, handed over for one reason, for /metrics.
type Transfers struct {
	Reason       string
	Done, Failed uint64
}

// now is what most answers begin with: one consistent set of the node's knowledge.
type snapshot struct {
	view  *raftfsm.State
	over  reconcile.Overview
	lead  cluster.Leadership
	hm    app.Time
	wall  Wall
	at    Timestamp
	age   time.Duration
	local string
	// refused gives, by action, the words with which nats refuses commands to the node that leads.
	refused func() map[commands.Action]string
	// unplaced gives, by app, when each entry was first heard that has no place in it.
	unplaced func() map[app.Key][]app.Time
}

// look takes in the node's knowledge. It is cheap: the view is frozen in microseconds.
func (s *Server) snapshot() snapshot {
	wall := s.opts.Clock()
	n := snapshot{
		view: s.opts.Node.View(), over: s.opts.Loop.Overview(), lead: s.opts.Node.Leadership(),
		hm: s.opts.Node.Now(), at: stamp(wall), local: s.opts.ID,
	}
	n.wall = s.wall.at(wall, n.hm)
	n.refused = sync.OnceValue(func() map[commands.Action]string { return s.refusedCommands(n.lead) })
	n.unplaced = sync.OnceValue(s.opts.Loop.Unplaced)
	if !n.lead.Leader {
		n.age = s.sinceLeader(n.lead)
	}
	return n
}

// sinceLeader is for how long this node, a follower, has not heard from the leader.
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

// basis says what an answer from view rests on.
func (n snapshot) basis(view *raftfsm.State) Basis {
	return Basis{Index: view.Index(), AgeMS: n.age.Milliseconds(), Leader: n.lead.LeaderID, Node: n.local, At: n.at}
}

// held are the reasons for which a due command is not sent. That another node leads is none of them: that node
// acts. It is this node's own view of the rest.
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
	know := n.over.Knowledge()
	know.Held = n.held()
	know.Unplaced = func(k app.Key) []app.Time { return n.unplaced()[k] }
	return know
}
