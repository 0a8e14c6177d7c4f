// Package apitest serves the API of a fake node: a small recorded state with every kind of drift, at a fixed time.
// The tests of internal/api and of the CLI share it.
package apitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/boltfile"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/internal/shadow"
	"hm/raftfsm"
)

// Start is the hm time of the first entry: 2023-11-14T22:13:20Z.
const Start = app.Time(1_700_000_000_000)

// WallLead is how far the wall clock is ahead of hm time.
const WallLead = time.Hour

// Node is a fake node, with its loop and its link. Tests may change the fields under Lock while nothing is served.
type Node struct {
	sync.Mutex
	ID            string
	Lead          cluster.Leadership
	Replays       bool // the log is being replayed
	Peers         []cluster.Member
	Over          reconcile.Overview
	Link          bus.State
	Refused       []bus.Refusal
	HeardAt       map[string]app.Time
	Troubles      map[string]reconcile.Trouble // by DEA: what cannot be read in its messages
	UnplacedSince map[app.Key][]app.Time
	At            app.Time  // hm time
	Err           error     // what Propose fails with
	Behind        bool      // something that was heard is not recorded
	Contact       time.Time // LeaderContact
	Joins         bool
	Disk          error // what is wrong with the node's disk
	Stalled       time.Duration
	Woken         int
	Events        []journal.Event // the journal
	Hearing       shadow.Hearing  // of another health manager; zero: the node is not in shadow mode
	writes        net.Listener
	Logged        []raftfsm.EndedCommand // by LogEnded
	Proposed      []raftfsm.Record       // all that were applied
	History       *History
	state         *raftfsm.State
	view          *raftfsm.State
}

// New returns a node called hm-1 that leads, with an open gate and nothing recorded.
func New() *Node {
	n := &Node{
		ID: "hm-1", At: Start, HeardAt: map[string]app.Time{}, History: NewHistory(), state: raftfsm.NewState(),
		Lead: cluster.Leadership{Leader: true, Term: 7, LeaderID: "hm-1", Since: time.Now()},
		Link: bus.State{Up: true, Server: "10.0.0.1:4222", Since: wall(Start), Epoch: 1, Outages: 1},
	}
	n.Peers = []cluster.Member{
		n.member("hm-1", "leader", true), n.member("hm-2", "follower", true), n.member("hm-3", "unreachable", false),
	}
	n.Over = reconcile.Overview{
		At: Start, Lead: reconcile.Lead{Leader: true, Term: 7, Known: true}, GateOpen: true, GateSince: Start,
		LinkUp: true, LinkSince: Start, ActualFresh: true, DesiredFresh: true,
	}
	return n
}

func (n *Node) member(id, state string, healthy bool) cluster.Member {
	m := cluster.Member{ID: id, Address: "10.0.0." + id[3:] + ":7140", Voter: true, State: state, Healthy: healthy, LastContact: time.Now()}
	if healthy {
		m.HasInfo, m.Info = true, cluster.PeerInfo{API: "127.0.0.1:1", NATSUp: true, AppliedIndex: 9, Version: "v1.0.0"}
	}
	return m
}

func wall(t app.Time) time.Time { return t.Add(WallLead).Std() }

// Policy is the default policy at a heartbeat period of 10 s.
func Policy() diff.Policy {
	return diff.Policy{
		HeartbeatPeriod: 10 * time.Second, Grace: 30 * time.Second, CrashesBeforeBackoff: 3,
		BackoffStart: 30 * time.Second, BackoffMax: 960 * time.Second, DuplicateGrace: 4,
		StopYield: 180 * time.Second, StartingTTL: 300 * time.Second,
	}
}

// Options returns the options of a server for this node, on a free port of loopback.
func (n *Node) Options() api.Options {
	return api.Options{
		ID: n.ID, Version: "v1.0.0", Listen: "127.0.0.1:0", Node: n, Loop: n, Link: link{n}, Policy: Policy(),
		Clock:     func() time.Time { return wall(n.Now()) },
		Proved:    func() (time.Duration, bool) { return 250 * time.Millisecond, true },
		Transfers: func() []api.Transfers { return []api.Transfers{{Reason: "nats-down", Done: 2, Failed: 1}} },
		Subject:   func(a commands.Action) string { return "hm9000." + a.String() },
		Compare:   n.compareOptions(),
		Journal:   n.History,
		Feed:      func() api.FeedStats { return api.FeedStats{Heartbeats: 120, Unchanged: 110, Exits: 3} },
	}
}

type link struct{ n *Node }

// State gives the link's state.
func (l link) State() bus.State {
	l.n.Lock()
	defer l.n.Unlock()
	return l.n.Link
}

// Refusals gives Refused.
func (l link) Refusals() []bus.Refusal {
	l.n.Lock()
	defer l.n.Unlock()
	return l.n.Refused
}

// RefusalTotals counts each refusal once.
func (l link) RefusalTotals(fn func(action, subject string, total uint64)) {
	for _, r := range l.Refusals() {
		fn(r.Action, r.Subject, 1)
	}
}

// Apply records records at hm time at, which becomes now.
func (n *Node) Apply(at app.Time, records ...raftfsm.Record) raftfsm.Result {
	n.Lock()
	defer n.Unlock()
	return n.apply(at, records...)
}

func (n *Node) apply(at app.Time, records ...raftfsm.Record) raftfsm.Result {
	n.At = max(n.At, at)
	res := n.state.Apply(n.state.Index()+1, 7, raftfsm.Entry{At: at, Records: records})
	n.view = nil
	n.History.Applied(n.state.Index(), res)
	n.Over.At = n.At
	return res
}

// Must is Apply for records that are not refused; it panics if one is.
func (n *Node) Must(at app.Time, records ...raftfsm.Record) {
	if res := n.Apply(at, records...); res.Err != nil || len(res.Refused) > 0 {
		panic(fmt.Sprintf("apitest: %v %v", res.Err, res.Refused))
	}
}

// View is the newest applied state.
func (n *Node) View() *raftfsm.State {
	n.Lock()
	defer n.Unlock()
	if n.view == nil {
		n.view = n.state.Freeze()
	}
	return n.view
}

// Now is hm time: that of the newest entry, or what At was set to.
func (n *Node) Now() app.Time {
	n.Lock()
	defer n.Unlock()
	return n.At
}

// Leadership gives Lead.
func (n *Node) Leadership() cluster.Leadership {
	n.Lock()
	defer n.Unlock()
	return n.Lead
}

// Members gives Peers.
func (n *Node) Members() []cluster.Member {
	n.Lock()
	defer n.Unlock()
	return n.Peers
}

// Add adds a member that votes at once.
func (n *Node) Add(_ context.Context, id, address string, force bool) (changed bool, err error) {
	if id == "" || address == "" {
		return false, fmt.Errorf("%w: %q at %q", cluster.ErrMember, id, address)
	}
	n.Lock()
	defer n.Unlock()
	for i := range n.Peers {
		switch m := &n.Peers[i]; {
		case m.ID == id && m.Address == address:
			return false, nil
		case m.ID == id:
			m.Address = address
			return true, nil
		case m.Address == address && !force:
			return false, &cluster.Refusal{Text: m.ID + " has the address " + address, Hint: "give each node an address of its own"}
		}
	}
	n.Peers = append(slices.Clone(n.Peers), cluster.Member{ID: id, Address: address, Voter: true, State: "follower", Healthy: true, LastContact: time.Now()})
	return true, nil
}

// Remove removes a member.
func (n *Node) Remove(_ context.Context, id string, force bool) error {
	n.Lock()
	defer n.Unlock()
	at := slices.IndexFunc(n.Peers, func(m cluster.Member) bool { return m.ID == id })
	switch {
	case at < 0:
		return fmt.Errorf("%w: %q", cluster.ErrNoMember, id)
	case len(n.Peers) <= 3 && !force:
		return &cluster.Refusal{Text: "without " + id + ", 1 of 2 voters would be healthy", Hint: "bring them back", Forced: true}
	}
	n.Peers = slices.Delete(slices.Clone(n.Peers), at, at+1)
	return nil
}

// HandOver changes nothing.
func (n *Node) HandOver(_ context.Context, id string) (to string, err error) {
	if id == "hm-3" {
		return "", &cluster.Refusal{Text: "hm-3 is not healthy: it is unreachable", Hint: "see hm cluster status"}
	}
	return cmp.Or(id, "hm-2"), nil
}

// Writes listens on loopback.
func (n *Node) Writes() net.Listener {
	n.Lock()
	defer n.Unlock()
	if n.writes == nil {
		var err error
		if n.writes, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			panic(err)
		}
	}
	return n.writes
}

// DialWrites connects to the address that Follow has given a peer.
func (n *Node) DialWrites(ctx context.Context, id string) (net.Conn, error) {
	for _, m := range n.Members() {
		if m.ID == id && m.Info.API != "" {
			return (&net.Dialer{}).DialContext(ctx, "tcp", m.Info.API)
		}
	}
	return nil, errors.New("no such member")
}

// Stats are those of a quiet cluster.
func (n *Node) Stats() cluster.Stats {
	return cluster.Stats{File: boltfile.Use{Size: 65536, Free: 16384}, Compactions: 2}
}

// DiskTrouble says what is wrong with the disk.
func (n *Node) DiskTrouble() (stalled time.Duration, err error) {
	n.Lock()
	defer n.Unlock()
	return n.Stalled, n.Disk
}

// Propose applies the records, if this node leads.
func (n *Node) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	n.Lock()
	defer n.Unlock()
	switch {
	case n.Err != nil:
		return nil, n.Err
	case !n.Lead.Leader:
		return nil, cluster.ErrNotLeader
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	n.Proposed = append(n.Proposed, records...)
	return []raftfsm.Result{n.apply(n.At, records...)}, nil
}

// Overview gives Over.
func (n *Node) Overview() reconcile.Overview {
	n.Lock()
	defer n.Unlock()
	return n.Over
}

// Freshness gives Over.ActualFresh and Behind.
func (n *Node) Freshness() reconcile.Freshness {
	n.Lock()
	defer n.Unlock()
	return reconcile.Freshness{Fresh: n.Over.ActualFresh, Behind: n.Behind}
}

// Knows reports that every voter knows every kind of this version.
func (n *Node) Knows(k raftfsm.Kind) bool { return k <= raftfsm.MaxKind }

// LeaderContact gives Contact.
func (n *Node) LeaderContact() time.Time {
	n.Lock()
	defer n.Unlock()
	return n.Contact
}

// Joining gives Joins.
func (n *Node) Joining() bool {
	n.Lock()
	defer n.Unlock()
	return n.Joins
}

// Replaying gives Replays.
func (n *Node) Replaying() bool {
	n.Lock()
	defer n.Unlock()
	return n.Replays
}

// LastHeard gives the entry of HeardAt.
func (n *Node) LastHeard(dea string) app.Time {
	n.Lock()
	defer n.Unlock()
	return n.HeardAt[dea]
}

// Trouble gives the entry of Troubles.
func (n *Node) Trouble(dea string) (reconcile.Trouble, bool) {
	n.Lock()
	defer n.Unlock()
	t, any := n.Troubles[dea]
	return t, any
}

// Unplaced gives UnplacedSince.
func (n *Node) Unplaced() map[app.Key][]app.Time {
	n.Lock()
	defer n.Unlock()
	return n.UnplacedSince
}

// LogEnded notes the command in Logged.
func (n *Node) LogEnded(e raftfsm.EndedCommand) {
	n.Lock()
	defer n.Unlock()
	n.Logged = append(n.Logged, e)
}

// Wake takes a step: the gate follows the holds.
func (n *Node) Wake() {
	n.Lock()
	defer n.Unlock()
	n.Woken++
	n.Over.At = n.At + 1
	if !n.Lead.Leader {
		return
	}
	n.Over.GateReasons = reconcile.Gate(reconcile.GateInput{
		Lead: n.Over.Lead, NATSUp: n.Link.Up, ActualFresh: n.Over.ActualFresh, DesiredFresh: n.Over.DesiredFresh, Holds: n.state.Holds(),
	}, n.At)
	n.Over.GateOpen = len(n.Over.GateReasons) == 0
}

// CloseGate closes the gate for these reasons.
func (n *Node) CloseGate(reasons ...string) {
	n.Lock()
	defer n.Unlock()
	n.Over.GateOpen, n.Over.GateReasons, n.Over.GateSince = false, reasons, n.At
}

// Elect makes the node the leader.
func (n *Node) Elect() {
	n.Lock()
	defer n.Unlock()
	n.Lead = cluster.Leadership{Leader: true, Term: 8, LeaderID: n.ID, Since: time.Now()}
	n.Over.Lead = reconcile.Lead{Leader: true, Term: 8, Known: true}
}

// Follow makes the node a follower of leader, whose Writes are at address.
func (n *Node) Follow(id, leader, address string) {
	n.Lock()
	defer n.Unlock()
	n.ID = id
	n.Lead = cluster.Leadership{Term: 7, LeaderID: leader, Since: time.Now()}
	n.Contact = time.Now()
	n.Over.Lead = reconcile.Lead{Term: 7, Known: leader != ""}
	n.Over.GateOpen, n.Over.GateReasons = false, []string{reconcile.ReasonNotLeader}
	for i := range n.Peers {
		if n.Peers[i].ID == leader {
			n.Peers[i].Info.API = address
		}
	}
}
