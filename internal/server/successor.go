package server

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"hm/internal/cluster"
	"hm/internal/reconcile"
)

// The times by which a leader without a NATS link hands over. They do not depend on policy.heartbeat_period, as the
// pings of the link do not.
const (
	// settleTime is how long a link must be lost before the leader hands over: it may return at once, through another
	// server of a NATS cluster. It is at most the freshness window.
	settleTime = time.Second
	// silentAfter is for how long nothing may arrive on a link after a marker was sent. Then it counts as lost, long before
	// its pings fail.
	silentAfter = time.Second
	// maxProofAge is how old the proof may be that a successor's link is alive: a marker each 250 ms, told each 250 ms.
	maxProofAge = 1500 * time.Millisecond
	// firstRetry is the pause after a handover that failed. It doubles with each failure, up to the freshness window.
	firstRetry = time.Second
)

// handoverReasons are the gate reasons for which a leader hands over.
var handoverReasons = [...]string{
	reconcile.ReasonNATSDown, reconcile.ReasonNATSRefused, reconcile.ReasonNATSLate, reconcile.ReasonDeaf,
	reconcile.ReasonActualStale,
}

// trouble is the reason why a leader hears too little to command.
type trouble struct {
	reason string        // one of handoverReasons; empty: there is no trouble
	since  time.Time     // when it began
	within time.Duration // how long it must last before the leader hands over
}

// leaderView is what a node knows of itself when it decides whether to hand over.
type leaderView struct {
	Leads   bool
	Since   time.Time // when it began to lead
	Applied uint64    // index of the newest entry that it has applied

	LinkUp      bool      // its NATS link is up
	LinkSince   time.Time // since when it has been up without a gap, or down
	LinkSilent  time.Time // as bus.Life.Silent
	NATSRefused bool      // the server refuses the subscription to heartbeats

	Gate        []string // why its gate is closed
	ActualFresh bool
	Hears       int // number of DEAs that it hears
	Missed      int // number of DEAs that a peer hears and it does not
}

// handsOver decides when a leader gives the leadership to another voter. It does no I/O and has no clock: every time is
// an argument.
type handsOver struct {
	id     string        // of this node
	window time.Duration // the freshness window
	period time.Duration // of heartbeats

	trouble trouble   // at the last call of decide
	stale   time.Time // since when a peer's picture has been fresh while this node's is not; zero: that is not so
	newest  time.Time // when any node began its last handover, as far as this node knows; zero: never
	trying  time.Time // when the newest handover began that another node still tries; zero: none does

	leads    time.Time // when the leadership began to which the next fields belong
	unfresh  bool      // its picture has never been fresh
	failures int       // of handovers, one after the other
	retry    time.Time // when to try again after a failure
	failed   string    // the voter with which the last handover failed
}

// decide gives the id of the voter that should lead instead of this node now; it is empty if none should. why then
// says what is in the way of a handover that is due.
func (d *handsOver) decide(v leaderView, members []cluster.Member, now time.Time) (to, why string) {
	d.learn(members, now)
	if !v.Leads {
		d.trouble, d.stale = trouble{}, time.Time{}
		return "", ""
	}
	if !v.Since.Equal(d.leads) {
		d.leads, d.unfresh, d.failures, d.retry, d.failed = v.Since, true, 0, time.Time{}, ""
	}
	d.unfresh = d.unfresh && !v.ActualFresh
	d.trouble = d.assess(v, members, now)
	return d.successor(v, members, now)
}

// learn takes in when nodes handed over. Nodes pass that on. So a flapping link moves the leadership at most once in a
// freshness window, whichever node leads. A handover that is still tried may yet fail: that is not passed on.
func (d *handsOver) learn(members []cluster.Member, now time.Time) {
	d.trying = time.Time{}
	for _, m := range members {
		if m.ID == d.id || !m.HasInfo {
			continue
		}
		told := now.Add(-m.InfoAge)
		// Two handovers are a window apart: otherwise it is the same one, told again by a message that took longer.
		if at := m.Info.HandedOver.Before(told); at.Sub(d.newest) > d.window/2 {
			d.newest = at
		}
		d.trying = latest(d.trying, m.Info.HandingOver.Before(told))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// succeeded notes that this node has handed over, and when it began to.
func (d *handsOver) succeeded(began time.Time) { d.newest = latest(d.newest, began) }

// failedTo notes that a handover to a voter failed at now. This node still leads.
func (d *handsOver) failedTo(to string, now time.Time) {
	pause := min(firstRetry<<min(d.failures, 16), d.window)
	d.failures, d.retry, d.failed = d.failures+1, now.Add(pause), to
}

// assess gives this leader's trouble at now. Trouble for the same reason as before keeps its beginning.
func (d *handsOver) assess(v leaderView, members []cluster.Member, now time.Time) trouble {
	switch {
	case v.ActualFresh || !slices.ContainsFunc(members, func(m cluster.Member) bool { return canReplace(d.id, m) }):
		d.stale = time.Time{}
	case d.stale.IsZero():
		d.stale = now
	}
	current := trouble{since: now}
	switch {
	case v.LinkUp && v.NATSRefused:
		current.reason, current.within = reconcile.ReasonNATSRefused, d.period
	case !v.LinkUp:
		current = trouble{reconcile.ReasonNATSDown, v.LinkSince, d.settle()}
	case !v.LinkSilent.IsZero() && now.Sub(v.LinkSilent) >= silentAfter:
		current = trouble{reconcile.ReasonNATSDown, v.LinkSilent, d.settle()}
	case slices.Contains(v.Gate, reconcile.ReasonNATSLate):
		current.reason, current.within = reconcile.ReasonNATSLate, d.period
	case slices.Contains(v.Gate, reconcile.ReasonDeaf):
		current.reason = reconcile.ReasonDeaf // the gate itself waits a heartbeat before it gives this reason
	case !d.stale.IsZero() && d.unfresh: // it was elected in the freshness window after its start
		return trouble{reconcile.ReasonActualStale, d.stale, d.settle()}
	case !d.stale.IsZero(): // for example with a link that comes and goes
		return trouble{reconcile.ReasonActualStale, d.stale, 2 * d.window}
	case v.Missed > 0: // too few to close the gate, but nobody would notice a loss on these DEAs
		current.reason, current.within = reconcile.ReasonDeaf, d.period
	}
	if current.reason == d.trouble.reason && d.trouble.since.Before(current.since) {
		current.since = d.trouble.since
	}
	return current
}

func (d *handsOver) settle() time.Duration { return min(settleTime, d.window) }

// Why no node leads instead, for the log.
const (
	whyNobody = "no other voter has caught up, hears the DEAs and has a NATS link that is certainly alive"
	whyDamped = "the leadership was handed over less than policy.freshness heartbeats ago"
)

// successor gives the voter that should lead instead of this node, because this node hears too little and that voter's
// picture is fresh. In an outage of NATS itself all links are lost, each noticed at its own time, and so an outage is no
// reason to hand over: only a voter counts whose link was certainly alive after this node's was lost. When NATS is
// back, no picture is fresh until a freshness window has passed. A deaf node hands over only to a voter that hears more
// DEAs, and every node only to a voter that has told about itself since this node leads.
func (d *handsOver) successor(v leaderView, members []cluster.Member, now time.Time) (to, why string) {
	if d.trouble.reason == "" || now.Sub(d.trouble.since) < d.trouble.within || now.Before(d.retry) || awaitsPeers(v, members, now) {
		return "", ""
	}
	deaf := d.trouble.reason == reconcile.ReasonDeaf
	candidates := slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		if m.InfoAge >= now.Sub(v.Since) {
			return true // a leader that was lost may have told about itself just before
		}
		hearsLess := !m.Info.HearingComplete || m.Info.HeardDEAs <= v.Hears
		return !canReplace(d.id, m) || m.Info.AppliedIndex+maxInfoLag < v.Applied || deaf && hearsLess || !d.isAlive(m, now)
	})
	if len(candidates) == 0 {
		return "", whyNobody
	}
	if last := latest(d.newest, d.trying); !last.IsZero() && now.Sub(last) < d.window {
		return "", whyDamped
	}
	// A deaf node prefers the voter that hears most. Otherwise the voter with the fewest reasons to keep its gate closed
	// comes first: at best there is only one, that it does not lead.
	best := slices.MinFunc(candidates, func(a, b cluster.Member) int {
		hearsMore := 0
		if deaf {
			hearsMore = cmp.Compare(b.Info.HeardDEAs, a.Info.HeardDEAs)
		}
		return cmp.Or(hearsMore, d.compareFailed(a, b), cmp.Compare(len(gateReasons(a)), len(gateReasons(b))),
			-cmp.Compare(a.Info.AppliedIndex, b.Info.AppliedIndex), strings.Compare(a.ID, b.ID))
	})
	return best.ID, ""
}

// awaitsPeers reports whether a new leader should wait for a member that has not told about itself since it leads: perhaps
// that member has just handed over to it.
func awaitsPeers(v leaderView, members []cluster.Member, now time.Time) bool {
	led := now.Sub(v.Since)
	return led < maxInfoAge && slices.ContainsFunc(members, func(m cluster.Member) bool { return m.HasInfo && m.Healthy && m.InfoAge >= led })
}

// compareFailed puts the voter last with which the last handover failed.
func (d *handsOver) compareFailed(a, b cluster.Member) int {
	switch d.failed {
	case a.ID:
		return 1
	case b.ID:
		return -1
	}
	return 0
}

// isAlive reports whether a member's NATS link is alive, as far as can be known. If this node's link is lost, the
// member's must have been alive some time after that. A member may be unable to prove it: its version is older, or the
// server refuses its markers. Then it counts after a freshness window, in which its pings would have failed.
func (d *handsOver) isAlive(m cluster.Member, now time.Time) bool {
	proved := m.Info.NATSProved.Before(now.Add(-m.InfoAge))
	age := now.Sub(proved)
	switch d.trouble.reason {
	case reconcile.ReasonNATSLate, reconcile.ReasonDeaf:
		return proved.IsZero() || age <= d.period/2+settleTime // NATS may be slow for all; a link that is later is late
	case reconcile.ReasonNATSDown:
		if proved.IsZero() {
			return now.Sub(d.trouble.since) >= d.window
		}
		return proved.Sub(d.trouble.since) >= d.settle()/2 && age <= maxProofAge
	}
	return proved.IsZero() || age <= maxProofAge
}

func gateReasons(m cluster.Member) []string { return strings.Split(m.Info.Gate, ", ") }

// canReplace reports whether a member is another voter whose picture is fresh.
func canReplace(id string, m cluster.Member) bool {
	return m.ID != id && isCurrent(m) && m.Info.NATSUp && pictureFresh(m)
}

// pictureFresh reports whether the reasons of a member's gate show that its picture of the DEAs is fresh.
func pictureFresh(m cluster.Member) bool {
	return m.Info.Gate != "" && !slices.ContainsFunc(gateReasons(m), func(r string) bool {
		return r == reconcile.ReasonNATSDown || r == reconcile.ReasonNATSRefused || r == reconcile.ReasonNATSLate ||
			r == reconcile.ReasonActualStale
	})
}
