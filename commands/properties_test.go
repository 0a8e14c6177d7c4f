package commands_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// drawWorld makes an app in any state: desired or not, instances in every state at up to eight indices, crash
// records. Some of the first commands are lost; the others have their effect within twenty seconds.
func drawWorld(t *rapid.T) *world {
	w := newWorld(t, rapid.Uint32Range(0, 6).Draw(t, "desired"))
	switch rapid.SampledFrom([]string{"staged", "staged", "staged", "pending", "failed", "stopped", "none", "elsewhere"}).Draw(t, "app") {
	case "pending":
		w.in.Desired.Package = desired.Pending
	case "failed":
		w.in.Desired.Package = desired.Failed
	case "stopped":
		w.in.Desired.State = desired.Stopped
	case "none":
		w.in.Desired, w.in.DesiredVersion = nil, app.GUID{}
	case "elsewhere":
		w.in.Desired, w.in.DesiredVersion = nil, app.MustGUID("v2")
	}
	states := []actual.State{actual.Starting, actual.Running, actual.Running, actual.Crashed, actual.Evacuating}
	for range rapid.IntRange(0, 14).Draw(t, "instances") {
		s := rapid.SampledFrom(states).Draw(t, "state")
		g := w.add(rapid.Uint32Range(0, 7).Draw(t, "index"), s)
		if s == actual.Starting {
			w.after(time.Minute, func() { w.boot(g) })
		}
	}
	for index := range uint32(8) {
		if rapid.IntRange(0, 3).Draw(t, "crash record") == 0 {
			*w.crash(index) = actual.Crash{
				Index: index, Count: rapid.Uint32Range(0, 12).Draw(t, "count"), Instance: app.MustGUID("counted"),
				Last: t0.Add(-time.Duration(rapid.IntRange(0, 2000).Draw(t, "last")) * time.Second),
			}
		}
	}
	w.in.GrewAt = t0.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "grew")) * time.Second)
	lost := rapid.IntRange(0, 3).Draw(t, "lost")
	hears := func() bool { lost--; return lost < 0 }
	delay := func(what string) time.Duration {
		return time.Duration(rapid.IntRange(1, 20).Draw(t, what)) * time.Second
	}
	w.onStart = func(index uint32) {
		if hears() {
			w.after(delay("start takes"), func() {
				g := w.add(index, actual.Starting)
				w.after(delay("booting takes"), func() { w.boot(g) })
			})
		}
	}
	w.onStop = func(g app.GUID) {
		if hears() {
			w.after(delay("stop takes"), func() { w.remove(g) })
		}
	}
	return w
}

// TestEveryDriftIsCorrected holds that plans, carried out step by step, end all drift within a bound and then
// stop (I9), with no harm done on the way (I3, W02: world.noHarm) and never two commands for one target
// (world.apply).
func TestEveryDriftIsCorrected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		// The longest way: every copy of a duplicate after its grace, a lost command or two, a canary, and then the longest back-off.
		w.run(time.Duration(4+14)*policy.Grace + 5*policy.Grace + 2*policy.BackoffMax + time.Hour)
		sent := len(w.log)
		for _, f := range w.findings() {
			waits := f.Rule == "R13" && w.in.Desired.Package == desired.Pending
			if f.Bucket != diff.Keep && !waits {
				t.Fatalf("drift is left: %+v\nsent:\n%s", f, strings.Join(w.log, "\n"))
			}
		}
		if len(w.commands) != 0 {
			t.Fatalf("commands are left outstanding: %+v", w.commands)
		}
		w.run(2 * time.Hour)
		if len(w.log) != sent {
			t.Fatalf("commands go on being sent: %v", w.log[sent:])
		}
	})
}

// TestPlansOfAnyState holds for plans of any state, with commands in every state outstanding: what a plan ends is
// outstanding, what it makes ready is pending, and after it no target has two commands.
func TestPlansOfAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(0, 12).Draw(t, "outstanding") {
			c := drawCommand(t, w)
			if !slices.ContainsFunc(w.commands, func(o commands.Command) bool { return o.Compare(c) == 0 }) {
				w.commands = append(w.commands, c)
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "held") == 0 {
			w.in.Held = []string{"paused"}
		}
		plan := w.plan()
		for _, id := range plan.Ready {
			i := slices.IndexFunc(w.commands, func(c commands.Command) bool { return c.ID == id })
			if i < 0 || w.commands[i].State != commands.Pending || w.commands[i].DueAt > w.now && w.commands[i].Action == diff.Stop && w.commands[i].Reason != diff.ReasonExtra {
				t.Fatalf("ready: %s of %+v", commands.IDString(id), w.commands)
			}
			if len(w.in.Held) > 0 {
				t.Fatalf("ready behind a closed gate: %+v", w.commands[i])
			}
			for _, op := range plan.Ops {
				if op.End == id {
					t.Fatalf("%s is both ready and ended", commands.IDString(id))
				}
			}
		}
		again := w.input()
		if !slices.Equal(plan.Ops, w.plan().Ops) {
			t.Fatal("the second plan differs from the first")
		}
		shuffled := rapid.Permutation(again.Outstanding).Draw(t, "order")
		again.Outstanding = shuffled
		if other := commands.Make(again, diff.App(nil, again, w.now, policy), w.now, policy); fmt.Sprint(other) != fmt.Sprint(plan) {
			t.Fatalf("the plan depends on the order of the commands:\n%v\n%v", plan, other)
		}
		for range 3 { // the leader evaluates four times in a step
			w.apply(plan.Ops) // fails on two commands for one target
			plan = w.plan()
		}
		if len(plan.Ops) != 0 {
			t.Fatalf("plans that are recorded are followed by others at once: %+v", plan.Ops)
		}
	})
}

func drawCommand(t *rapid.T, w *world) commands.Command {
	c := commands.Command{
		App: key, Action: diff.Start, Index: rapid.Uint32Range(0, 8).Draw(t, "command index"),
		State:     rapid.SampledFrom([]commands.State{commands.Pending, commands.Pending, commands.Claimed, commands.Sent}).Draw(t, "command state"),
		CreatedAt: t0.Add(-time.Hour),
		DueAt:     t0.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "due")) * time.Second),
	}
	if c.State != commands.Pending {
		c.ClaimedAt = t0.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "claimed")) * time.Second)
	}
	c.Reason = rapid.SampledFrom([]diff.Reason{diff.ReasonMissing, diff.ReasonCrashed, diff.ReasonEvacuating}).Draw(t, "reason")
	if c.Reason == diff.ReasonCrashed {
		c.Crashed = app.MustGUID("counted")
	}
	if rapid.Bool().Draw(t, "stop") {
		c.Action, c.Crashed, c.Instance = diff.Stop, app.GUID{}, app.MustGUID("gone")
		if n := len(w.in.Instances); n > 0 {
			inst := w.in.Instances[rapid.IntRange(0, n-1).Draw(t, "instance")]
			c.Index, c.Instance = inst.Index, inst.GUID
		}
		c.Reason = rapid.SampledFrom([]diff.Reason{diff.ReasonExtra, diff.ReasonDuplicate, diff.ReasonEvacuationComplete}).Draw(t, "stop reason")
	}
	c.ID = commands.NewID(c)
	return c
}
