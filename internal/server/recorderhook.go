package server

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
	"hm/internal/notify"
	"hm/internal/reconcile"
	"hm/internal/recorder"
	"hm/internal/recording"
	"hm/raftfsm"
)

// recorderHook passes what happens on this node to the recordings of it: what the node hears and reads, and what
// people and leaders do. A follower's recording is as complete as a leader's: the follower learns from the log and
// from what the leader tells its peers.
type recorderHook struct {
	*recorder.Hook
	node   *Node
	header recording.Header

	appliedChanged notify.Signal // an entry was applied: this node may now have the read that the leader told of

	// Only the node's watch loop uses these:
	term      uint64 // the newest known term with a leader
	lost      bool   // no node leads
	led       bool   // this node led at the last call of follow
	readBegan app.Time
	readError string // of the leader's newest read
}

func newRecorderHook(n *Node, cfg config.Config) *recorderHook {
	return &recorderHook{
		Hook: recorder.NewHook(func() app.Time { return n.cluster.Now() }), node: n, appliedChanged: notify.New(),
		header: recording.Header{Node: cfg.Node.ID, Config: recording.ConfigOf(cfg)},
	}
}

// record writes a recording of the node until ctx ends.
func (h *recorderHook) record(ctx context.Context, out io.Writer, flush func() error) error {
	return h.Record(ctx, out, flush, func() recorder.Start {
		return recorder.Start{
			Header: h.header, LinkUp: h.node.link.State().Up,
			ReadBegan: h.node.loop.Overview().Reads.Began, State: h.node.cluster.View(),
		}
	})
}

// readEnded records how a complete read by this leader ended.
func (h *recorderHook) readEnded(began app.Time, read desired.Read, err error) {
	h.Read(0, began, read, err)
}

// appReadEnded records how this leader's read of one app ended.
func (h *recorderHook) appReadEnded(began app.Time, droplet app.GUID, rows []desired.App, err error) {
	h.ReadApp(0, began, droplet, rows, err)
}

// applied records what an entry of the log shows of what people and leaders did. The goroutine that applies calls
// it.
func (h *recorderHook) applied(a raftfsm.Applied) {
	if !h.Active() {
		return
	}
	released := func(i int) bool { // record i begins a person's release of a hold: see releaseHold in package api
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
				h.Hold(a.Entry.At, r.Hold, true)
			} else if !reconcile.OwnHold(r.Hold) {
				h.Hold(a.Entry.At, r.Hold, false)
			}
		case raftfsm.CommandsResolved:
			h.commandsSent(a.Entry.At, r)
		case raftfsm.DesiredChanges:
			h.appsChanged(a, r)
		}
	}
	h.appliedChanged.Notify()
}

func (h *recorderHook) commandsSent(at app.Time, r raftfsm.CommandsResolved) {
	for _, o := range r.Outcomes {
		if o.State != commands.Sent {
			continue
		}
		c, ok := h.node.cluster.View().Command(o.ID)
		if !ok || c.State != commands.Sent {
			continue // refused
		}
		if subject, data, err := natspub.Message(c, commands.Spelling{}); err == nil {
			h.Command(at, subject, data)
		}
	}
}

// maxAppsChanged is the largest number of changed apps that are recorded one by one. A larger change is recorded only
// with the complete read that follows.
const maxAppsChanged = 100

// appsChanged adds apps whose desired state changed to a follower's recording, as reads of these apps. They may belong
// to a complete read, of which the leader tells a little later. Only a complete read removes an app.
func (h *recorderHook) appsChanged(a raftfsm.Applied, r raftfsm.DesiredChanges) {
	commit, ok := a.Entry.Records[len(a.Entry.Records)-1].(raftfsm.DesiredCommit)
	wholeRead := ok && commit.Generation == r.Generation && commit.Parts == 1
	if !wholeRead || len(r.Upserts) > maxAppsChanged || h.node.Leads() {
		return
	}
	for _, row := range r.Upserts {
		h.ReadApp(a.Entry.At, a.Entry.At, row.Key.Droplet, []desired.App{row}, nil)
	}
}

// linkChanged records a change of the node's NATS link.
func (h *recorderHook) linkChanged(before, now bus.State) {
	switch {
	case before.Epoch == 0 && now.Up: // the node has just started
	case now.Up && before.Up && now.Outages == before.Outages:
		h.Link(true, true)
	case now.Up && before.Up: // it went down and came up again in between
		h.Link(false, false)
		h.Link(true, false)
	default:
		h.Link(now.Up, false)
	}
}

// follow records changes of the leadership and, on a follower, the leader's complete reads. The watch loop calls it
// often.
func (h *recorderHook) follow() {
	lead := h.node.cluster.Leadership()
	switch {
	case lead.LeaderID == "":
		if h.term != 0 && !h.lost {
			h.lost = true
			h.Leaderless(h.leaderLostAt())
		}
		return
	case lead.Term != h.term || h.lost:
		if h.term != 0 {
			h.Leader()
		}
		h.term, h.lost, h.led, h.readError = lead.Term, false, lead.Leader, ""
	}
	h.led = lead.Leader
	if !lead.Leader {
		h.followReads(lead.LeaderID)
	}
}

// leaderLostAt gives the time since when no node leads. A follower notices that only after a timeout; the leader was
// lost when the follower last had contact with it.
func (h *recorderHook) leaderLostAt() app.Time {
	now, contact := h.node.cluster.Now(), h.node.cluster.LeaderContact()
	if h.led || contact.IsZero() {
		return now
	}
	return now.Add(-time.Since(contact))
}

// followReads records the complete reads of which the leader has told, once this node has applied them.
func (h *recorderHook) followReads(leader string) {
	members := h.node.cluster.Members()
	at := slices.IndexFunc(members, func(m cluster.Member) bool { return m.ID == leader && m.HasInfo })
	if at < 0 {
		return
	}
	info := members[at].Info
	if info.DesiredReadBegan > h.readBegan {
		view := h.node.cluster.View()
		if view.Index() < info.AppliedIndex {
			return // this node has not applied the read yet: follow is called again when it has
		}
		h.readBegan = info.DesiredReadBegan
		if h.Active() {
			if read, err := recorder.RecordedRead(view); err == nil {
				h.Read(info.DesiredReadEnded, h.readBegan, read, nil)
			}
		}
	}
	if info.DesiredReadError != h.readError {
		if h.readError = info.DesiredReadError; h.readError != "" {
			now := h.node.cluster.Now()
			h.Read(now, now, desired.Read{}, errors.New(h.readError))
		}
	}
}
