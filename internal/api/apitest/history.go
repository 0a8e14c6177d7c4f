package apitest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"hm/internal/journal"
	"hm/raftfsm"
)

// History is the history of a fake node, in memory. It is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	events  []journal.Event
	changed chan struct{}
	err     error
}

// NewHistory returns an empty history.
func NewHistory() *History { return &History{changed: make(chan struct{})} }

// Applied adds the events of an entry.
func (h *History) Applied(index uint64, r raftfsm.Result) {
	events := journal.EventsOf(r.Facts, r.At)
	for i := range events {
		events[i].ID.Position = journal.Position{Index: index, Ordinal: uint32(i)}
	}
	h.Add(events...)
}

// Add adds events with their IDs. They must come in order.
func (h *History) Add(events ...journal.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
	close(h.changed)
	h.changed = make(chan struct{})
}

// Fail lets Events fail with err.
func (h *History) Fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	close(h.changed)
	h.changed = make(chan struct{})
}

// Events gives what the query selects.
func (h *History) Events(ctx context.Context, q journal.Query) (events []journal.Event, more bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := errors.Join(ctx.Err(), h.err); err != nil {
		return nil, false, err
	}
	for _, e := range h.events {
		if (q.After == journal.ID{} || e.ID.Compare(q.After) > 0) && e.At >= q.Since && (q.App.IsZero() || e.App.Droplet == q.App) &&
			(q.DEA == "" || e.DEA == q.DEA) && (len(q.Kinds) == 0 || slices.ContainsFunc(q.Kinds, func(k string) bool {
			return string(e.Kind) == k || strings.HasPrefix(string(e.Kind), k+".")
		})) {
			events = append(events, e)
		}
	}
	if q.Limit > 0 && len(events) > q.Limit {
		if q.Newest {
			return events[len(events)-q.Limit:], true, nil
		}
		return events[:q.Limit], true, nil
	}
	return events, false, nil
}

// Changed gives a channel that is closed when events are added.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// AwaitStored never waits: everything is stored.
func (h *History) AwaitStored(context.Context, uint64) error { return nil }
