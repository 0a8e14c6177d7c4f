package watch

import (
	"context"
	"strings"
	"time"

	"hm/internal/api"
)

// Pauses before the events are followed again: they double from the first to the last.
const (
	firstReconnect = 250 * time.Millisecond
	lastReconnect  = 5 * time.Second
)

// follow takes in the events of the cluster until ctx ends. After the end of a connection it goes on at the node that
// is asked then. Events that it misses meanwhile come with the next connection, since all nodes have the same history.
func (w *Watcher) follow(ctx context.Context) {
	wait := firstReconnect
	after := ""
	for ctx.Err() == nil {
		client := w.node().Client
		if after == "" {
			after = w.newestEvents(ctx, client)
		}
		if after != "" {
			next, err := client.FollowEvents(ctx, api.EventQuery{}, after, func(e api.Event) error { w.takeEvent(e); return nil })
			if next != after {
				wait = firstReconnect
			}
			after = next
			if _, refused := err.(*api.Problem); refused {
				after = "" // the node does not know this place in the history: begin again
			}
		}
		pause(ctx, wait)
		wait = min(2*wait, lastReconnect)
	}
}

// newestEvents takes in the newest events, and returns the id after which to follow; empty if there is no answer.
func (w *Watcher) newestEvents(ctx context.Context, client *api.Client) string {
	l, err := timed(ctx, w, func(ctx context.Context) (api.EventList, error) {
		return client.Events(ctx, api.EventQuery{}, maxEvents)
	})
	if err != nil {
		return ""
	}
	for _, e := range l.Items {
		w.takeEvent(e)
	}
	return l.LastID
}

// takeEvent takes in an event, unless it is known.
func (w *Watcher) takeEvent(e api.Event) {
	shown := eventOf(e)
	w.mu.Lock()
	known := w.known[shown.ID]
	if !known {
		w.known[shown.ID] = true
		w.happened = append(w.happened, shown)
		if len(w.happened) > 2*maxEvents { // forget half of them at once, so that it costs little
			for _, old := range w.happened[:maxEvents] {
				delete(w.known, old.ID)
			}
			w.happened = append(w.happened[:0:0], w.happened[maxEvents:]...)
		}
		w.count(shown)
	}
	w.mu.Unlock()
	if known {
		return
	}
	w.changed.Notify()
	switch subject, _, _ := strings.Cut(e.Kind, "."); subject {
	case "command", "instance":
	default:
		w.wake.Notify() // the status has changed
	}
}
