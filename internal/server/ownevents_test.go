package server

import (
	"slices"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/journal"
	"hm/internal/reconcile"
)

// oldClock is the clock of a node that was started: it is behind until a leader tells the time.
type oldClock struct {
	now   app.Time
	knows bool
}

func (c *oldClock) Now() app.Time   { return c.now }
func (c *oldClock) KnowsTime() bool { return c.knows }

// TestEventsAtAStartWaitForTheTime: what a node sees before it hears a leader happens now, not when the newest entry was
// stamped.
func TestEventsAtAStartWaitForTheTime(t *testing.T) {
	const hour = 3_600_000
	var got []journal.Event
	clock := &oldClock{now: 10 * hour}
	o := newOwnEvents("hm-0", func(e journal.Event) { got = append(got, e) }, clock)
	began := time.Now()
	closed := func(reasons ...string) { o.overview(reconcile.Overview{GateReasons: reasons}, began) }
	closed("no-leader", "nats-down")
	began = began.Add(time.Second)
	closed("no-leader")
	if o.settle(began, false); len(got) != 0 {
		t.Fatalf("told before the time is known: %+v", got)
	}
	began = began.Add(time.Second)
	clock.now, clock.knows = 12*hour, true
	o.settle(began, false)
	o.settle(began, false)
	o.overview(reconcile.Overview{GateOpen: true}, began.Add(time.Second))
	var at []app.Time
	for _, e := range got {
		at = append(at, e.At)
	}
	if want := []app.Time{12*hour - 2000, 12*hour - 1000, 12 * hour}; !slices.Equal(at, want) {
		t.Errorf("told at %v, want %v", at, want)
	}
}

func TestEventsAtAStartAreKeptIfNobodyLed(t *testing.T) {
	var got []journal.Event
	o := newOwnEvents("hm-0", func(e journal.Event) { got = append(got, e) }, &oldClock{now: 100_000})
	at := time.Now()
	o.overview(reconcile.Overview{GateReasons: []string{"no-leader"}}, at)
	o.settle(at.Add(time.Second), false)
	if len(got) != 0 {
		t.Errorf("told at once: %+v", got)
	}
	o.settle(at.Add(timeWait), false)
	o.overview(reconcile.Overview{GateReasons: []string{"nats-down"}}, at.Add(timeWait))
	o.settle(at.Add(timeWait+time.Second), true)
	if len(got) != 2 || got[0].At != 40_000 || got[1].At != 99_000 {
		t.Errorf("%+v", got)
	}
}
