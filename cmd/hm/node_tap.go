package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"hm/commands"
	"hm/commands/natspub"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/recorder"
	"hm/internal/recording"
	"hm/raftfsm"
)

// nodeTap tells recordings of a node what the node hears, what it reads or is told to have been read, and what people
// and leaders do. A follower's recording has all of it, too: from the log, and from the leader's word.
type nodeTap struct {
	*recorder.Hook
	node   *node
	header recording.Header

	appliedRead chan struct{} // what the leader told of may be applied here by now

	// Used by the node's watch alone:
	term  uint64 // of the newest leadership known
	lost  bool   // no node leads
	led   bool   // this node led, when it last looked
	began app.Time
	fault string // why the leader's newest read failed
}

func newNodeTap(n *node, cfg config.Config) *nodeTap {
	return &nodeTap{
		Hook: recorder.NewHook(func() app.Time { return n.cluster.Now() }), node: n, appliedRead: make(chan struct{}, 1),
		header: recording.Header{Node: cfg.Node.ID, Config: recording.ConfigOf(cfg)},
	}
}

// record writes a recording of the node until ctx ends.
func (t *nodeTap) record(ctx context.Context, out io.Writer, flush func() error) error {
	return t.Record(ctx, out, flush, func() recorder.Start {
		return recorder.Start{Header: t.header, LinkUp: t.node.link.State().Up, ReadBegan: t.node.loop.Overview().Reads.Began, State: t.node.cluster.View()}
	})
}

// readEnded tells how a read of this leader ended, appReadEnded one of an app.
func (t *nodeTap) readEnded(began app.Time, read desired.Read, err error) {
	t.Read(0, began, read, err)
}

func (t *nodeTap) appReadEnded(began app.Time, droplet app.GUID, rows []desired.App, err error) {
	t.ReadApp(0, began, droplet, rows, err)
}

// applied tells of what the log says that people and leaders did. It is called on the goroutine that applies.
func (t *nodeTap) applied(a raftfsm.Applied) {
	if !t.Active() {
		return
	}
	released := func(i int) bool { // whether a person's release begins with record i: see api's releaseHold
		set, ok := a.Entry.Records[i].(raftfsm.HoldSet)
		if !ok || i+1 == len(a.Entry.Records) {
			return false
		}
		r, ok := a.Entry.Records[i+1].(raftfsm.HoldReleased)
		return ok && r.Name == set.Hold.Name
	}
	for i, record := range a.Entry.Records {
		switch r := record.(type) {
		case raftfsm.HoldSet:
			if released(i) {
				t.Hold(a.Entry.At, r.Hold, true)
			} else if !reconcile.OwnHold(r.Hold) {
				t.Hold(a.Entry.At, r.Hold, false)
			}
		case raftfsm.CommandsResolved:
			t.sent(a.Entry.At, r)
		case raftfsm.DesiredChanges:
			t.changed(a, r)
		}
	}
	poke(t.appliedRead)
}

// sent tells of commands that were sent.
func (t *nodeTap) sent(at app.Time, r raftfsm.CommandsResolved) {
	for _, o := range r.Outcomes {
		if o.State != commands.Sent {
			continue
		}
		c, ok := t.node.cluster.View().Command(o.ID)
		if !ok || c.State != commands.Sent {
			continue // refused
		}
		if subject, data, err := natspub.Message(c, commands.Spelling{}); err == nil {
			t.Command(at, subject, data)
		}
	}
}

// maxChanged is how many apps a recording is told of one by one before a complete read.
const maxChanged = 100

// changed tells a follower's recording of apps whose desired state changed, as reads of these apps: the leader's word of
// the complete read that it may have been comes a little later. Only a complete read takes an app away.
func (t *nodeTap) changed(a raftfsm.Applied, r raftfsm.DesiredChanges) {
	commit, ok := a.Entry.Records[len(a.Entry.Records)-1].(raftfsm.DesiredCommit)
	if !ok || commit.Generation != r.Generation || commit.Parts != 1 || len(r.Upserts) > maxChanged || t.leads() {
		return
	}
	for _, row := range r.Upserts {
		t.ReadApp(a.Entry.At, a.Entry.At, row.Key.Droplet, []desired.App{row}, nil)
	}
}

// lostAt is since when nobody has led: a follower notices only after a while without a word of the leader.
func (t *nodeTap) lostAt() app.Time {
	now, contact := t.node.cluster.Now(), t.node.cluster.LeaderContact()
	if t.led || contact.IsZero() {
		return now
	}
	return now.Add(-time.Since(contact))
}

func (t *nodeTap) leads() bool { return t.node.cluster.Leadership().Leader }

// linkChanged tells of the node's NATS link, whose state was last.
func (t *nodeTap) linkChanged(last, now bus.State) {
	switch {
	case last.Epoch == 0 && now.Up: // the node has just started
	case now.Up && last.Up && now.Outages == last.Outages:
		t.Link(true, true)
	case now.Up && last.Up: // down and up again since the last look
		t.Link(false, false)
		t.Link(true, false)
	default:
		t.Link(now.Up, false)
	}
}

// follow tells of the leadership, and, on a follower, of the leader's complete reads. It is called on any news, and now
// and then.
func (t *nodeTap) follow() {
	lead := t.node.cluster.Leadership()
	switch {
	case lead.LeaderID == "":
		if t.term != 0 && !t.lost {
			t.lost = true
			t.Leaderless(t.lostAt())
		}
		return
	case lead.Term != t.term || t.lost:
		if t.term != 0 {
			t.Leader()
		}
		t.term, t.lost, t.led, t.fault = lead.Term, false, lead.Leader, ""
	}
	t.led = lead.Leader
	if lead.Leader {
		return
	}
	members := t.node.cluster.Members()
	at := slices.IndexFunc(members, func(m cluster.Member) bool { return m.ID == lead.LeaderID && m.HasInfo })
	if at < 0 {
		return
	}
	info := members[at].Info
	if info.DesiredReadBegan > t.began {
		view := t.node.cluster.View()
		if view.Index() < info.AppliedIndex {
			return // this node has not applied what was read: it is called again then
		}
		t.began = info.DesiredReadBegan
		if t.Active() {
			if read, err := recorder.RecordedRead(view); err == nil {
				t.Read(info.DesiredReadEnded, t.began, read, nil)
			}
		}
	}
	if info.DesiredReadError != t.fault {
		if t.fault = info.DesiredReadError; t.fault != "" {
			now := t.node.cluster.Now()
			t.Read(now, now, desired.Read{}, errors.New(t.fault))
		}
	}
}
