package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSoak runs a soak for HM_SOAK_MINUTES, or nothing if that is not set: `make soak` sets it. The nodes are built with
// the race detector. It prints the figures of each node every minute.
func TestSoak(t *testing.T) {
	minutes := number(t, "HM_SOAK_MINUTES", 0)
	if minutes == 0 {
		t.Skip("the soak runs for an hour: use make soak MINUTES=60")
	}
	t.Setenv("HM_CHAOS_RACE", "1")
	s := settings(t, buildHM(t, false, nil), false)
	if os.Getenv("HM_CHAOS_PERIOD") == "" {
		s.Period = time.Second
	}
	s.SmallDisks = false
	s.Periods = float64(minutes) * float64(time.Minute) / float64(s.Period)
	out := os.Stderr // so that they are seen while the soak runs
	fmt.Fprintln(out, FiguresHead)
	seed := number(t, "HM_CHAOS_SEED", 1)
	r, err := Soak(t.Context(), s, seed, func(f Figures) { fmt.Fprintln(out, f) })
	kept := filepath.Join(os.TempDir(), "hm-soak")
	if err != nil {
		t.Fatalf("%v\n%s", err, keep(s.Dir, kept, seed))
	}
	for _, v := range r.Violations {
		t.Error(v)
	}
	for _, text := range r.Grown {
		t.Error(text)
	}
	if len(r.Figures) < int(minutes) {
		t.Errorf("%d minutes gave %d lines of figures", minutes, len(r.Figures))
	}
	if t.Failed() {
		t.Logf("what was done:\n  %s\n%s", strings.Join(r.Done, "\n  "), keep(s.Dir, kept, seed))
	}
	starts, stops := 0, 0
	for _, c := range r.Record.Commands {
		if c.Stop {
			stops++
		} else {
			starts++
		}
	}
	t.Logf("%d faults, %d starts, %d stops, %d requests of users, %d instances lived; agreement %v after healing; the bench stalled up to %v", len(r.Schedule), starts, stops,
		r.Record.Requests, len(r.Record.Lives), (r.Record.Converged - r.Record.Healed).Round(time.Millisecond), longest(r.Record.Stalls).Round(time.Millisecond))
}

// TestGrowth: what grows by little or for a moment is no growth, and what goes on growing is.
func TestGrowth(t *testing.T) {
	flat := func(int) Figures {
		return Figures{RSS: 100 << 20, Heap: 20 << 20, Goroutines: 100, Files: 40, RaftDB: 1 << 20, JournalDB: 1 << 20, Data: 4 << 20}
	}
	for _, c := range []struct {
		name string
		at   func(minute int) Figures
		want string
	}{
		{"nothing", flat, ""},
		{"warm-up", func(m int) Figures { f := flat(m); f.RSS = float64(min(m, 20)) * (10 << 20); return f }, ""},
		{"a peak", func(m int) Figures {
			f := flat(m)
			if m == 50 {
				f.Heap, f.RaftDB, f.Goroutines = 900<<20, 900<<20, 9_000
			}
			return f
		}, ""},
		{"goroutines", func(m int) Figures { f := flat(m); f.Goroutines += 2 * float64(m); return f }, "goroutines of hm-0"},
		{"files", func(m int) Figures { f := flat(m); f.Files += float64(m); return f }, "open files of hm-0"},
		{"heap", func(m int) Figures { f := flat(m); f.Heap += float64(m) * (1 << 20); return f }, "heap of hm-0"},
		{"memory", func(m int) Figures { f := flat(m); f.RSS += float64(m) * (3 << 20); return f }, "resident memory of hm-0"},
		{"the log", func(m int) Figures { f := flat(m); f.RaftDB += float64(m) * (1 << 20); return f }, "raft.db of hm-0"},
		{"the history", func(m int) Figures { f := flat(m); f.JournalDB += float64(m) * (1 << 20); return f }, "journal.db of hm-0"},
		{"all files", func(m int) Figures { f := flat(m); f.Data += float64(m) * (1 << 20); return f }, "node.data_dir of hm-0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []Figures
			for m := 1; m <= 60; m++ {
				f := c.at(m)
				f.At, f.Node = time.Duration(m)*time.Minute, "hm-0"
				all = append(all, f)
			}
			got := Growth(all)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("grown is %q, want %q", got, c.want)
			}
		})
	}
}

// TestTheSoakRestartsNotEveryNode: one node runs all the time, so that what grows in a process is seen.
func TestTheSoakRestartsNotEveryNode(t *testing.T) {
	seen := map[Kind]int{}
	for seed := range uint64(20) {
		for _, f := range plan(seed, 3600, soakTracks) {
			if seen[f.Kind]++; (f.Kind == NodeKill || f.Kind == NodeStop) && (f.Target == stays || f.Target == Leader) {
				t.Errorf("seed %d: %v", seed, f)
			}
		}
	}
	for _, k := range []Kind{NodeKill, NodeStop, NodeNoNATS, NATSKill, DEAKill, DEAEvacuate, AppCrash, AppUpdate, AppLoop} {
		if seen[k] < 20 {
			t.Errorf("in 20 hours there are %d of %s", seen[k], k)
		}
	}
}
