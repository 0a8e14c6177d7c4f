package actual

import (
	"slices"
	"testing"
	"time"

	"hm/internal/app"
)

const beat = app.Time(10_000)

func TestLiveness(t *testing.T) {
	start := app.Time(1_000_000)
	l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, start)
	steps := []struct {
		name  string
		at    app.Time // in heartbeats since start
		do    func(now app.Time)
		fresh bool
		lost  []string
	}{
		{"down from the start: nothing is fresh, nothing expires", 10, nil, false, nil},
		{"up, and a speaks: R43 not fresh yet", 10, func(now app.Time) { l.Link(true, now); l.Heard("a", true, now) }, false, nil},
		{"two beats on", 12, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"the window has passed: fresh, and b, which never spoke, is lost (R40)", 13, func(now app.Time) { l.Heard("a", true, now) }, true, []string{"b"}},
		{"nobody speaks for a time to live: R44 not fresh, and nobody is lost", 16, nil, false, nil},
		{"somebody speaks", 16, func(now app.Time) { l.Heard("a", true, now) }, true, []string{"b"}},
		{"I4 the link goes: all clocks stop", 17, func(now app.Time) { l.Link(false, now) }, false, nil},
		{"I4 a long outage", 10_000, nil, false, nil},
		{"I4 the link is back: every time to live starts anew in full", 10_001, func(now app.Time) { l.Link(true, now); l.Heard("b", true, now) }, false, nil},
		{"I4 just before it ends", 10_003, func(now app.Time) { l.Heard("b", true, now) }, false, nil},
		{"a is lost after a full time to live since b came back, not before", 10_004, nil, true, []string{"a"}},
		{"a gap in what was heard starts a new spell", 10_005, func(now app.Time) { l.Link(true, now) }, false, nil},
		{"fresh again a window later", 10_008, func(now app.Time) { l.Heard("a", true, now); l.Heard("b", true, now) }, true, nil},
	}
	for _, s := range steps {
		now := start + s.at*beat
		if s.do != nil {
			s.do(now)
		}
		if got := l.Fresh(now); got != s.fresh {
			t.Errorf("%s: fresh is %v, want %v", s.name, got, s.fresh)
		}
		if got, _ := l.SilentOf(slices.Values([]string{"b", "a"}), now); !slices.Equal(got, s.lost) {
			t.Errorf("%s: silent are %v, want %v", s.name, got, s.lost)
		}
	}
	if l.Fresh(start + 10_008*beat - 1) {
		t.Error("fresh a millisecond before the window has passed")
	}
}

func TestReturningDEAsGiveTheOthersTime(t *testing.T) {
	l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
	l.Link(true, 1*beat)
	l.Heard("new", false, 3*beat) // never known: nobody's return
	l.Heard("a", true, 2*beat)
	l.Heard("a", true, 3*beat) // not for the first time
	if at, _ := l.Deadline("b"); at != 5*beat {
		t.Errorf("b has until %d, want a time to live after a's return: %d", at, 5*beat)
	}
	l.Heard("c", true, 4*beat)
	if at, _ := l.Deadline("b"); at != 7*beat {
		t.Errorf("b has until %d, want a time to live after c's return: %d", at, 7*beat)
	}
	if at, _ := l.Deadline("a"); at != 6*beat {
		t.Errorf("a has until %d, want a time to live after its newest word: %d", at, 6*beat)
	}
}

func TestSilentOfTellsWhoIsNext(t *testing.T) {
	l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
	l.Link(true, 0)
	l.Heard("a", true, 1*beat)
	l.Heard("b", true, 2*beat)
	l.Heard("c", true, 3*beat)
	silent, next := l.SilentOf(slices.Values([]string{"c", "b", "a"}), 4*beat)
	if !slices.Equal(silent, []string{"a"}) || next != 5*beat {
		t.Errorf("silent are %v, the next one at %d, want a, and b at %d", silent, next, 5*beat)
	}
	if silent, next := l.SilentOf(slices.Values([]string{"c", "b", "a"}), 5*beat); silent != nil || next != 0 {
		t.Errorf("nobody spoke for two periods, yet silent are %v, the next one at %d", silent, next)
	}
}
