package replay

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/diff"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// Watching a replay and taking snapshots does not change its result.
func TestSnapshotsChangeNothing(t *testing.T) {
	for name, path := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := recording.Files(path)
			if err != nil {
				t.Fatal(err)
			}
			every, reacts := 1, []*React{nil, {}}
			if strings.HasPrefix(name, "large-") {
				every = 500
				if underRace { // snapshots are taken on the player's goroutine, so there is little to find
					reacts = reacts[:1]
				}
			}
			for _, react := range reacts {
				opts := optionsFor(t, files...)
				opts.React = react
				want, err := Run(t.Context(), opts, files...)
				if err != nil {
					t.Fatal(err)
				}
				var before app.Time
				var last Snapshot
				calls := 0
				opts.Pace = func(next app.Time, take func() Snapshot) error {
					if next < before {
						t.Errorf("the clock moves from %v back to %v", before, next)
					}
					before = next
					if calls++; calls%every == 0 || next > app.Time(want.Ended) {
						last = take()
					}
					return nil
				}
				opts.Watch = func(TimelineEvent) {}
				opts.Progress = func(int64, *Result) error { return nil }
				got, err := Run(t.Context(), opts, files...)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.JSON(), want.JSON()) {
					t.Errorf("with snapshots the result is\n%s\nwant\n%s", got.JSON(), want.JSON())
				}
				checkLast(t, last, got)
			}
		})
	}
}

// checkLast compares the last snapshot with the result: both have the state at the end.
func checkLast(t *testing.T, g Snapshot, r Result) {
	t.Helper()
	drift := map[string]int{}
	for i := range r.Drift {
		drift[r.Drift[i].Kind]++
	}
	for kind, n := range g.Drift {
		if name := diff.Kind(kind).String(); drift[name] != n {
			t.Errorf("the last snapshot has %d findings of kind %q, the result %d", n, name, drift[name])
		}
	}
	gate := r.Gate[len(r.Gate)-1]
	if o := g.Overview; o.GateOpen != gate.Open || !slices.Equal(o.GateReasons, gate.Reasons) {
		t.Errorf("at the end the gate is %v %v, in the result %v %v", o.GateOpen, o.GateReasons, gate.Open, gate.Reasons)
	}
	if c := g.Counts; int(c.SentStarts) != r.Totals.Starts || int(c.SentStops) != r.Totals.Stops {
		t.Errorf("at the end %d starts and %d stops are sent, in the result %d and %d", c.SentStarts, c.SentStops, r.Totals.Starts, r.Totals.Stops)
	}
}

// A snapshot has the newest commands, sorted.
func TestSnapshotHasTheNewestCommands(t *testing.T) {
	files, err := recording.Files(corpus(t)["large-zone-lost"])
	if err != nil {
		t.Fatal(err)
	}
	opts := optionsFor(t, files...)
	most := 0
	calls := 0
	opts.Pace = func(_ app.Time, take func() Snapshot) error {
		if calls++; calls%20 != 0 {
			return nil
		}
		g := take()
		if len(g.Outstanding) > snapshotCommands || len(g.Ended) > snapshotCommands {
			t.Errorf("%d outstanding and %d ended commands are more than a screen needs", len(g.Outstanding), len(g.Ended))
		}
		most = max(most, len(g.Outstanding))
		for i := 1; i < len(g.Outstanding); i++ {
			a, b := g.Outstanding[i-1], g.Outstanding[i]
			if max(a.CreatedAt, a.SentAt) < max(b.CreatedAt, b.SentAt) {
				t.Errorf("command %d of a snapshot is older than the next", i-1)
			}
		}
		return nil
	}
	if _, err := Run(t.Context(), opts, files...); err != nil {
		t.Fatal(err)
	}
	if most < snapshotCommands {
		t.Errorf("at most %d commands were outstanding, so this test does not reach the limit", most)
	}
}

// A stopped replay has the result up to then.
func TestStop(t *testing.T) {
	files, err := recording.Files(corpus(t)["outage-dea-lost"])
	if err != nil {
		t.Fatal(err)
	}
	opts := optionsFor(t, files...)
	whole, err := Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]app.Time{
		"at once":         app.Time(whole.Started),
		"in the middle":   app.Time(whole.Commands[0].At),
		"after the end":   app.Time(whole.Ended).Add(time.Second),
		"at the very end": app.Time(whole.Ended).Add(settlePeriods * opts.Reconcile.Policy.HeartbeatPeriod),
	} {
		t.Run(name, func(t *testing.T) {
			opts := opts
			var stopped app.Time
			opts.Pace = func(next app.Time, take func() Snapshot) error {
				if next <= at {
					return nil
				}
				stopped = take().Overview.At
				return ErrStop
			}
			got, err := Run(t.Context(), opts, files...)
			if err != nil {
				t.Fatal(err)
			}
			want := whole.Commands
			if stopped != 0 {
				want = slices.DeleteFunc(slices.Clone(want), func(c Command) bool { return app.Time(c.At) > stopped })
				if ended := min(stopped, app.Time(whole.Ended)); app.Time(got.Ended) != ended {
					t.Errorf("it ended at %v, want %v", got.Ended, ended)
				}
			}
			if !slices.Equal(got.Commands, want) || got.Totals.Starts != len(want) {
				t.Errorf("stopped at %v it has %d starts, commands %v, want %v", stopped, got.Totals.Starts, got.Commands, want)
			}
		})
	}
}

func TestUntilBeforeTheStart(t *testing.T) {
	opts := optionsForTests()
	opts.Until = app.TimeOf(time.Date(2026, 1, 15, 11, 59, 59, 0, time.UTC))
	_, err := Run(t.Context(), opts, recording.Text("f", []byte(recordingtest.HeaderLine+recordingtest.DesiredLine)))
	if want := "until 2026-01-15T11:59:59.000Z: the recording begins at 2026-01-15T12:00:00.000Z"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

// Any other error of Pace is the error of the replay.
func TestPaceFails(t *testing.T) {
	files, err := recording.Files(corpus(t)["R01-missing"])
	if err != nil {
		t.Fatal(err)
	}
	opts := optionsFor(t, files...)
	for _, last := range []bool{false, true} {
		opts.Pace = func(next app.Time, take func() Snapshot) error {
			if last && take().Overview.At < next {
				return nil
			}
			return context.DeadlineExceeded
		}
		if _, err := Run(t.Context(), opts, files...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the end: %v: the error is %v", last, err)
		}
	}
}
