package diff_test

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

// drawAppSim makes an app in any state: desired or not, with instances in every state at up to eight indices, and
// with crash records. Some of the first commands are lost; the others have an effect within twenty seconds.
func drawAppSim(t *rapid.T) *appSim {
	sim := newAppSim(t, rapid.Uint32Range(0, 6).Draw(t, "desired"))
	switch rapid.SampledFrom([]string{"staged", "staged", "staged", "pending", "failed", "stopped", "none", "elsewhere"}).Draw(t, "app") {
	case "pending":
		sim.in.Desired.Package = desired.Pending
	case "failed":
		sim.in.Desired.Package = desired.Failed
	case "stopped":
		sim.in.Desired.State = desired.Stopped
	case "none":
		sim.in.Desired, sim.in.DesiredVersion = nil, app.GUID{}
	case "elsewhere":
		sim.in.Desired, sim.in.DesiredVersion = nil, app.MustGUID("v2")
	}
	states := []actual.State{actual.Starting, actual.Running, actual.Running, actual.Crashed, actual.Evacuating}
	for range rapid.IntRange(0, 14).Draw(t, "instances") {
		s := rapid.SampledFrom(states).Draw(t, "state")
		g := sim.add(rapid.Uint32Range(0, 7).Draw(t, "index"), s)
		if s == actual.Starting {
			sim.after(time.Minute, func() { sim.boot(g) })
		}
	}
	for index := range uint32(8) {
		if rapid.IntRange(0, 3).Draw(t, "crash record") == 0 {
			*sim.crash(index) = actual.Crash{
				Index: index, Count: rapid.Uint32Range(0, 12).Draw(t, "count"), Instance: app.MustGUID("counted"),
				Last: t0.Add(-time.Duration(rapid.IntRange(0, 2000).Draw(t, "last")) * time.Second),
			}
		}
	}
	sim.in.GrewAt = t0.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "grew")) * time.Second)
	lost := rapid.IntRange(0, 3).Draw(t, "lost")
	obeys := func() bool { lost--; return lost < 0 }
	delay := func(what string) time.Duration {
		return time.Duration(rapid.IntRange(1, 20).Draw(t, what)) * time.Second
	}
	sim.onStart = func(index uint32) {
		if obeys() {
			sim.after(delay("start takes"), func() {
				g := sim.add(index, actual.Starting)
				sim.after(delay("booting takes"), func() { sim.boot(g) })
			})
		}
	}
	sim.onStop = func(g app.GUID) {
		if obeys() {
			sim.after(delay("stop takes"), func() { sim.remove(g) })
		}
	}
	return sim
}

// TestEveryDriftIsCorrected holds that plans that are carried out end all drift within a bound, and that no command
// follows then (I9). They do no harm (I3, W02: appSim.noHarm), and no target has two commands (appSim.apply).
func TestEveryDriftIsCorrected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sim := drawAppSim(t)
		// The longest time: every duplicate after its grace, two lost commands, a canary, and then the longest
		// back-off.
		sim.run(time.Duration(4+14)*policy.Grace + 5*policy.Grace + 2*policy.BackoffMax + time.Hour)
		sent := len(sim.log)
		for _, f := range sim.findings() {
			waits := f.Rule == "R13" && sim.in.Desired.Package == desired.Pending
			if f.Bucket != diff.Keep && !waits {
				t.Fatalf("drift is left: %+v\nsent:\n%s", f, strings.Join(sim.log, "\n"))
			}
		}
		if len(sim.commands) != 0 {
			t.Fatalf("commands are left outstanding: %+v", sim.commands)
		}
		sim.run(2 * time.Hour)
		if len(sim.log) != sent {
			t.Fatalf("commands go on being sent: %v", sim.log[sent:])
		}
	})
}

// TestPlansOfAnyState makes plans of any state, with outstanding commands in every state. A plan ends only outstanding
// commands, only pending ones are ready, and afterwards no target has two commands.
func TestPlansOfAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sim := drawAppSim(t)
		for range rapid.IntRange(0, 12).Draw(t, "outstanding") {
			c := drawCommand(t, sim)
			if !slices.ContainsFunc(sim.commands, func(o commands.Command) bool { return o.Compare(c) == 0 }) {
				sim.commands = append(sim.commands, c)
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "held") == 0 {
			sim.in.Held = []string{"paused"}
		}
		plan := sim.plan()
		for _, id := range plan.Ready {
			i := slices.IndexFunc(sim.commands, func(c commands.Command) bool { return c.ID == id })
			if i < 0 || sim.commands[i].State != commands.Pending || sim.commands[i].DueAt > sim.now && sim.commands[i].Action == commands.Stop && sim.commands[i].Reason != commands.ReasonExtra {
				t.Fatalf("ready: %s of %+v", id.String(), sim.commands)
			}
			if len(sim.in.Held) > 0 {
				t.Fatalf("ready behind a closed gate: %+v", sim.commands[i])
			}
			for _, op := range plan.Ops {
				if op.End == id {
					t.Fatalf("%s is both ready and ended", id.String())
				}
			}
		}
		again := sim.input()
		if !slices.Equal(plan.Ops, sim.plan().Ops) {
			t.Fatal("the second plan differs from the first")
		}
		shuffled := rapid.Permutation(again.Outstanding).Draw(t, "order")
		again.Outstanding = shuffled
		if other := diff.MakePlan(again, diff.App(nil, again, sim.now, policy), sim.now, policy); fmt.Sprint(other) != fmt.Sprint(plan) {
			t.Fatalf("the plan depends on the order of the commands:\n%v\n%v", plan, other)
		}
		for range 3 { // the leader plans up to four times in a step
			sim.apply(plan.Ops) // fails if a target has two commands
			plan = sim.plan()
		}
		if len(plan.Ops) != 0 {
			t.Fatalf("the plans do not end: %+v", plan.Ops)
		}
	})
}

func drawCommand(t *rapid.T, sim *appSim) commands.Command {
	c := commands.Command{
		App: key, Action: commands.Start, Index: rapid.Uint32Range(0, 8).Draw(t, "command index"),
		State:     rapid.SampledFrom([]commands.State{commands.Pending, commands.Pending, commands.Claimed, commands.Sent}).Draw(t, "command state"),
		CreatedAt: t0.Add(-time.Hour),
		DueAt:     t0.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "due")) * time.Second),
	}
	if c.State != commands.Pending {
		c.ClaimedAt = t0.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "claimed")) * time.Second)
	}
	c.Reason = rapid.SampledFrom([]commands.Reason{commands.ReasonMissing, commands.ReasonCrashed, commands.ReasonEvacuating}).Draw(t, "reason")
	if c.Reason == commands.ReasonCrashed {
		c.Crashed = app.MustGUID("counted")
	}
	if rapid.Bool().Draw(t, "stop") {
		c.Action, c.Crashed, c.Instance = commands.Stop, app.GUID{}, app.MustGUID("gone")
		if n := len(sim.in.Instances); n > 0 {
			inst := sim.in.Instances[rapid.IntRange(0, n-1).Draw(t, "instance")]
			c.Index, c.Instance = inst.Index, inst.GUID
		}
		c.Reason = rapid.SampledFrom([]commands.Reason{commands.ReasonExtra, commands.ReasonDuplicate, commands.ReasonEvacuationComplete}).Draw(t, "stop reason")
	}
	c.ID = commands.NewID(c)
	return c
}
