package server

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/api"
	"hm/internal/cluster"
)

// handover lets this node give up the leadership while it leads and hears too little to command. Only the node's watch
// loop calls consider.
type handover struct {
	cluster *cluster.Node
	logger  *slog.Logger

	mu      sync.Mutex // guards decides and trying
	decides handsOver
	trying  time.Time // when the transfer began that is running; zero: none is

	told   time.Time   // the beginning of the trouble of which the log says why no node leads instead
	busy   atomic.Bool // a transfer is running
	done   [len(handoverReasons)]atomic.Uint64
	failed [len(handoverReasons)]atomic.Uint64
}

// consider begins a transfer if one is needed. v is without what the cluster knows. own runs the transfer in a goroutine.
func (h *handover) consider(ctx context.Context, v leaderView, own func(func())) {
	lead := h.cluster.Leadership()
	v.Leads, v.Since, v.Applied = lead.Leader, lead.Since, h.cluster.View().Index()
	now, members := time.Now(), h.cluster.Members()
	h.mu.Lock()
	to, why := h.decides.decide(v, members, now)
	trouble := h.decides.trouble
	h.mu.Unlock()
	switch {
	case h.busy.Load():
	case to != "":
		h.busy.Store(true)
		own(func() {
			defer h.busy.Store(false)
			h.transfer(ctx, to, trouble.reason, now.Sub(trouble.since))
		})
	case why != "" && !h.told.Equal(trouble.since):
		h.told = trouble.since
		h.logger.Warn("this node hears too little to command, and no other node can lead instead",
			"reason", trouble.reason, "for", now.Sub(trouble.since).Round(time.Millisecond), "why", why)
	}
}

// transferTimeout bounds one transfer. Raft itself gives up after an election timeout.
const transferTimeout = 30 * time.Second

func (h *handover) transfer(ctx context.Context, to, reason string, lasted time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	n := slices.Index(handoverReasons[:], reason)
	began := time.Now()
	h.mu.Lock()
	h.trying = began // the peers are told before the transfer ends, so that the next leader knows of it
	h.mu.Unlock()
	err := h.cluster.TransferTo(ctx, to)
	h.mu.Lock()
	if err == nil || !h.cluster.Leadership().Leader { // a transfer that failed may have an effect all the same
		h.decides.succeeded(began)
	} else {
		h.decides.failedTo(to, time.Now())
	}
	h.trying = time.Time{}
	h.mu.Unlock()
	if err != nil {
		h.failed[n].Add(1)
		h.logger.Warn("this node leads and hears too little to command, and the handover to a node that hears more failed; "+
			"it will try again", "to", to, "reason", reason, "for", lasted.Round(time.Millisecond), "error", err)
		return
	}
	h.done[n].Add(1)
	h.logger.Info("handed the leadership over to a node that hears more",
		"to", to, "reason", reason, "for", lasted.Round(time.Millisecond))
}

// times gives when any node last handed over, and when the transfer began that is running; zero: never, and none.
func (h *handover) times() (newest, trying time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.decides.newest, h.trying
}

// totals counts the transfers by reason, for the metrics.
func (h *handover) totals() []api.Transfers {
	totals := make([]api.Transfers, len(handoverReasons))
	for n, reason := range handoverReasons {
		totals[n] = api.Transfers{Reason: reason, Done: h.done[n].Load(), Failed: h.failed[n].Load()}
	}
	return totals
}
