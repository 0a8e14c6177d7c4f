package reconcile

import (
	"slices"
	"time"

	"hm/internal/app"
)

// simHandover is what a leader remembers that hears too little, by the rules of internal/server.
type simHandover struct {
	reason    string
	since     app.Time // when the trouble began
	stale     app.Time // since when a peer's picture has been fresh while this one is not; 0: that is not so
	attempted app.Time
	watching  bool // an event will look again
}

const watchInterval = 250 * time.Millisecond

// watchHandover looks at a leader again and again while it hears too little to command.
func (n *simNode) watchHandover() {
	if n.handover.watching || len(n.core.gate) == 0 && len(n.core.heardByPeers.missed) == 0 {
		return
	}
	n.handover.watching = true
	p := n.process
	n.cf.after(watchInterval, func() {
		if n.process != p {
			return
		}
		n.handover.watching = false
		if !n.runs() || !n.lead().Leader {
			n.handover.reason, n.handover.stale = "", 0
			return
		}
		if to := n.successor(); to != nil {
			n.handover.attempted = n.cf.now
			n.handOver(to)
		}
		n.watchHandover()
	})
}

// successor gives the node that should lead instead of this one; nil if none should.
func (n *simNode) successor() *simNode {
	h, now := &n.handover, n.cf.now
	fresh := func(m *simNode) bool {
		return m != n && n.cf.reaches(n, m) && m.hearsNATS() && m.raft.commit+64 >= n.raft.commit && m.core.gateKnown &&
			!slices.ContainsFunc(m.core.gate, func(r string) bool {
				return slices.Contains([]string{ReasonNATSDown, ReasonNATSRefused, ReasonNATSLate, ReasonActualStale}, r)
			})
	}
	if up, _, _ := n.intake.Fresh(n.Now()); up || !slices.ContainsFunc(n.cf.nodes, fresh) {
		h.stale = 0
	} else if h.stale == 0 {
		h.stale = now
	}
	gate := func(reason string) bool { return slices.Contains(n.core.gate, reason) }
	reason, since, within := "", now, time.Duration(0)
	switch {
	case !n.hearsNATS() && now.Sub(n.linkSince) >= 3*hb:
		reason, since = ReasonNATSDown, n.linkSince
	case gate(ReasonNATSLate):
		reason, within = ReasonNATSLate, hb
	case gate(ReasonDeaf):
		reason = ReasonDeaf
	case h.stale != 0:
		reason, since, within = ReasonActualStale, h.stale, 6*hb
	case len(n.core.heardByPeers.missed) > 0:
		reason, within = ReasonDeaf, hb
	}
	if reason == h.reason && since == now {
		since = h.since
	}
	h.reason, h.since = reason, since
	if reason == "" || now.Sub(since) < within || h.attempted != 0 && now.Sub(h.attempted) < 3*hb {
		return nil
	}
	var best *simNode
	for _, m := range n.cf.nodes {
		if !fresh(m) {
			continue
		}
		hears := m.intake.Hearing()
		if reason == ReasonDeaf && (!hears.Fresh || hears.DEAs <= n.intake.Hearing().DEAs) {
			continue
		}
		if best == nil || len(m.core.gate) < len(best.core.gate) {
			best = m
		}
	}
	return best
}
