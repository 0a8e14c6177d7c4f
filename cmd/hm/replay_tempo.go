package main

import (
	"math"
	"time"

	"hm/internal/app"
)

// tempo says when the clock of a replay may move on: so many times as fast as it happened, not at all, or as fast as it
// can to some moment. It is pure: now is the wall clock's time, of which only differences count.
type tempo struct {
	speed  float64
	paused bool
	skip   app.Time // as fast as it can to here; 0: not at all

	at    app.Time  // the recording's time at since
	since time.Time // zero until the replay begins
	next  app.Time  // where the replay's clock is to move next: it has not come further than that
}

// The limits of the speed.
const (
	minSpeed = 0.01
	maxSpeed = 1e6
)

// maxLag is how far behind its tempo a replay may fall and still catch up. What a slow machine, or a process that was
// stopped, misses beyond it is not made up for: that would play what one wants to watch as fast as it can.
const maxLag = 250 * time.Millisecond

// leastHold is the shortest time that is worth waiting; the rest is added to the next one.
const leastHold = time.Millisecond

// forever is how long a replay is held that is paused.
const forever = time.Duration(math.MaxInt64)

// newTempo begins at a moment of the recording, when hold is first asked. What is before from is played as fast as it
// can.
func newTempo(speed float64, at, from app.Time) tempo {
	t := tempo{speed: speed, at: at, next: at}
	if from > at {
		t.skip = from
	}
	return t
}

// hold tells for how long the replay's clock may not move to next yet.
func (t *tempo) hold(now time.Time, next app.Time) time.Duration {
	if t.since.IsZero() {
		t.since = now
	}
	t.next = next
	if t.skip != 0 {
		if next <= t.skip {
			return 0
		}
		t.at, t.since, t.skip = t.skip, now, 0
	}
	if t.paused {
		if next <= t.at {
			return 0
		}
		return forever
	}
	ahead := time.Duration(float64(next.Sub(t.clock(now))) / t.speed)
	if ahead < -maxLag {
		t.at, t.since = next, now
	}
	if ahead < leastHold {
		return 0
	}
	return ahead
}

// clock is what the recording's time would be if the replay kept up.
func (t *tempo) clock(now time.Time) app.Time {
	if t.paused || t.since.IsZero() {
		return t.at
	}
	return t.at + app.Time(float64(now.Sub(t.since))/float64(time.Millisecond)*t.speed)
}

// position is the recording's time.
func (t *tempo) position(now time.Time) app.Time {
	if t.skip != 0 {
		return min(t.skip, t.next)
	}
	return min(t.clock(now), t.next)
}

// anchor lets what changes from now on count from here.
func (t *tempo) anchor(now time.Time) {
	if !t.since.IsZero() {
		t.at, t.since = t.position(now), now
	}
}

// scale changes the speed by a factor.
func (t *tempo) scale(now time.Time, by float64) {
	t.anchor(now)
	t.speed = min(max(t.speed*by, minSpeed), maxSpeed)
}

// playOrPause stops the clock, or lets it go on. It ends a skip, to stand there.
func (t *tempo) playOrPause(now time.Time) {
	t.anchor(now)
	t.paused, t.skip = t.skip != 0 || !t.paused, 0
}

// forward has the replay go on for d as fast as it can, behind what it skips to already.
func (t *tempo) forward(now time.Time, d time.Duration) {
	t.skip = max(t.position(now), t.skip).Add(d)
}
