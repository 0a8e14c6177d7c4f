package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"hm/commands"
	"hm/commands/natspub"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/replay"
	"hm/raftfsm"
)

// nodeTap tells recordings of a node what the node hears, what it reads or is told to have been read, and what people
// and leaders do. A follower's recording has all of it, too: from the log, and from the leader's word.
type nodeTap struct {
	*replay.Tap
	node   *node
	header replay.Header

	// Used by the node's watch alone:
	term  uint64 // of the newest leadership known
	began app.Time
	fault string // why the leader's newest read failed
}

func newNodeTap(n *node, cfg config.Config) *nodeTap {
	return &nodeTap{
		Tap: replay.NewTap(func() app.Time { return n.cluster.Now() }), node: n,
		header: replay.Header{Node: cfg.Node.ID, Config: replay.ConfigOf(cfg)},
	}
}

// record writes a recording of the node until ctx ends.
func (t *nodeTap) record(ctx context.Context, out io.Writer, flush func() error) error {
	return t.Record(ctx, out, flush, func() replay.Begin {
		return replay.Begin{Header: t.header, Up: t.node.link.State().Up, Read: t.node.loop.Overview().Reads.Began, State: t.node.cluster.View()}
	})
}

// applied tells of what the log says that people and leaders did. It is called on the goroutine that applies.
func (t *nodeTap) applied(a raftfsm.Applied) {
	if !t.On() {
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
				t.Hold(r.Hold, true)
			} else if !reconcile.OwnHold(r.Hold) {
				t.Hold(r.Hold, false)
			}
		case raftfsm.CommandsResolved:
			t.sent(r)
		case raftfsm.DesiredChanges:
			t.changed(a, r)
		}
	}
}

// sent tells of commands that were sent.
func (t *nodeTap) sent(r raftfsm.CommandsResolved) {
	for _, o := range r.Outcomes {
		if o.State != commands.Sent {
			continue
		}
		c, ok := t.node.cluster.View().Command(o.ID)
		if !ok || c.State != commands.Sent {
			continue // refused
		}
		if subject, data, err := natspub.Message(c); err == nil {
			t.Command(subject, data)
		}
	}
}

// maxChanged is how many apps a recording is told of one by one before a complete read.
const maxChanged = 100

// changed tells a follower's recording of apps whose desired state changed, as reads of these apps: the leader's word of
// the complete read that it may have been comes a little later. Only a complete read takes an app away.
func (t *nodeTap) changed(a raftfsm.Applied, r raftfsm.DesiredChanges) {
	commit, ok := a.Entry.Records[len(a.Entry.Records)-1].(raftfsm.DesiredCommit)
	if !ok || commit.Generation != r.Generation || commit.Parts != 1 || len(r.Removes) > 0 || len(r.Upserts) > maxChanged || t.leads() {
		return
	}
	for _, row := range r.Upserts {
		t.ReadApp(a.Entry.At, row.Key.Droplet, []desired.App{row}, nil)
	}
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
	if lead.LeaderID != "" && lead.Term != t.term {
		if t.term = lead.Term; t.On() {
			t.Leader()
		}
	}
	if lead.Leader || lead.LeaderID == "" {
		t.fault = ""
		return
	}
	members := t.node.cluster.Members()
	at := slices.IndexFunc(members, func(m cluster.Member) bool { return m.ID == lead.LeaderID && m.HasInfo })
	if at < 0 {
		return
	}
	info, view := members[at].Info, t.node.cluster.View()
	if info.DesiredReadBegan > t.began && view.Index() >= info.AppliedIndex {
		t.began = info.DesiredReadBegan
		if t.On() {
			if read, err := replay.RecordedRead(view); err == nil {
				t.Read(t.began, read, nil)
			}
		}
	}
	if info.DesiredReadError != t.fault {
		if t.fault = info.DesiredReadError; t.fault != "" {
			t.Read(view.Time(), desired.Read{}, errors.New(t.fault))
		}
	}
}
