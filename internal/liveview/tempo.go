package liveview

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"hm/internal/app"
)

// The limits of the speed of a replay: times as fast as it happened.
const (
	MinSpeed = 0.01
	MaxSpeed = 1e6
)

// ParseSpeed reads a speed from MinSpeed to MaxSpeed, with or without an x after it: "10x", "0.5".
func ParseSpeed(text string) (float64, error) {
	speed, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(speed >= MinSpeed && speed <= MaxSpeed) {
		return 0, fmt.Errorf("%.20q is not a speed", text)
	}
	return speed, nil
}

// tempo decides when the clock of a replay may advance: at a given speed, not at all while paused, or as fast as
// possible while it skips. It is pure: now is the time of the wall clock, of which only differences count.
type tempo struct {
	speed  float64
	paused bool
	skipTo app.Time // play as fast as possible up to this time; 0: do not skip

	at    app.Time  // the recording's time at the wall clock's time since
	since time.Time // zero until the replay begins
	next  app.Time  // where the replay's clock will advance to; it has not passed this time
}

// maxLag is how far behind its tempo a replay may fall and still catch up. A longer delay, of a slow machine or a
// suspended process, is not caught up: the replay would rush through what the viewer wants to watch.
const maxLag = 250 * time.Millisecond

// minWait is the shortest time that is worth waiting. A shorter one is added to the next wait.
const minWait = time.Millisecond

// forever is how long a paused replay waits.
const forever = time.Duration(math.MaxInt64)

// newTempo makes a tempo that begins at a time of the recording when wait is first called. It skips to from, if that
// is later.
func newTempo(speed float64, at, from app.Time) tempo {
	t := tempo{speed: speed, at: at, next: at}
	if from > at {
		t.skipTo = from
	}
	return t
}

// wait returns how long the replay must still wait before its clock advances to next.
func (t *tempo) wait(now time.Time, next app.Time) time.Duration {
	if t.since.IsZero() {
		t.since = now
	}
	t.next = next
	if t.skipTo != 0 {
		if next <= t.skipTo {
			return 0
		}
		t.at, t.since, t.skipTo = t.skipTo, now, 0
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
	if ahead < minWait {
		return 0
	}
	return ahead
}

// clock returns the recording's time for a replay that keeps up.
func (t *tempo) clock(now time.Time) app.Time {
	if t.paused || t.since.IsZero() {
		return t.at
	}
	return t.at + app.Time(float64(now.Sub(t.since))/float64(time.Millisecond)*t.speed)
}

// position returns the recording's time.
func (t *tempo) position(now time.Time) app.Time {
	if t.skipTo != 0 {
		return min(t.skipTo, t.next)
	}
	return min(t.clock(now), t.next)
}

// anchor makes later changes count from the present position.
func (t *tempo) anchor(now time.Time) {
	if !t.since.IsZero() {
		t.at, t.since = t.position(now), now
	}
}

// scale multiplies the speed by a factor, within the limits.
func (t *tempo) scale(now time.Time, by float64) {
	t.anchor(now)
	t.speed = min(max(t.speed*by, MinSpeed), MaxSpeed)
}

// playOrPause pauses the clock or continues it. During a skip it ends the skip and pauses.
func (t *tempo) playOrPause(now time.Time) {
	t.anchor(now)
	t.paused, t.skipTo = t.skipTo != 0 || !t.paused, 0
}

// forward skips d ahead, from the present position or from the end of a skip that is under way.
func (t *tempo) forward(now time.Time, d time.Duration) {
	t.skipTo = max(t.position(now), t.skipTo).Add(d)
}
