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
		{"up, and a is heard: R43 not fresh yet", 10, func(now app.Time) { l.Link(true, now); l.Heard("a", true, now) }, false, nil},
		{"a beat on", 11, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"two beats on", 12, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"the window has passed: fresh, and b, which was never heard, is lost (R40)", 13, func(now app.Time) { l.Heard("a", true, now) }, true, []string{"b"}},
		{"no DEA is heard for a time to live: R44 not fresh, and none is lost", 16, nil, false, nil},
		{"R44 a DEA is heard: every time to live begins anew", 16, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"R44 a beat on", 17, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"R44 two beats on", 18, func(now app.Time) { l.Heard("a", true, now) }, false, nil},
		{"R44 the window has passed again", 19, func(now app.Time) { l.Heard("a", true, now) }, true, []string{"b"}},
		{"I4 the link goes down: all times to live stop", 20, func(now app.Time) { l.Link(false, now) }, false, nil},
		{"I4 a long outage", 10_000, nil, false, nil},
		{"I4 the link is back: every time to live starts anew in full", 10_001, func(now app.Time) { l.Link(true, now); l.Heard("b", true, now) }, false, nil},
		{"I4 a beat on", 10_002, func(now app.Time) { l.Heard("b", true, now) }, false, nil},
		{"I4 just before it ends", 10_003, func(now app.Time) { l.Heard("b", true, now) }, false, nil},
		{"a is lost after a full time to live since b came back, not before", 10_004, nil, true, []string{"a"}},
		{"after a gap the window begins anew", 10_005, func(now app.Time) { l.Link(true, now); l.Heard("a", true, now); l.Heard("b", true, now) }, false, nil},
		{"a beat after the gap", 10_006, func(now app.Time) { l.Heard("a", true, now); l.Heard("b", true, now) }, false, nil},
		{"two beats after the gap", 10_007, func(now app.Time) { l.Heard("a", true, now); l.Heard("b", true, now) }, false, nil},
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
	l.Heard("new", false, 1*beat) // never known: this is no return
	l.Heard("new", false, 2*beat)
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
		t.Errorf("a has until %d, want a time to live after it was last heard: %d", at, 6*beat)
	}
}

func TestSilentOfGivesTheNextTime(t *testing.T) {
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
		t.Errorf("no DEA was heard for two periods, yet silent are %v, the next one at %d", silent, next)
	}
}

// TestSilenceEndsKnowledge: a whole time to live without a heartbeat is like an outage, whether the link went down
// or not.
func TestSilenceEndsKnowledge(t *testing.T) {
	const second = app.Time(1000)
	known := slices.Values([]string{"a", "b"})
	begin := func() *Liveness {
		l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
		l.Link(true, 0)
		for now := 5 * second; now < 60*second; now += 10 * second {
			l.Heard("a", true, now)
			l.Heard("b", true, now+second)
		}
		if !l.Fresh(57 * second) {
			t.Fatal("not fresh, though both were heard all the time")
		}
		return l
	}
	fresh := func(l *Liveness, what string, at app.Time, want bool) {
		t.Helper()
		if got := l.Fresh(at); got != want {
			t.Errorf("%s: fresh is %v, want %v", what, got, want)
		}
	}
	silent := func(l *Liveness, what string, at app.Time, want ...string) {
		t.Helper()
		if got, _ := l.SilentOf(known, at); !slices.Equal(got, want) {
			t.Errorf("%s: silent are %v, want %v", what, got, want)
		}
	}
	t.Run("for a time to live, with the link up", func(t *testing.T) {
		l := begin()
		for now := 120 * second; now < 150*second; now += 10 * second {
			l.Heard("b", true, now)
			fresh(l, "within the window after the first heartbeat", now, false)
			silent(l, "within the time to live after the first heartbeat", now)
		}
		l.Heard("b", true, 149*second)
		fresh(l, "just before the window is over", 150*second-1, false)
		fresh(l, "when the window is over", 150*second, true)
		silent(l, "a time to live after the first heartbeat", 150*second, "a")
		if at := l.FreshAt(); at != 150*second {
			t.Errorf("fresh at %v, want %v", at, 150*second)
		}
	})
	t.Run("for a time to live, with the link down for a part of it", func(t *testing.T) {
		l := begin()
		l.Link(false, 60*second)
		l.Link(true, 70*second)
		l.Heard("b", true, 95*second) // 39 s after the last heartbeat
		l.Heard("b", true, 105*second)
		fresh(l, "a window after the link came back", 110*second, false)
		l.Heard("b", true, 115*second)
		fresh(l, "a window after the first heartbeat", 125*second, true)
	})
	t.Run("for less, with the link down for a part of it", func(t *testing.T) {
		l := begin()
		l.Link(false, 60*second)
		l.Link(true, 70*second)
		l.Heard("b", true, 80*second)
		l.Heard("a", true, 90*second)
		fresh(l, "just before the window of the link is over", 100*second-1, false)
		fresh(l, "when it is over", 100*second, true)
	})
	t.Run("the first heartbeat of a process", func(t *testing.T) {
		l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
		l.Link(true, 0)
		for now := 8 * second; now < 38*second; now += 10 * second {
			l.Heard("a", true, now)
		}
		fresh(l, "a window after the link came up", 30*second, false)
		fresh(l, "a window after the first heartbeat", 38*second, true)
		silent(l, "a time to live after the first heartbeat", 38*second, "b")
	})
	t.Run("a silence that is shorter than a time to live", func(t *testing.T) {
		l := begin()
		l.Heard("b", true, 84*second) // a is lost in a second: it was not heard for 29 s, and no DEA was for 28 s
		fresh(l, "the window goes on", 84*second, true)
		l.Heard("b", true, 94*second)
		silent(l, "the silence does not count for a", 94*second)
		l.Heard("b", true, 104*second)
		l.Heard("b", true, 114*second)
		silent(l, "a has been silent since for a time to live", 114*second, "a")
	})
}

// TestALateLinkStopsTheClocks: while messages are late no DEA counts as silent, and afterwards each of them
// has the whole time to live.
func TestALateLinkStopsTheClocks(t *testing.T) {
	l := NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
	l.Link(true, 0)
	known := slices.Values([]string{"a", "b"})
	for now := 0 * beat; now <= 4*beat; now += beat {
		l.Heard("a", true, now)
		l.Heard("b", true, now)
	}
	l.Late(true, 6*beat)
	for now := 5 * beat; now <= 20*beat; now += beat {
		l.Heard("a", true, now)
		if silent, _ := l.SilentOf(known, now); silent != nil {
			t.Fatalf("at %d silent are %v, while the link is late", now, silent)
		}
		if l.Silent("b", now) {
			t.Fatalf("at %d b is silent, while the link is late", now)
		}
	}
	l.Late(true, 20*beat) // noted again
	l.Late(false, 20*beat)
	l.Late(false, 21*beat)
	l.Heard("a", true, 21*beat)
	l.Heard("a", true, 22*beat)
	if silent, next := l.SilentOf(known, 23*beat-1); silent != nil || next != 23*beat {
		t.Errorf("silent are %v, the next one at %d, want b, a time to live after the link was no longer late", silent, next)
	}
	if silent, _ := l.SilentOf(known, 23*beat); !slices.Equal(silent, []string{"b"}) {
		t.Errorf("silent are %v, want b", silent)
	}
	if !l.Fresh(23 * beat) {
		t.Error("not fresh, though everything that was late has been heard")
	}
}

// TestSilenceCountsOnlyWhileDEAsCanBeHeard (I4).
func TestSilenceCountsOnlyWhileDEAsCanBeHeard(t *testing.T) {
	const period = 10 * time.Second
	at := func(s int) app.Time { return app.Time(1_700_000_000_000).Add(time.Duration(s) * time.Second) }
	l := NewLiveness(period, 3*period, 3*period, at(0))
	want := func(what string, now, from int) {
		t.Helper()
		if got := l.CountsFrom(at(now)); got != at(from) {
			t.Errorf("%s: it counts from %v on, want %v", what, got.Sub(at(0)), from)
		}
	}
	want("the link is down", 5, 5)
	l.Link(true, at(10))
	want("no DEA was heard", 15, 15)
	l.Heard("a", true, at(16))
	l.Heard("b", true, at(18))
	want("they return one by one", 20, 18)
	l.Heard("a", true, at(26))
	want("all have returned", 30, 18)
	want("no DEA was heard for a period", 37, 37)
	l.Heard("a", true, at(40))
	want("after a short silence", 41, 18)
	l.Late(true, at(45))
	want("the link is late", 46, 46)
	l.Late(false, at(48))
	want("it is in time again", 49, 48)
}
