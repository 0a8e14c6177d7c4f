package reconcile

import (
	"slices"
	"strings"

	"hm/internal/app"
	"hm/raftfsm"
)

// The reasons for a closed gate, in the order in which Gate gives them. A hold's reason is "hold:"
// and its name; all holds on losses have one reason.
const (
	ReasonNotLeader     = "not-leader"
	ReasonNoLeader      = "no-leader"
	ReasonStateDiffers  = "state-differs"
	ReasonNATSDown      = "nats-down"
	ReasonNATSRefused   = "nats-refused"
	ReasonNATSLate      = "nats-late"
	ReasonDeaf          = "deaf"
	ReasonActualStale   = "actual-stale"
	ReasonDesiredStale  = "desired-stale"
	ReasonCCUnreachable = "cc-unreachable"
	ReasonPaused        = "paused"
	ReasonShadow        = "shadow"
)

// GateInput is all that the gate depends on (I1).
type GateInput struct {
	Lead          Lead
	StateDiffers  bool // this node's recorded state differs from that of its peers
	NATSUp        bool // the link is up, and heartbeats can be heard on it
	NATSRefused   bool // the link is up, and the server refuses the subscription to heartbeats
	NATSLate      bool // messages arrive more than a heartbeat period late
	Deaf          bool // a peer hears many DEAs that this node does not hear
	ActualFresh   bool // the link has been up for the freshness window, DEAs were heard, and all that was heard is recorded; see Awaits
	DesiredFresh  bool // a complete read began within desired.ttl
	CCUnreachable bool // commands go to the Cloud Controller over HTTP, and this node, as leader, does not know that it answers
	Holds         []raftfsm.Hold
	Shadow        bool // commands.mode is shadow
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
	add(in.Lead.Leader && in.CCUnreachable, ReasonCCUnreachable)
	for _, h := range in.Holds {
		if reason := ReasonOf(h); h.Shuts(now) && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	add(in.Shadow, ReasonShadow)
	return reasons
}

// evaluates reports whether hm decides: the gate is open, or closed by shadow mode alone.
func evaluates(reasons []string) bool {
	return len(reasons) == 0 || len(reasons) == 1 && reasons[0] == ReasonShadow
}

// onlyHeld reports whether the gate is open, or closed by holds, by shadow mode or because commands
// cannot be sent: what was heard and read is fresh.
func onlyHeld(reasons []string) bool {
	return !slices.ContainsFunc(reasons, func(r string) bool {
		return r != ReasonPaused && r != ReasonShadow && r != ReasonCCUnreachable && !strings.HasPrefix(r, "hold:")
	})
}

// desiredFresh reports whether a complete read is recorded that is recent enough, through the filter of this node.
func (c *Core) desiredFresh(now app.Time) bool {
	return c.reads.fresh(now, c.opts) && c.opts.readOfFilter(c.log.View().DesiredMeta())
}

// reasons gives why the gate is closed at now. recorded says that everything that was heard is
// recorded.
func (c *Core) reasons(now app.Time, lead Lead, recorded bool) []string {
	fresh, up, _ := c.intake.Fresh(now)
	return Gate(GateInput{
		Lead: lead, NATSUp: up, NATSLate: c.intake.Late(), Deaf: lead.Leader && c.heardByPeers.deaf,
		ActualFresh: fresh && recorded && !c.intake.Awaits(), DesiredFresh: c.desiredFresh(now),
		Holds: c.log.View().Holds(), Shadow: c.opts.Policy.Shadow,
		StateDiffers:  c.opts.StateDiffers != nil && c.opts.StateDiffers(),
		NATSRefused:   c.opts.NATSRefused != nil && c.opts.NATSRefused(),
		CCUnreachable: c.opts.CCReachable != nil && !c.opts.CCReachable(lead.Term),
	}, now)
}

// setGate computes the gate, and notes since when it has been open or closed.
func (c *Core) setGate(now app.Time, lead Lead, recorded bool) {
	c.epoch = c.intake.Epoch() // before the state of the link: a gap between the two is noticed at the publish
	reasons := c.reasons(now, lead, recorded)
	c.firstPicture.follow(c.log.View(), reasons)
	if !c.gateKnown || !slices.Equal(reasons, c.gate) {
		if !c.gateKnown || (len(reasons) == 0) != (len(c.gate) == 0) {
			c.gateSince = now
		}
		c.logger.Info("gate", "open", len(reasons) == 0, "reasons", reasons)
	}
	c.gate, c.gateKnown = reasons, true
}
