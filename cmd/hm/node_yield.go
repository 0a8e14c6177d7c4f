package main

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

// trouble is why a node that leads hears too little to command.
type trouble struct {
	reason string        // of the gate: one of yieldReasons; empty: there is none
	since  time.Time     // since when
	within time.Duration // how long it must have lasted before leadership is handed over
}

// yieldInput is what a leader that hears too little decides by whether to hand over.
type yieldInput struct {
	ID        string
	Leads     bool
	Since     time.Time // when this node began to lead
	Trouble   trouble
	Applied   uint64        // newest entry that this node has applied
	Hears     int           // DEAs that it hears
	Window    time.Duration // the freshness window
	Attempted time.Time     // when a transfer was begun last; zero if never
}

// yieldTo names the voter that should lead in this node's place, because this node hears too little and the voter's
// picture has been fresh for a freshness window; empty if none should. So an outage of NATS itself, from which every link
// returns at a moment of its own, is no reason. A deaf node yields only to one that hears more, and any node only to one
// that was heard since it leads. A transfer is begun at
// most once a freshness window, for it holds up the log.
func yieldTo(in yieldInput, members []cluster.Member, now time.Time) string {
	if !in.Leads || in.Trouble.reason == "" || now.Sub(in.Trouble.since) < in.Trouble.within {
		return ""
	}
	if !in.Attempted.IsZero() && now.Sub(in.Attempted) < in.Window {
		return ""
	}
	deaf := in.Trouble.reason == reconcile.ReasonDeaf
	can := slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		if m.InfoAge >= now.Sub(in.Since) {
			return true // the leader that was lost has a word that looks new
		}
		return !hearsInstead(in.ID, m) || m.Info.AppliedIndex+yieldLag < in.Applied || deaf && (!m.Info.HearingComplete || m.Info.HeardDEAs <= in.Hears)
	})
	if len(can) == 0 {
		return ""
	}
	// A deaf node looks for the one that hears most. Otherwise one whose gate is closed for nothing but that it does not
	// lead comes first.
	first := slices.MinFunc(can, func(a, b cluster.Member) int {
		more := 0
		if deaf {
			more = cmp.Compare(b.Info.HeardDEAs, a.Info.HeardDEAs)
		}
		return cmp.Or(more, cmp.Compare(len(gateReasons(a)), len(gateReasons(b))), -cmp.Compare(a.Info.AppliedIndex, b.Info.AppliedIndex), strings.Compare(a.ID, b.ID))
	})
	return first.ID
}

const (
	maxInfoAge = time.Second // of a peer's word: they come four times a second
	yieldLag   = 64          // entries that a peer's word may be behind: raft has it catch up before it hands over
)

func gateReasons(m cluster.Member) []string { return strings.Split(m.Info.Gate, ", ") }

// hearsInstead reports whether a member is another voter whose picture is fresh.
func hearsInstead(id string, m cluster.Member) bool {
	return m.ID != id && speaks(m) && m.Info.NATSUp && hearsAfresh(m)
}

// hearsAfresh reports whether a member's gate tells that its own picture is fresh.
func hearsAfresh(m cluster.Member) bool {
	return m.Info.Gate != "" && !slices.ContainsFunc(gateReasons(m), func(r string) bool {
		return r == reconcile.ReasonNATSDown || r == reconcile.ReasonNATSRefused || r == reconcile.ReasonNATSLate || r == reconcile.ReasonActualStale
	})
}

// yieldReasons are why a leader hands over by itself.
var yieldReasons = [...]string{reconcile.ReasonNATSDown, reconcile.ReasonNATSLate, reconcile.ReasonDeaf, reconcile.ReasonActualStale}

// yielder hands leadership over when this node leads and cannot command. Only the node's watch loop calls consider.
type yielder struct {
	id      string
	window  time.Duration // the freshness window
	period  time.Duration // of heartbeats
	cluster *cluster.Node
	logger  *slog.Logger

	trouble   trouble   // as it was seen last
	stale     time.Time // since when a peer's picture has been fresh and this node's has not; zero: that is not so
	attempted time.Time
	busy      atomic.Bool // a transfer is under way
	done      [len(yieldReasons)]atomic.Uint64
	failed    [len(yieldReasons)]atomic.Uint64
}

// look gives this node's trouble at now. One that was seen before has lasted since then.
func (y *yielder) look(link bus.State, o reconcile.Overview, members []cluster.Member, now time.Time) trouble {
	switch {
	case o.ActualFresh || !slices.ContainsFunc(members, func(m cluster.Member) bool { return hearsInstead(y.id, m) }):
		y.stale = time.Time{}
	case y.stale.IsZero():
		y.stale = now
	}
	seen := trouble{since: now}
	switch {
	case !link.Up && now.Sub(link.Since) >= y.window:
		return trouble{reconcile.ReasonNATSDown, link.Since, y.window}
	case slices.Contains(o.GateReasons, reconcile.ReasonNATSLate):
		seen.reason, seen.within = reconcile.ReasonNATSLate, y.period
	case slices.Contains(o.GateReasons, reconcile.ReasonDeaf):
		seen.reason = reconcile.ReasonDeaf // which takes a heartbeat by itself
	case !y.stale.IsZero(): // as that of a link which comes and goes
		return trouble{reconcile.ReasonActualStale, y.stale, 2 * y.window}
	case o.Missed > 0: // too few to shut the gate for, and nobody notices what happens on them
		seen.reason, seen.within = reconcile.ReasonDeaf, y.period
	}
	if seen.reason == y.trouble.reason {
		seen.since = y.trouble.since
	}
	return seen
}

// consider begins a transfer, in a goroutine that own runs, if one is called for.
func (y *yielder) consider(ctx context.Context, link bus.State, o reconcile.Overview, hears int, own func(func())) {
	open := len(o.GateReasons) == 0 && o.Missed == 0
	lead := y.cluster.Leadership()
	if open || !lead.Leader {
		y.trouble, y.stale = trouble{}, time.Time{}
		return
	}
	now, members := time.Now(), y.cluster.Members()
	if y.trouble = y.look(link, o, members, now); y.trouble.reason == "" || y.busy.Load() {
		return
	}
	to := yieldTo(yieldInput{
		ID: y.id, Leads: true, Since: lead.Since, Trouble: y.trouble, Applied: y.cluster.View().Index(), Hears: hears, Window: y.window, Attempted: y.attempted,
	}, members, now)
	if to == "" {
		return
	}
	y.attempted = now
	y.busy.Store(true)
	why, lasted := y.trouble.reason, now.Sub(y.trouble.since)
	own(func() {
		defer y.busy.Store(false)
		y.transfer(ctx, to, why, lasted)
	})
}

// transferTimeout bounds one transfer. Raft itself gives up after an election timeout.
const transferTimeout = 30 * time.Second

func (y *yielder) transfer(ctx context.Context, to, why string, lasted time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	n := slices.Index(yieldReasons[:], why)
	if err := y.cluster.TransferTo(ctx, to); err != nil {
		y.failed[n].Add(1)
		y.logger.Warn("this node leads and hears too little to command, and could not hand over to a node that hears more; it will try again",
			"to", to, "reason", why, "for", lasted.Round(time.Millisecond), "error", err)
		return
	}
	y.done[n].Add(1)
	y.logger.Info("handed leadership to a node that hears more", "to", to, "reason", why, "for", lasted.Round(time.Millisecond))
}

// transfers are the totals for the metrics.
func (y *yielder) transfers() []api.Transfers {
	totals := make([]api.Transfers, len(yieldReasons))
	for n, reason := range yieldReasons {
		totals[n] = api.Transfers{Reason: reason, Done: y.done[n].Load(), Failed: y.failed[n].Load()}
	}
	return totals
}
