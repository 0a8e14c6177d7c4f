package reconcile

import (
	"slices"
	"strings"

	"hm/internal/app"
	"hm/raftfsm"
)

// The reasons for a closed gate, in the order in which they are given. A hold's reason is "hold:" and its name, but one
// word stands for all holds on losses.
const (
	ReasonNotLeader    = "not-leader"
	ReasonNoLeader     = "no-leader"
	ReasonStateDiffers = "state-differs"
	ReasonNATSDown     = "nats-down"
	ReasonNATSRefused  = "nats-refused"
	ReasonNATSLate     = "nats-late"
	ReasonDeaf         = "deaf"
	ReasonActualStale  = "actual-stale"
	ReasonDesiredStale = "desired-stale"
	ReasonPaused       = "paused"
	ReasonShadow       = "shadow"
)

// The holds that hm itself or a person sets.
const (
	HoldDesiredShrink = "desired-shrink"
	HoldMassLoss      = "mass-loss" // a further loss meanwhile is held by mass-loss-2, and so on
	HoldFirstPicture  = "first-picture"
	HoldPaused        = "paused"
	HoldSlowStops     = "slow-stops" // limits stops, and keeps no gate shut
)

// OwnHold reports whether hm itself set a hold, so that a replay sets it by itself where it should be.
func OwnHold(h raftfsm.Hold) bool {
	return h.By == holdBy && h.Name != HoldPaused && OwnHoldName(h.Name)
}

// OwnHoldName reports whether hm itself gives a hold this name, so that it tells nothing of whoever set it.
func OwnHoldName(name string) bool {
	switch name {
	case HoldPaused, HoldDesiredShrink, HoldFirstPicture, HoldSlowStops:
		return true
	}
	return isMassLoss(name)
}

// reasonOf gives the word for a hold among the gate's reasons. All losses have one.
func reasonOf(h raftfsm.Hold) string {
	switch {
	case h.Name == HoldPaused:
		return ReasonPaused
	case isMassLoss(h.Name):
		return "hold:" + HoldMassLoss
	}
	return "hold:" + h.Name
}

// holdBy is who hm says to be when it sets a hold.
const holdBy = "hm"

// GateInput is all that the gate depends on (I1).
type GateInput struct {
	Lead         Lead
	StateDiffers bool // this node's recorded state is not that of its peers
	NATSUp       bool // the link is up, and the heartbeats can be heard on it
	NATSRefused  bool // the link is up, and the server refuses the subscription to the heartbeats
	NATSLate     bool // what is said on the link is heard more than a heartbeat later
	Deaf         bool // peers hear many DEAs that this node does not hear
	ActualFresh  bool // the link has been up for the freshness window, somebody spoke, and all that was heard is recorded
	DesiredFresh bool // a complete read was begun not longer ago than desired.ttl
	Holds        []raftfsm.Hold
	Shadow       bool // commands.mode is shadow
}

// Gate gives the reasons for which no command may be sent at now; none means that the gate is open.
func Gate(in GateInput, now app.Time) []string {
	var reasons []string
	add := func(closed bool, reason string) {
		if closed {
			reasons = append(reasons, reason)
		}
	}
	add(!in.Lead.Known, ReasonNoLeader)
	add(in.Lead.Known && !in.Lead.Leader, ReasonNotLeader)
	add(in.StateDiffers, ReasonStateDiffers)
	add(!in.NATSUp && !in.NATSRefused, ReasonNATSDown)
	add(in.NATSRefused, ReasonNATSRefused)
	add(in.NATSUp && in.NATSLate, ReasonNATSLate)
	add(in.Deaf, ReasonDeaf)
	add(!in.ActualFresh, ReasonActualStale)
	add(!in.DesiredFresh, ReasonDesiredStale)
	for _, h := range in.Holds {
		if reason := reasonOf(h); h.Shuts(now) && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	add(in.Shadow, ReasonShadow)
	return reasons
}

// evaluates reports whether decisions are made behind the gate: it is open, or closed only to publish nothing.
func evaluates(reasons []string) bool {
	return len(reasons) == 0 || len(reasons) == 1 && reasons[0] == ReasonShadow
}

// onlyHeld reports whether nothing but holds, if anything, keeps the gate shut: what is heard and read is fresh.
func onlyHeld(reasons []string) bool {
	return !slices.ContainsFunc(reasons, func(r string) bool {
		return r != ReasonPaused && r != ReasonShadow && !strings.HasPrefix(r, "hold:")
	})
}
