package reconcile

import (
	"hm/internal/app"
	"hm/raftfsm"
)

// The reasons for a closed gate, in the order in which they are given. A hold's reason is "hold:" and its name.
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
	HoldMassLoss      = "mass-loss"
	HoldPaused        = "paused"
	HoldSlowStops     = "slow-stops" // limits stops, and keeps no gate shut
)

// OwnHold reports whether hm itself set a hold, so that a replay sets it by itself where it should be.
func OwnHold(h raftfsm.Hold) bool {
	return h.By == holdBy && (h.Name == HoldDesiredShrink || h.Name == HoldMassLoss || h.Name == HoldSlowStops)
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
		if !h.Shuts(now) {
			continue
		}
		if h.Name == HoldPaused {
			reasons = append(reasons, ReasonPaused)
		} else {
			reasons = append(reasons, "hold:"+h.Name)
		}
	}
	add(in.Shadow, ReasonShadow)
	return reasons
}

// evaluates reports whether decisions are made behind the gate: it is open, or closed only to publish nothing.
func evaluates(reasons []string) bool {
	return len(reasons) == 0 || len(reasons) == 1 && reasons[0] == ReasonShadow
}
