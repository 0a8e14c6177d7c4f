package watch

import (
	"context"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/reconcile"
	"hm/internal/words"
)

// Change starts a change of the cluster. Its outcome is in a later frame.
func (w *Watcher) Change(c liveview.Change) {
	select {
	case w.changes <- c:
	default:
		w.tell("too many changes at once: this one was left out", true)
	}
}

// change makes the changes that the user confirmed, one after the other.
func (w *Watcher) change(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-w.changes:
			w.tell(w.make(ctx, c))
			w.wake.Notify()
		}
	}
}

func (w *Watcher) make(ctx context.Context, c liveview.Change) (outcome string, failed bool) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	client := w.node().Client
	if c.Pause {
		h, _, err := client.SetHold(ctx, api.HoldRequest{Name: reconcile.HoldPaused, Reason: c.Reason, By: w.opts.By})
		if err != nil {
			return "hm is not paused: " + reasonOf(err), true
		}
		return "hm is paused: " + words.Hold(api.Basis{At: h.SetAt}, h), false
	}
	if err := client.ReleaseHoldBy(ctx, c.Release, w.opts.By); err != nil {
		return "the hold " + c.Release + " is not released: " + reasonOf(err), true
	}
	if c.Release == reconcile.HoldPaused {
		return "hm is no longer paused", false
	}
	return "the hold " + c.Release + " is released", false
}

// tell shows the outcome of a change.
func (w *Watcher) tell(text string, failed bool) {
	w.mu.Lock()
	w.notice = liveview.Notice{Text: text, Failed: failed, Number: w.notice.Number + 1}
	w.mu.Unlock()
	w.changed.Notify()
}
