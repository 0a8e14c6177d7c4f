package sim

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"hm/internal/notify"
)

// timeline runs functions at set times, one after the other on one goroutine. Everything in the simulation that happens
// later (the end of a start, a crash, the end of staging) goes through it.
type timeline struct {
	mu      sync.Mutex
	events  events
	seq     uint64
	earlier notify.Signal // an event is due before all others
}

func newTimeline() *timeline { return &timeline{earlier: notify.New()} }

// after has fn run once d has passed. fn may take locks and must not block for long.
func (t *timeline) after(d time.Duration, fn func()) {
	t.mu.Lock()
	t.seq++
	heap.Push(&t.events, event{time.Now().Add(d), t.seq, fn})
	first := t.events[0].seq == t.seq
	t.mu.Unlock()
	if first {
		t.earlier.Notify()
	}
}

// run runs functions when they are due, until ctx ends.
func (t *timeline) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		t.mu.Lock()
		var fn func()
		if len(t.events) > 0 {
			if wait = time.Until(t.events[0].at); wait <= 0 {
				fn = heap.Pop(&t.events).(event).fn
			}
		}
		t.mu.Unlock()
		if fn != nil {
			if ctx.Err() != nil {
				return
			}
			fn()
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-t.earlier.C():
		case <-timer.C:
		}
	}
}

type event struct {
	at  time.Time
	seq uint64
	fn  func()
}

// events implements heap.Interface, earliest first.
type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	if n := h[i].at.Compare(h[j].at); n != 0 {
		return n < 0
	}
	return h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = event{}
	*h = (*h)[:last]
	return e
}
