package commands

import (
	"cmp"
	"slices"
	"time"

	"hm/internal/app"
)

// Sort sorts due commands into the order in which they are claimed: starts before stops; evacuations before other
// starts; then by due time in whole periods; then the app that misses the larger share of its instances first (R51).
// The order is total.
func Sort(due []Command, period time.Duration) {
	slices.SortFunc(due, func(a, b Command) int { return Order(a, b, period) })
}

// Order compares two due commands in the order of Sort.
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

	claimed [2][]app.Time // when starts and stops were claimed within the last period, oldest first
}

// Allow reports whether one more command of action a may be claimed at now. If so, it counts the command.
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

// Next is when a command of action a may be claimed that was refused at now.
func (t *Throttle) Next(a Action, now app.Time) app.Time {
	times, limit := t.window(a, now)
	if limit <= 0 || len(*times) < limit {
		return now
	}
	return (*times)[len(*times)-limit].Add(t.Period) // there may be more than the limit, if the limit was lowered
}

// Seed counts a command that another leader claimed at a time. Calls must be in the order of time.
func (t *Throttle) Seed(a Action, at app.Time) {
	if times, limit := t.window(a, at); limit > 0 {
		*times = append(*times, at)
	}
}

// window drops the times that are a period old or older, and gives the rest and the limit.
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
