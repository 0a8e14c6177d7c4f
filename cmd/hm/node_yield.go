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

// yieldInput is what a leader without NATS decides by whether to hand over.
type yieldInput struct {
	ID        string
	Leads     bool
	Link      bus.State
	Applied   uint64        // newest entry that this node has applied
	Window    time.Duration // the freshness window
	Attempted time.Time     // when a transfer was begun last; zero if never
}

// yieldTo names the voter that should lead in this node's place, because this node's link to NATS has been down for a
// freshness window, and the voter's has been up for one; empty if none should. So an outage of NATS itself, from which
// every link returns at a moment of its own, is no reason. A transfer is begun at most once a freshness window, for it
// holds up the log.
func yieldTo(in yieldInput, members []cluster.Member, now time.Time) string {
	if !in.Leads || in.Link.Up || now.Sub(in.Link.Since) < in.Window {
		return ""
	}
	if !in.Attempted.IsZero() && now.Sub(in.Attempted) < in.Window {
		return ""
	}
	can := slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		return m.ID == in.ID || !m.Voter || !m.Healthy || !m.HasInfo || m.InfoAge > maxInfoAge ||
			!m.Info.NATSUp || !hearsAfresh(m) || m.Info.AppliedIndex+yieldLag < in.Applied
	})
	if len(can) == 0 {
		return ""
	}
	// One whose gate is closed for nothing but that it does not lead comes first.
	first := slices.MinFunc(can, func(a, b cluster.Member) int {
		return cmp.Or(cmp.Compare(len(gateReasons(a)), len(gateReasons(b))), -cmp.Compare(a.Info.AppliedIndex, b.Info.AppliedIndex), strings.Compare(a.ID, b.ID))
	})
	return first.ID
}

const (
	maxInfoAge = time.Second // of a peer's word: they come four times a second
	yieldLag   = 64          // entries that a peer's word may be behind: raft has it catch up before it hands over
)

func gateReasons(m cluster.Member) []string { return strings.Split(m.Info.Gate, ", ") }

// hearsAfresh reports whether a member's gate tells that its own picture is fresh.
func hearsAfresh(m cluster.Member) bool {
	reasons := gateReasons(m)
	return m.Info.Gate != "" && !slices.Contains(reasons, reconcile.ReasonNATSDown) &&
		!slices.Contains(reasons, reconcile.ReasonNATSRefused) && !slices.Contains(reasons, reconcile.ReasonActualStale)
}

// yielder hands leadership over when this node leads and cannot command. Only the node's watch loop calls consider.
type yielder struct {
	id      string
	window  time.Duration
	cluster *cluster.Node
	logger  *slog.Logger

	attempted time.Time
	busy      atomic.Bool // a transfer is under way
	done      atomic.Uint64
	failed    atomic.Uint64
}

// consider begins a transfer, in a goroutine that own runs, if one is called for.
func (y *yielder) consider(ctx context.Context, link bus.State, own func(func())) {
	lead := y.cluster.Leadership()
	if !lead.Leader || link.Up || y.busy.Load() {
		return
	}
	now := time.Now()
	to := yieldTo(yieldInput{
		ID: y.id, Leads: true, Link: link, Applied: y.cluster.View().Index(), Window: y.window, Attempted: y.attempted,
	}, y.cluster.Members(), now)
	if to == "" {
		return
	}
	y.attempted = now
	y.busy.Store(true)
	own(func() {
		defer y.busy.Store(false)
		y.transfer(ctx, to, now.Sub(link.Since))
	})
}

// transferTimeout bounds one transfer. Raft itself gives up after an election timeout.
const transferTimeout = 30 * time.Second

func (y *yielder) transfer(ctx context.Context, to string, down time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	if err := y.cluster.TransferTo(ctx, to); err != nil {
		y.failed.Add(1)
		y.logger.Warn("this node leads without a nats link and could not hand over to a node that has one; it will try again",
			"to", to, "down_for", down.Round(time.Millisecond), "error", err)
		return
	}
	y.done.Add(1)
	y.logger.Info("handed leadership to a node whose nats link is up", "to", to, "down_for", down.Round(time.Millisecond))
}

// transfers are the totals for the metrics.
func (y *yielder) transfers() []api.Transfers {
	return []api.Transfers{{Reason: "nats-down", Done: y.done.Load(), Failed: y.failed.Load()}}
}
