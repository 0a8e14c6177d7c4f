package liveview

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/internal/app"
)

// wallAt returns times of a wall clock, in milliseconds.
func wallAt(ms int) time.Time { return time.UnixMilli(5_000_000 + int64(ms)) }

func TestTempo(t *testing.T) {
	const start = app.Time(1_000_000)
	ms := time.Millisecond
	type ask struct {
		at   int // on the wall clock
		do   func(*tempo, time.Time)
		next app.Time // behind start
		want time.Duration
	}
	pause := func(t *tempo, now time.Time) { t.playOrPause(now) }
	faster := func(t *tempo, now time.Time) { t.scale(now, 2) }
	skip := func(t *tempo, now time.Time) { t.forward(now, 10*time.Second) }
	for name, tc := range map[string]struct {
		speed float64
		from  app.Time
		asks  []ask
	}{
		"ten times as fast": {10, 0, []ask{{0, nil, 1000, 100 * ms}, {40, nil, 1000, 60 * ms}, {100, nil, 1000, 0},
			{100, nil, 2000, 100 * ms}}},
		"a tenth as fast": {0.1, 0, []ask{{0, nil, 10, 100 * ms}, {100, nil, 10, 0}}},
		"a delay is caught up": {1, 0, []ask{{0, nil, 100, 100 * ms}, {200, nil, 100, 0}, {200, nil, 150, 0},
			{200, nil, 300, 100 * ms}}},
		"a long one is not": {1, 0, []ask{{0, nil, 100, 100 * ms}, {5000, nil, 100, 0}, {5000, nil, 150, 50 * ms}}},
		"too short to wait": {1000, 0, []ask{{0, nil, 500, 0}, {0, nil, 1100, 1100 * time.Microsecond}}},
		"a pause": {1, 0, []ask{{0, nil, 100, 100 * ms}, {60, pause, 100, forever}, {900, nil, 100, forever},
			{900, pause, 100, 40 * ms}}},
		"a pause where it is": {1, 0, []ask{{0, nil, 100, 100 * ms}, {100, nil, 100, 0}, {100, pause, 100, 0},
			{100, nil, 101, forever}}},
		"another speed from here": {1, 0, []ask{{0, nil, 100, 100 * ms}, {50, faster, 100, 25 * ms}}},
		"another speed in a pause": {1, 0, []ask{{0, nil, 100, 100 * ms}, {50, pause, 100, forever},
			{70, faster, 100, forever}, {80, pause, 100, 25 * ms}}},
		"as fast as possible": {1, 0, []ask{{0, nil, 4, 4 * ms}, {0, skip, 4, 0}, {1, nil, 9999, 0},
			{2, nil, 10_500, 500 * ms}, {3, nil, 10_500, 499 * ms}}},
		"twice as far": {1, 0, []ask{{0, nil, 4, 4 * ms}, {0, skip, 4, 0}, {1, skip, 19_999, 0},
			{1, nil, 20_100, 100 * ms}}},
		"forward in a pause": {1, 0, []ask{{0, nil, 4, 4 * ms}, {0, pause, 4, forever}, {9, skip, 10_000, 0},
			{9, nil, 10_001, forever}}},
		"a pause during a skip": {1, 0, []ask{{0, nil, 4, 4 * ms}, {0, skip, 4000, 0}, {9, pause, 4000, 0},
			{9, nil, 4001, forever}}},
		"skip to from": {1, start + 60_000,
			[]ask{{0, nil, 59_000, 0}, {3, nil, 60_000, 0}, {3, nil, 60_100, 100 * ms}}},
		"from before the start":    {1, start - 60_000, []ask{{0, nil, 100, 100 * ms}}},
		"no faster than the limit": {MaxSpeed, 0, []ask{{0, faster, 2_000_000, 2 * ms}}},
	} {
		t.Run(name, func(t *testing.T) {
			tempo := newTempo(tc.speed, start, tc.from)
			for i, a := range tc.asks {
				if a.do != nil {
					a.do(&tempo, wallAt(a.at))
				}
				if got := tempo.wait(wallAt(a.at), start+a.next); got != a.want {
					t.Errorf("ask %d: at %d ms it waits for %v, want %v", i, a.at, got, a.want)
				}
			}
		})
	}
}

// Whatever keys are pressed, the recording's time never goes back, and is never ahead of what has been played.
func TestTempoNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tempo := newTempo(rapid.Float64Range(MinSpeed, MaxSpeed).Draw(t, "speed"), 1000,
			app.Time(rapid.Int64Range(0, 5000).Draw(t, "from")))
		wall, next, last := time.UnixMilli(1), app.Time(1000), app.Time(0)
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			wall = wall.Add(time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "passes")))
			switch rapid.IntRange(0, 5).Draw(t, "does") {
			case 0:
				tempo.playOrPause(wall)
			case 1:
				tempo.scale(wall, rapid.SampledFrom([]float64{0.5, 2}).Draw(t, "factor"))
			case 2:
				tempo.forward(wall, time.Second)
			default:
				if tempo.wait(wall, next) == 0 {
					next += app.Time(rapid.Int64Range(1, 100_000).Draw(t, "gap"))
					tempo.wait(wall, next)
				}
			}
			if tempo.speed < MinSpeed || tempo.speed > MaxSpeed {
				t.Fatalf("the speed is %v", tempo.speed)
			}
			at := tempo.position(wall)
			if at < last || at > next {
				t.Fatalf("the time is %d after %d, with the player before %d", at, last, next)
			}
			last = at
		}
	})
}
