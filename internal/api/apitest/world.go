// Package apitest serves the API of a node that does not exist, over a small recorded state with every kind of
// drift in it, at a moment that never passes. The tests of internal/api and of the CLI share it.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Start is the hm time of the first entry: 2023-11-14T22:13:20Z.
const Start = app.Time(1_700_000_000_000)

// WallLead is how far the wall clock is ahead of hm time.
const WallLead = time.Hour

// World is a node, its loop and its link at once. The fields may be changed under Lock while nothing is served.
type World struct {
	sync.Mutex
	ID      string
	Lead    cluster.Leadership
	Peers   []cluster.Member
	Over    reconcile.Overview
	Link    bus.State
	Refused []bus.Refusal
	HeardAt map[string]app.Time
	Odd     map[string]reconcile.Trouble // of DEAs of whose words something cannot be read
	NoPlace map[app.Key][]app.Time
	At      app.Time  // hm time
	Err     error     // what Propose fails with
	Behind  bool      // something that was heard is not recorded
	Contact time.Time // LeaderContact
	Joins   bool
	Disk    error // what is wrong with the node's disk
	Stalled time.Duration
	Woken   int
	writes  net.Listener
	journal *reconcile.Journal
	state   *raftfsm.State
	view    *raftfsm.State
}

// New returns a node called hm-1 that leads, with an open gate and nothing recorded.
func New() *World {
	w := &World{
		ID: "hm-1", At: Start, HeardAt: map[string]app.Time{}, journal: reconcile.NewJournal(1000), state: raftfsm.NewState(),
		Lead: cluster.Leadership{Leader: true, Term: 7, LeaderID: "hm-1", Since: time.Now()},
		Link: bus.State{Up: true, Server: "10.0.0.1:4222", Since: wall(Start), Epoch: 1, Outages: 1},
	}
	w.Peers = []cluster.Member{
		w.member("hm-1", "leader", true), w.member("hm-2", "follower", true), w.member("hm-3", "unreachable", false),
	}
	w.Over = reconcile.Overview{
		At: Start, Lead: reconcile.Lead{Leader: true, Term: 7, Known: true}, GateOpen: true, GateSince: Start,
		LinkUp: true, LinkSince: Start, ActualFresh: true, DesiredFresh: true,
	}
	return w
}

func (w *World) member(id, state string, healthy bool) cluster.Member {
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

// Options are those of a server of this world on a free port of loopback.
func (w *World) Options() api.Options {
	return api.Options{
		ID: w.ID, Version: "v1.0.0", Listen: "127.0.0.1:0", Node: w, Loop: w, Link: link{w}, Policy: Policy(),
		Clock:     func() time.Time { return wall(w.Now()) },
		Transfers: func() []api.Transfers { return []api.Transfers{{Reason: "nats-down", Done: 2, Failed: 1}} },
		Subject:   func(a commands.Action) string { return "hm9000." + a.String() },
		Feed:      func() api.FeedStats { return api.FeedStats{Heartbeats: 120, Unchanged: 110, Exits: 3} },
	}
}

type link struct{ w *World }

// State gives the link's state.
func (l link) State() bus.State {
	l.w.Lock()
	defer l.w.Unlock()
	return l.w.Link
}

// Refusals gives Refused.
func (l link) Refusals() []bus.Refusal {
	l.w.Lock()
	defer l.w.Unlock()
	return l.w.Refused
}

// RefusalTotals counts each refusal once.
func (l link) RefusalTotals(fn func(action, subject string, total uint64)) {
	for _, r := range l.Refusals() {
		fn(r.Action, r.Subject, 1)
	}
}

// Apply records records at hm time at, which becomes now.
func (w *World) Apply(at app.Time, records ...raftfsm.Record) raftfsm.Result {
	w.Lock()
	defer w.Unlock()
	return w.apply(at, records...)
}

func (w *World) apply(at app.Time, records ...raftfsm.Record) raftfsm.Result {
	w.At = max(w.At, at)
	res := w.state.Apply(w.state.Index()+1, 7, raftfsm.Entry{At: at, Records: records})
	w.view = nil
	w.journal.Add(res.Ended)
	w.Over.At = w.At
	return res
}

// Must is Apply for records that are not refused; it panics if one is.
func (w *World) Must(at app.Time, records ...raftfsm.Record) {
	if res := w.Apply(at, records...); res.Err != nil || len(res.Refused) > 0 {
		panic(fmt.Sprintf("apitest: %v %v", res.Err, res.Refused))
	}
}

// View is the newest applied state.
func (w *World) View() *raftfsm.State {
	w.Lock()
	defer w.Unlock()
	if w.view == nil {
		w.view = w.state.Freeze()
	}
	return w.view
}

// Now is hm time: that of the newest entry, or what At was set to.
func (w *World) Now() app.Time {
	w.Lock()
	defer w.Unlock()
	return w.At
}

// Leadership gives Lead.
func (w *World) Leadership() cluster.Leadership {
	w.Lock()
	defer w.Unlock()
	return w.Lead
}

// Members gives Peers.
func (w *World) Members() []cluster.Member {
	w.Lock()
	defer w.Unlock()
	return w.Peers
}

// Writes listens on loopback.
func (w *World) Writes() net.Listener {
	w.Lock()
	defer w.Unlock()
	if w.writes == nil {
		var err error
		if w.writes, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			panic(err)
		}
	}
	return w.writes
}

// DialWrites connects to the address that Follow has given a peer.
func (w *World) DialWrites(ctx context.Context, id string) (net.Conn, error) {
	for _, m := range w.Members() {
		if m.ID == id && m.Info.API != "" {
			return (&net.Dialer{}).DialContext(ctx, "tcp", m.Info.API)
		}
	}
	return nil, errors.New("no such member")
}

// Stats are those of a quiet cluster.
func (w *World) Stats() cluster.Stats { return cluster.Stats{} }

// DiskTrouble says what is wrong with the disk.
func (w *World) DiskTrouble() (stalled time.Duration, err error) {
	w.Lock()
	defer w.Unlock()
	return w.Stalled, w.Disk
}

// Propose applies the records, if this node leads.
func (w *World) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	w.Lock()
	defer w.Unlock()
	switch {
	case w.Err != nil:
		return nil, w.Err
	case !w.Lead.Leader:
		return nil, cluster.ErrNotLeader
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return []raftfsm.Result{w.apply(w.At, records...)}, nil
}

// Overview gives Over.
func (w *World) Overview() reconcile.Overview {
	w.Lock()
	defer w.Unlock()
	return w.Over
}

// Heard gives Over.ActualFresh and Behind.
func (w *World) Heard() reconcile.Heard {
	w.Lock()
	defer w.Unlock()
	return reconcile.Heard{Fresh: w.Over.ActualFresh, Behind: w.Behind}
}

// LeaderContact gives Contact.
func (w *World) LeaderContact() time.Time {
	w.Lock()
	defer w.Unlock()
	return w.Contact
}

// Joining gives Joins.
func (w *World) Joining() bool {
	w.Lock()
	defer w.Unlock()
	return w.Joins
}

// LastHeard looks into HeardAt.
func (w *World) LastHeard(dea string) app.Time {
	w.Lock()
	defer w.Unlock()
	return w.HeardAt[dea]
}

// Trouble looks into Odd.
func (w *World) Trouble(dea string) (reconcile.Trouble, bool) {
	w.Lock()
	defer w.Unlock()
	t, any := w.Odd[dea]
	return t, any
}

// Unplaced gives NoPlace.
func (w *World) Unplaced() map[app.Key][]app.Time {
	w.Lock()
	defer w.Unlock()
	return w.NoPlace
}

// Journal holds the commands that ended.
func (w *World) Journal() *reconcile.Journal { return w.journal }

// Wake takes a step: the gate follows the holds.
func (w *World) Wake() {
	w.Lock()
	defer w.Unlock()
	w.Woken++
	w.Over.At = w.At + 1
	if !w.Lead.Leader {
		return
	}
	w.Over.GateReasons = reconcile.Gate(reconcile.GateInput{
		Lead: w.Over.Lead, NATSUp: w.Link.Up, ActualFresh: w.Over.ActualFresh, DesiredFresh: w.Over.DesiredFresh, Holds: w.state.Holds(),
	}, w.At)
	w.Over.GateOpen = len(w.Over.GateReasons) == 0
}

// CloseGate closes the gate for these reasons.
func (w *World) CloseGate(reasons ...string) {
	w.Lock()
	defer w.Unlock()
	w.Over.GateOpen, w.Over.GateReasons, w.Over.GateSince = false, reasons, w.At
}

// Follow makes the node a follower of leader, whose Writes are at address.
func (w *World) Follow(id, leader, address string) {
	w.Lock()
	defer w.Unlock()
	w.ID = id
	w.Lead = cluster.Leadership{Term: 7, LeaderID: leader, Since: time.Now()}
	w.Contact = time.Now()
	w.Over.Lead = reconcile.Lead{Term: 7, Known: leader != ""}
	w.Over.GateOpen, w.Over.GateReasons = false, []string{reconcile.ReasonNotLeader}
	for i := range w.Peers {
		if w.Peers[i].ID == leader {
			w.Peers[i].Info.API = address
		}
	}
}
