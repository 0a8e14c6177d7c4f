package server

import (
	"context"
	"math"
	"strings"
	"time"

	"hm/actual/feed"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/raftfsm"
)

// watchInterval is how often the node checks its parts and updates what its peers know of it, if nothing else causes
// that earlier.
const watchInterval = 250 * time.Millisecond

// watch carries changes from the part that notices them to the parts that need them: link changes to the intake,
// leadership changes to the loop, this node's own state to its peers. It also begins the handover of a leader that
// hears too little.
func (n *Node) watch(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var last bus.State
	differs := false
	for {
		n.watchTurns.Add(1)
		if d := n.cluster.StateDiffers(); d != differs {
			differs = d
			n.loop.Wake()
		}
		s := n.hearing()
		if s.Epoch != last.Epoch || s.Up != last.Up {
			n.hook.linkChanged(last, s)
			n.events.link(last, s, n.heartbeatsRefused(), time.Now())
			n.intake.Link(s.Up, s.Epoch)
			last = s
		}
		n.events.overview(n.loop.Overview(), time.Now())
		n.events.leadership(n.cluster.Leadership(), n.cluster.Members(), time.Now())
		n.events.settle(time.Now(), false)
		n.handover.consider(ctx, n.leaderView(), n.own)
		n.hook.follow()
		n.followOther()
		n.followComponent()
		n.followCC()
		n.updatePeerInfo()
		select {
		case <-ctx.Done():
			n.events.settle(time.Now(), true)
			return
		case <-n.link.Changed():
		case <-n.cluster.LeadershipChanged():
			n.loop.Wake()
		case <-n.cluster.PeerReads():
			n.loop.Wake()
		case <-n.hook.appliedChanged.C():
		case <-ticker.C:
		}
	}
}

// hearing gives the link's state as far as hearing the DEAs is concerned. While the server refuses the subscription to
// the heartbeats the link counts as down: no DEA is silent meanwhile, and nothing expires.
func (n *Node) hearing() bus.State {
	s := n.link.State()
	s.Up = s.Up && !n.heartbeatsRefused()
	return s
}

// leaderView gives what this node's handover depends on, as far as the cluster does not know it.
func (n *Node) leaderView() leaderView {
	link, o := n.link.State(), n.loop.Overview()
	return leaderView{
		LinkUp: link.Up, LinkSince: link.Since, LinkSilent: n.marker.Life().Silent, NATSRefused: n.heartbeatsRefused(),
		Gate: o.GateReasons, ActualFresh: o.ActualFresh, Missed: o.Missed, Hears: n.intake.Hearing().DEAs,
	}
}

// linkProved gives how long ago the link was certainly alive, and whether that is known.
func (n *Node) linkProved() (ago time.Duration, known bool) {
	proved := n.marker.Life().Proved
	return time.Since(proved), !proved.IsZero()
}

// renewInfo sets the ages in what this node tells its peers.
func (n *Node) renewInfo(info *cluster.PeerInfo) {
	now := time.Now()
	info.NATSProved = cluster.AgoOf(n.marker.Life().Proved, now)
	newest, trying := n.handover.times()
	info.HandedOver, info.HandingOver = cluster.AgoOf(newest, now), cluster.AgoOf(trying, now)
}

// heartbeatsRefused reports whether the server refuses the subscription to the heartbeats.
func (n *Node) heartbeatsRefused() bool { return n.link.Refused(feed.SubjectHeartbeat) }

// knowsLess reports whether this node knows less of what runs than its peers do.
func (n *Node) knowsLess() bool {
	heard := n.loop.Freshness()
	return !heard.Fresh || heard.Behind || !n.hearing().Up
}

// minSuspension is how long the machine must have been suspended to matter to the age of a read.
const minSuspension = 20 * time.Millisecond

// maxReadErrorLen bounds the error of a read, in bytes, that a node tells its peers.
const maxReadErrorLen = 500

// updatePeerInfo renews what this node tells its peers about itself.
func (n *Node) updatePeerInfo() {
	o := n.loop.Overview()
	gate := "open"
	if !o.GateOpen {
		gate = strings.Join(o.GateReasons, ", ")
	}
	readBegan := o.Reads.Began
	if n.cluster.Now() < o.At || n.cluster.Suspended()-o.Suspended > minSuspension {
		readBegan = 0 // the clock was set back, or stood still, since: the next step corrects the time
	}
	hears := n.intake.Hearing()
	n.cluster.SetInfo(cluster.PeerInfo{
		API: n.apiAddress, NATSUp: n.link.State().Up, AppliedIndex: n.cluster.View().Index(), Kinds: uint32(raftfsm.MaxKind), SnapshotFormat: raftfsm.SnapshotFormat,
		DesiredReadBegan: readBegan, DesiredReadEnded: app.Time(n.readEnded.Load()),
		DesiredReadError: o.ReadError[:min(len(o.ReadError), maxReadErrorLen)], Gate: gate, Version: n.version,
		HeardDEAs: min(hears.DEAs, math.MaxInt32), HearingComplete: hears.Fresh,
		Answers: n.api.Answers(), NATSRefused: api.RefusalText(n.link.Refusals(), n.ccState()),
	})
}

// readRecorded is called after a complete read was recorded. The peers learn of it at once.
func (n *Node) readRecorded(app.Time, int) {
	n.readEnded.Store(int64(n.cluster.Now()))
	n.updatePeerInfo()
}

// newestPeerRead gives the time at which the newest complete read began that any node has told of.
func (n *Node) newestPeerRead() (began app.Time) {
	for _, m := range n.cluster.Members() {
		if m.HasInfo {
			began = max(began, m.Info.DesiredReadBegan)
		}
	}
	return began
}
