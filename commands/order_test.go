package commands_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/commands"
	"hm/internal/app"
)

const heartbeat = 10 * time.Second

func TestSortOrder(t *testing.T) {
	at := func(d time.Duration) app.Time { return (t0 / 10_000 * 10_000).Add(d) } // the start of a period
	cmd := func(a commands.Action, index uint32, due time.Duration, priority float64) commands.Command {
		return commands.Command{App: key, Action: a, Index: index, DueAt: at(due), Priority: priority}
	}
	want := []commands.Command{
		cmd(commands.Start, 9, 25*time.Second, 2), // R51 evacuations first, whatever their time
		cmd(commands.Start, 8, time.Second, 0.9),  // then by period, and in a period the app that misses the larger share
		cmd(commands.Start, 7, 2*time.Second, 0.5),
		cmd(commands.Start, 6, 3*time.Second, 0.5),
		cmd(commands.Start, 4, 3*time.Second, 0.1),
		cmd(commands.Start, 5, 3*time.Second, 0.1),
		cmd(commands.Start, 3, 11*time.Second, 1),
		cmd(commands.Stop, 0, -time.Hour, 0), // W32 stops after starts, oldest first
		cmd(commands.Stop, 1, 0, 0),
	}
	rapid.Check(t, func(t *rapid.T) {
		got := rapid.Permutation(want).Draw(t, "order")
		commands.Sort(got, heartbeat)
		if !slices.Equal(got, want) {
			t.Fatalf("sorted: %v\nwant: %v", got, want)
		}
	})
}

func drawAny(t *rapid.T) commands.Command {
	c := commands.Command{
		App:      app.Key{Droplet: app.MustGUID(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "droplet")), Version: app.MustGUID("v")},
		Action:   rapid.SampledFrom([]commands.Action{commands.Start, commands.Stop}).Draw(t, "action"),
		Index:    rapid.Uint32Range(0, 3).Draw(t, "index"),
		DueAt:    app.Time(rapid.Int64Range(0, 50_000).Draw(t, "due")),
		Priority: rapid.SampledFrom([]float64{0, 0.5, 1, 2}).Draw(t, "priority"),
	}
	if c.Action == commands.Stop {
		c.Instance = app.MustGUID(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "instance"))
	}
	return c
}

// TestSortIsATotalOrder holds that the order does not depend on the order before, for any commands that may be
// outstanding together: no two for one target.
func TestSortIsATotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cmds := rapid.SliceOfDistinct(rapid.Custom(drawAny), func(c commands.Command) commands.Command {
			return commands.Command{App: c.App, Action: c.Action, Index: c.Index, Instance: c.Instance}
		}).Draw(t, "commands")
		period := rapid.SampledFrom([]time.Duration{0, time.Microsecond, 100 * time.Millisecond, heartbeat}).Draw(t, "period")
		a, b := slices.Clone(cmds), rapid.Permutation(cmds).Draw(t, "order")
		commands.Sort(a, period)
		commands.Sort(b, period)
		if !slices.Equal(a, b) {
			t.Fatalf("%v\n%v", a, b)
		}
		for i := 1; i < len(a); i++ {
			if a[i].Action < a[i-1].Action {
				t.Fatalf("a stop before a start: %v", a)
			}
		}
	})
}

// TestThrottle holds that no window of one period sees more than the limit, that Next is the moment at which a
// refused command is allowed and not later, and that starts and stops do not take each other's room.
func TestThrottle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		th := commands.Throttle{StartLimit: rapid.IntRange(0, 5).Draw(t, "starts"), StopLimit: rapid.IntRange(0, 5).Draw(t, "stops"), Period: heartbeat}
		limits := map[commands.Action]int{commands.Start: th.StartLimit, commands.Stop: th.StopLimit}
		allowed := map[commands.Action][]app.Time{}
		now := t0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 6000).Draw(t, "ms")) * time.Millisecond)
			a := rapid.SampledFrom([]commands.Action{commands.Start, commands.Stop}).Draw(t, "action")
			window := 0
			for _, at := range allowed[a] {
				if now.Sub(at) < heartbeat {
					window++
				}
			}
			seeds := limits[a] > 0 && window < limits[a] && rapid.IntRange(0, 5).Draw(t, "seed") == 0
			next := th.Next(a, now)
			switch {
			case seeds:
				th.Seed(a, now)
				allowed[a] = append(allowed[a], now)
			case th.Allow(a, now):
				if next != now {
					t.Fatalf("allowed at %d, but Next said %d", now, next)
				}
				allowed[a] = append(allowed[a], now)
				if window++; limits[a] > 0 && window > limits[a] {
					t.Fatalf("%d of %v within one period, the limit is %d", window, a, limits[a])
				}
			case limits[a] == 0 || window < limits[a]:
				t.Fatalf("refused with %d of %d taken", window, limits[a])
			case next <= now || next.Sub(now) > heartbeat:
				t.Fatalf("refused at %d, Next says %d", now, next)
			}
		}
	})
}

func TestThrottleAfterItsLimitWasLowered(t *testing.T) {
	th := commands.Throttle{StartLimit: 2, Period: heartbeat}
	for i := range 4 {
		th.Seed(commands.Start, t0.Add(time.Duration(i)*time.Second))
	}
	now := t0.Add(4 * time.Second)
	if th.Allow(commands.Start, now) {
		t.Fatal("a fifth within one period was allowed")
	}
	if got, want := th.Next(commands.Start, now), t0.Add(12*time.Second); got != want {
		t.Errorf("Next is %v, want %v: when the third leaves the window", got, want)
	}
	if th.Allow(commands.Start, t0.Add(12*time.Second-time.Millisecond)) || !th.Allow(commands.Start, t0.Add(12*time.Second)) {
		t.Error("Allow does not agree with Next")
	}
}
