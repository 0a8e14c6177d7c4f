package systemd

import (
	"context"
	"log/slog"
	"time"
)

// Node is the node that systemd is told of.
type Node interface {
	// Stuck says which loop of the node has not gone on for longer than limit; it is empty if all have. It is called
	// again and again, since it compares with what it saw before.
	Stuck(limit time.Duration) string
	// Summary says in a few words what the node does.
	Summary() string
}

// lookEvery is how often the node is looked at.
const lookEvery = time.Second

// Watch tells systemd until ctx ends what the node does, and that it goes on. A node that is stuck for half of the
// watchdog's time is not said to be alive any more: systemd then ends it and starts it again. hm does not end itself,
// because what is stuck may be what would end it.
func (n *Notifier) Watch(ctx context.Context, node Node, logger *slog.Logger) {
	if n == nil {
		return
	}
	every := lookEvery
	if n.watchdog > 0 {
		every = min(every, n.watchdog/8)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	w := watch{notifier: n, logger: logger}
	for {
		w.look(time.Now(), node)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// watch is what has been told so far.
type watch struct {
	notifier *Notifier
	logger   *slog.Logger
	status   string
	alive    time.Time
	stuck    string // as it was logged
	failed   bool   // the newest message could not be sent, which is logged
}

func (w *watch) look(now time.Time, node Node) {
	if status := node.Summary(); status != w.status && w.sent(w.notifier.Status(status)) {
		w.status = status
	}
	limit := w.notifier.watchdog
	if limit == 0 {
		return
	}
	stuck := node.Stuck(limit / 2)
	switch {
	case stuck != "" && w.stuck == "":
		w.logger.Error("a loop of this node is stuck; if that lasts, systemd ends the process and starts it again", "stuck", stuck)
	case stuck == "" && w.stuck != "":
		w.logger.Warn("the loop that was stuck goes on", "was", w.stuck)
	}
	w.stuck = stuck
	if stuck == "" && now.Sub(w.alive) >= limit/4 && w.sent(w.notifier.Alive()) {
		w.alive = now
	}
}

// sent reports whether a message was sent, and logs the first of several that were not.
func (w *watch) sent(err error) bool {
	if err != nil && !w.failed {
		w.logger.Warn("systemd could not be told how this node is; it will be tried again", "error", err)
	}
	w.failed = err != nil
	return err == nil
}
