package server

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hm/internal/api"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/reconcile"
)

// handover lets this node give up the leadership while it leads and hears too little to command. Only the node's watch
// loop calls consider.
type handover struct {
	id      string
	window  time.Duration // the freshness window
	period  time.Duration // of heartbeats
	cluster *cluster.Node
	logger  *slog.Logger

	trouble   trouble     // at the last call of consider
	stale     time.Time   // since when a peer's picture has been fresh while this node's is not; zero: that is not so
	attempted time.Time   // when the last transfer began
	busy      atomic.Bool // a transfer is running
	done      [len(handoverReasons)]atomic.Uint64
	failed    [len(handoverReasons)]atomic.Uint64
}

// handoverReasons are the gate reasons for which a leader hands over.
var handoverReasons = [...]string{
	reconcile.ReasonNATSDown, reconcile.ReasonNATSLate, reconcile.ReasonDeaf, reconcile.ReasonActualStale,
}

// trouble is the reason why a leader hears too little to command.
type trouble struct {
	reason string        // one of handoverReasons; empty: there is no trouble
	since  time.Time     // when it began
	within time.Duration // how long it must last before the leader hands over
}

// consider begins a transfer if one is needed. own runs the transfer in a goroutine.
func (h *handover) consider(ctx context.Context, link bus.State, o reconcile.Overview, hears int, own func(func())) {
	open := len(o.GateReasons) == 0 && o.Missed == 0
	lead := h.cluster.Leadership()
	if open || !lead.Leader {
		h.trouble, h.stale = trouble{}, time.Time{}
		return
	}
	now, members := time.Now(), h.cluster.Members()
	if h.trouble = h.assess(link, o, members, now); h.trouble.reason == "" || h.busy.Load() {
		return
	}
	to := successor(handoverInput{
		ID: h.id, Leads: true, Since: lead.Since, Trouble: h.trouble, Applied: h.cluster.View().Index(), Hears: hears,
		Window: h.window, Attempted: h.attempted,
	}, members, now)
	if to == "" {
		return
	}
	h.attempted = now
	h.busy.Store(true)
	reason, lasted := h.trouble.reason, now.Sub(h.trouble.since)
	own(func() {
		defer h.busy.Store(false)
		h.transfer(ctx, to, reason, lasted)
	})
}

// assess gives this node's trouble at now. Trouble for the same reason as before keeps its beginning.
func (h *handover) assess(link bus.State, o reconcile.Overview, members []cluster.Member, now time.Time) trouble {
	switch {
	case o.ActualFresh || !slices.ContainsFunc(members, func(m cluster.Member) bool { return canReplace(h.id, m) }):
		h.stale = time.Time{}
	case h.stale.IsZero():
		h.stale = now
	}
	current := trouble{since: now}
	switch {
	case !link.Up && now.Sub(link.Since) >= h.window:
		return trouble{reconcile.ReasonNATSDown, link.Since, h.window}
	case slices.Contains(o.GateReasons, reconcile.ReasonNATSLate):
		current.reason, current.within = reconcile.ReasonNATSLate, h.period
	case slices.Contains(o.GateReasons, reconcile.ReasonDeaf):
		current.reason = reconcile.ReasonDeaf // the gate itself waits a heartbeat before it gives this reason
	case !h.stale.IsZero(): // for example with a link that comes and goes
		return trouble{reconcile.ReasonActualStale, h.stale, 2 * h.window}
	case o.Missed > 0: // too few to close the gate, but nobody would notice a loss on these DEAs
		current.reason, current.within = reconcile.ReasonDeaf, h.period
	}
	if current.reason == h.trouble.reason {
		current.since = h.trouble.since
	}
	return current
}

// handoverInput is what the choice of a successor depends on, beside the members.
type handoverInput struct {
	ID        string // of this node
	Leads     bool
	Since     time.Time // when this node began to lead
	Trouble   trouble
	Applied   uint64        // index of the newest entry that this node has applied
	Hears     int           // number of DEAs that this node hears
	Window    time.Duration // the freshness window
	Attempted time.Time     // when the last transfer began; zero: never
}

// successor gives the id of the voter that should lead instead of this node, because this node hears too little and
// that voter's picture is fresh. It is empty if no voter should. After an outage of NATS itself all links return, each
// at its own time, and no picture is fresh until a freshness window has passed: so an outage is no reason to hand over.
// A deaf node hands over only to a voter that hears more DEAs, and every node only to a voter that has told about itself
// since this node leads. A transfer stops the log for a moment, so at most one begins in a freshness window.
func successor(in handoverInput, members []cluster.Member, now time.Time) string {
	if !in.Leads || in.Trouble.reason == "" || now.Sub(in.Trouble.since) < in.Trouble.within {
		return ""
	}
	if !in.Attempted.IsZero() && now.Sub(in.Attempted) < in.Window {
		return ""
	}
	deaf := in.Trouble.reason == reconcile.ReasonDeaf
	candidates := slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		if m.InfoAge >= now.Sub(in.Since) {
			return true // a leader that was lost may have told about itself just before
		}
		hearsLess := !m.Info.HearingComplete || m.Info.HeardDEAs <= in.Hears
		return !canReplace(in.ID, m) || m.Info.AppliedIndex+maxInfoLag < in.Applied || deaf && hearsLess
	})
	if len(candidates) == 0 {
		return ""
	}
	// A deaf node prefers the voter that hears most. Otherwise the voter with the fewest reasons to keep its gate closed
	// comes first: at best there is only one, that it does not lead.
	best := slices.MinFunc(candidates, func(a, b cluster.Member) int {
		hearsMore := 0
		if deaf {
			hearsMore = cmp.Compare(b.Info.HeardDEAs, a.Info.HeardDEAs)
		}
		return cmp.Or(hearsMore, cmp.Compare(len(gateReasons(a)), len(gateReasons(b))),
			-cmp.Compare(a.Info.AppliedIndex, b.Info.AppliedIndex), strings.Compare(a.ID, b.ID))
	})
	return best.ID
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

// transferTimeout bounds one transfer. Raft itself gives up after an election timeout.
const transferTimeout = 30 * time.Second

func (h *handover) transfer(ctx context.Context, to, reason string, lasted time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	n := slices.Index(handoverReasons[:], reason)
	if err := h.cluster.TransferTo(ctx, to); err != nil {
		h.failed[n].Add(1)
		h.logger.Warn("this node leads and hears too little to command, and the handover to a node that hears more failed; "+
			"it will try again", "to", to, "reason", reason, "for", lasted.Round(time.Millisecond), "error", err)
		return
	}
	h.done[n].Add(1)
	h.logger.Info("handed the leadership over to a node that hears more",
		"to", to, "reason", reason, "for", lasted.Round(time.Millisecond))
}

// totals counts the transfers by reason, for the metrics.
func (h *handover) totals() []api.Transfers {
	totals := make([]api.Transfers, len(handoverReasons))
	for n, reason := range handoverReasons {
		totals[n] = api.Transfers{Reason: reason, Done: h.done[n].Load(), Failed: h.failed[n].Load()}
	}
	return totals
}
