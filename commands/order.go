package commands

import (
	"cmp"
	"slices"
	"time"

	"hm/internal/app"
)

// Sort puts due commands into the order in which they are claimed: starts before stops; evacuations first; then
// what was due first, in whole periods; then the app that misses the larger share of its instances (R51). The
// order is total.
func Sort(due []Command, period time.Duration) {
	slices.SortFunc(due, func(a, b Command) int { return Order(a, b, period) })
}

// Order compares two due commands by the order of Sort.
func Order(a, b Command, period time.Duration) int {
	slot := func(c Command) app.Time {
		if c.Priority >= 2 || period < time.Millisecond {
			return 0
		}
		return c.DueAt / app.Time(period/time.Millisecond)
	}
	return cmp.Or(
		cmp.Compare(a.Action, b.Action),
		cmp.Compare(slot(a), slot(b)),
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(a.DueAt, b.DueAt),
		a.Compare(b),
	)
}

// Throttle limits how many commands are claimed in any one heartbeat period (policy.start_limit and stop_limit;
// 0 means no limit). It is not safe for concurrent use.
type Throttle struct {
	StartLimit, StopLimit int
	Period                time.Duration

	claimed [2][]app.Time // when the newest starts and stops were claimed, oldest first
}

// Allow reports whether one more command of this action may be claimed at now, and counts it if so.
func (t *Throttle) Allow(a Action, now app.Time) bool {
	times, limit := t.window(a, now)
	if limit > 0 && len(*times) >= limit {
		return false
	}
	if limit > 0 {
		*times = append(*times, now)
	}
	return true
}

// Next is when a command of this action, refused at now, may be claimed.
func (t *Throttle) Next(a Action, now app.Time) app.Time {
	times, limit := t.window(a, now)
	if limit <= 0 || len(*times) < limit {
		return now
	}
	return (*times)[len(*times)-limit].Add(t.Period) // more than the limit may have been seeded, if it was lowered
}

// Seed counts a command that another leader claimed at at. Calls must come in the order of time.
func (t *Throttle) Seed(a Action, at app.Time) {
	if times, limit := t.window(a, at); limit > 0 {
		*times = append(*times, at)
	}
}

// window drops what is older than one period.
func (t *Throttle) window(a Action, now app.Time) (*[]app.Time, int) {
	times, limit := &t.claimed[0], t.StartLimit
	if a == Stop {
		times, limit = &t.claimed[1], t.StopLimit
	}
	old := 0
	for old < len(*times) && now.Sub((*times)[old]) >= t.Period {
		old++
	}
	*times = slices.Delete(*times, 0, old)
	return times, limit
}
