package diff_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

var _ failer = (*testing.T)(nil)

// appSim simulates one app in virtual time: its record, the plans that follow from the record and are carried out,
// and a Cloud Controller that starts and stops instances.
type appSim struct {
	t        failer
	policy   diff.Policy
	now      app.Time
	in       diff.Input // Instances and Crashes are the record; the rest is set for each decision
	commands []commands.Command
	throttle commands.Throttle
	wake     app.Time
	events   []event
	named    int
	marks    map[app.GUID]actual.CrashMark

	crashedAt map[app.GUID]uint32 // every instance that was ever recorded as crashed, with its index

	// What the Cloud Controller does about a command; nil: it does nothing.
	onStart func(index uint32)
	onStop  func(instance app.GUID)

	log   []string // what was sent, and when
	ended []string // how commands ended
}

type event struct {
	at app.Time
	do func()
}

// newAppSim makes a desired app. The desired state is read at t0 and then every minute.
func newAppSim(t failer, instances uint32) *appSim {
	sim := &appSim{t: t, policy: policy, now: t0, marks: map[app.GUID]actual.CrashMark{}, crashedAt: map[app.GUID]uint32{}, throttle: commands.Throttle{StartLimit: 60, Period: heartbeat}}
	sim.in = diff.Input{Key: key, DesiredVersion: key.Version}
	sim.in.Desired = &desired.App{Key: key, Instances: instances, State: desired.Started, Package: desired.Staged}
	sim.onStart = func(index uint32) { sim.after(time.Second, func() { sim.add(index, actual.Running) }) }
	sim.onStop = func(g app.GUID) { sim.after(time.Second, func() { sim.remove(g) }) }
	sim.reads()
	return sim
}

func (sim *appSim) reads() {
	sim.in.Read.Began = sim.now
	sim.after(time.Minute, sim.reads)
}

func (sim *appSim) after(d time.Duration, do func()) {
	sim.events = append(sim.events, event{sim.now.Add(d), do})
}

// run lets d pass. Each event happens at its time, and after each the app is decided on.
func (sim *appSim) run(d time.Duration) {
	sim.t.Helper()
	until := sim.now.Add(d)
	for {
		sim.decide()
		next := until
		if sim.wake != 0 {
			next = min(next, sim.wake)
		}
		for _, h := range sim.events {
			next = min(next, h.at)
		}
		sim.now = max(sim.now, next)
		due := slices.IndexFunc(sim.events, func(h event) bool { return h.at <= sim.now })
		if due >= 0 {
			do := sim.events[due].do
			sim.events = slices.Delete(sim.events, due, due+1)
			do()
		} else if sim.now >= until {
			sim.decide()
			return
		}
	}
}

// decide makes plans and carries them out until there is nothing more to do at this time.
func (sim *appSim) decide() {
	sim.t.Helper()
	for range 1000 {
		plan := sim.plan()
		sim.wake = plan.Next
		if len(plan.Ops) > 0 {
			sim.apply(plan.Ops)
			continue
		}
		if !sim.claim(plan.Ready) {
			return
		}
	}
	sim.t.Fatalf("at %s: the plans do not end:\n%s", sim.at(), strings.Join(sim.log, "\n"))
}

func (sim *appSim) input() *diff.Input {
	in := sim.in
	in.Outstanding = nil
	in.Instances = slices.Clone(in.Instances)
	for i := range in.Instances {
		if l := &in.Instances[i]; l.State == actual.Crashed {
			l.Mark = sim.marks[l.GUID]
		}
	}
	for _, c := range sim.commands {
		in.Outstanding = append(in.Outstanding, c.Outstanding())
	}
	return &in
}

func (sim *appSim) findings() []diff.Finding { return diff.App(nil, sim.input(), sim.now, sim.policy) }

func (sim *appSim) plan() diff.Plan {
	in := sim.input()
	return diff.MakePlan(in, diff.App(nil, in, sim.now, sim.policy), sim.now, sim.policy)
}

// apply records the steps of a plan as raftfsm does.
func (sim *appSim) apply(ops []diff.Op) {
	sim.t.Helper()
	for _, op := range ops {
		c := op.Schedule
		if c.ID.IsZero() {
			i := slices.IndexFunc(sim.commands, func(c commands.Command) bool { return c.ID == op.End })
			if i < 0 {
				sim.t.Fatalf("at %s: %s ends a command that is not outstanding", sim.at(), op.End.String())
			}
			ended := sim.commands[i]
			sim.ended = append(sim.ended, sim.describe(ended)+" "+op.Outcome.String())
			if ended.Action == commands.Start && op.Outcome == commands.Expired && sim.in.Desired != nil && ended.Index < sim.in.Desired.Instances {
				r := sim.crash(ended.Index)
				r.Tries, r.TriedAt = r.Tries+1, ended.ClaimedAt
				sim.running(ended.Index)
			}
			sim.commands = slices.Delete(sim.commands, i, i+1)
			continue
		}
		for _, o := range sim.commands {
			if o.ID == c.ID || o.Action == c.Action && o.Instance == c.Instance && (c.Action == commands.Stop || o.Index == c.Index) {
				sim.t.Fatalf("at %s: a second command for one target: %+v beside %+v", sim.at(), c, o)
			}
		}
		sim.commands = append(sim.commands, c)
		if c.Reason == commands.ReasonCrashed {
			r := sim.crash(c.Index)
			if r.Count == 0 {
				r.First = sim.now
			}
			if r.Count > 0 && r.Instance == c.Crashed && r.Count >= c.CrashCount {
				continue
			}
			r.Count, r.Instance, r.Last, r.Ran = c.CrashCount, c.Crashed, sim.now, 0
			r.Answered, r.Tries, r.TriedAt = false, 0, 0
			if r.Exited == c.Crashed {
				r.Exited, r.ExitedAt, r.ExitReason = app.GUID{}, 0, 0
			}
			sim.marks[c.Crashed] = actual.CrashCounted
			for _, l := range sim.in.Instances {
				if l.Index == c.Index && l.State == actual.Crashed && sim.marks[l.GUID] == actual.CrashNew {
					sim.marks[l.GUID] = actual.CrashCounted
				}
			}
			sim.running(c.Index)
		}
	}
}

// claim claims and sends one of the commands that are ready. It reports whether there was one.
func (sim *appSim) claim(ready []commands.ID) bool {
	sim.t.Helper()
	var due []commands.Command
	for _, c := range sim.commands {
		if slices.Contains(ready, c.ID) {
			due = append(due, c)
		}
	}
	commands.Sort(due, sim.policy.HeartbeatPeriod)
	for _, c := range due {
		if !sim.throttle.Allow(c.Action, sim.now) {
			at := sim.throttle.Next(c.Action, sim.now)
			if sim.wake == 0 || at < sim.wake {
				sim.wake = at
			}
			continue
		}
		i := slices.IndexFunc(sim.commands, func(o commands.Command) bool { return o.ID == c.ID })
		sim.noHarm(c)
		sim.commands[i].State, sim.commands[i].ClaimedAt, sim.commands[i].SentAt = commands.Sent, sim.now, sim.now
		sim.log = append(sim.log, sim.at()+" "+sim.describe(c))
		switch {
		case c.Action == commands.Start && sim.onStart != nil:
			sim.onStart(c.Index)
		case c.Action == commands.Stop && sim.onStop != nil:
			sim.onStop(c.Instance)
		}
		return true
	}
	return false
}

// noHarm fails the test if sending c does harm: if it starts an instance beside a live one, or stops the last live
// instance of a desired, staged index (I3).
func (sim *appSim) noHarm(c commands.Command) {
	sim.t.Helper()
	var target *actual.Located
	others := 0
	for i := range sim.in.Instances {
		inst := &sim.in.Instances[i]
		if inst.GUID == c.Instance {
			target = inst
		} else if inst.Index == c.Index && inst.State.Live() && !sim.stuck(inst) && !sim.stopping(inst.GUID) {
			others++
		}
	}
	d := sim.in.Desired
	switch {
	case c.Action == commands.Start && others > 0:
		sim.t.Fatalf("at %s: a start is sent beside a live instance: %+v", sim.at(), c)
	case c.Action == commands.Start && (d == nil || !d.Wanted() || c.Index >= d.Instances):
		sim.t.Fatalf("at %s: a start is sent at an index that is not desired: %+v", sim.at(), c)
	case c.Action == commands.Stop && target == nil:
		sim.t.Fatalf("at %s: a stop is sent to an instance that is gone: %+v", sim.at(), c)
	case c.Action == commands.Stop && target.State.Live() && d != nil && d.Startable() && c.Index < d.Instances && others == 0:
		sim.t.Fatalf("at %s: a stop is sent to the last live instance of its index: %+v", sim.at(), c)
	}
}

func (sim *appSim) stopping(g app.GUID) bool {
	return slices.ContainsFunc(sim.commands, func(c commands.Command) bool {
		return c.Instance == g && c.State == commands.Sent && sim.now < c.ClaimedAt.Add(sim.policy.Grace)
	})
}

// stuck reports whether an instance has been STARTING for too long to count as live (R63).
func (sim *appSim) stuck(l *actual.Located) bool {
	return l.State == actual.Starting && sim.policy.StartingTTL > 0 && sim.now >= l.Heard.Add(sim.policy.StartingTTL)
}

func (sim *appSim) at() string { return "+" + sim.now.Sub(t0).String() }

func (sim *appSim) describe(c commands.Command) string {
	if c.Action == commands.Stop {
		return fmt.Sprintf("stop %s %s", c.Instance, c.Reason)
	}
	return fmt.Sprintf("start %d %s", c.Index, c.Reason)
}

// add records a new instance. It is named i<index>.<n>.
func (sim *appSim) add(index uint32, s actual.State) app.GUID {
	sim.named++
	g := app.MustGUID(fmt.Sprintf("i%d.%d", index, sim.named))
	sim.addAs(g, index, s)
	return g
}

func (sim *appSim) addAs(g app.GUID, index uint32, s actual.State) {
	sim.in.Instances = append(sim.in.Instances, actual.Located{Instance: actual.Instance{App: key, GUID: g, Index: index, State: s, Since: int64(sim.now)}, DEA: "dea-1", Heard: sim.now})
	slices.SortFunc(sim.in.Instances, func(a, b actual.Located) int { return cmp.Or(cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID)) })
	sim.in.GrewAt = sim.now
	if i := slices.IndexFunc(sim.in.Crashes, func(c actual.Crash) bool { return c.Index == index }); i >= 0 {
		sim.in.Crashes[i].Tries, sim.in.Crashes[i].TriedAt = 0, 0
	}
	sim.running(index)
}

func (sim *appSim) remove(g app.GUID) {
	if i := sim.find(g); i >= 0 {
		index := sim.in.Instances[i].Index
		sim.in.Instances = slices.Delete(sim.in.Instances, i, i+1)
		sim.running(index)
	}
}

func (sim *appSim) become(g app.GUID, s actual.State) {
	if i := sim.find(g); i >= 0 {
		sim.in.Instances[i].State, sim.in.Instances[i].Since, sim.in.Instances[i].Heard = s, int64(sim.now), sim.now
		sim.running(sim.in.Instances[i].Index)
	}
}

// boot makes a starting instance RUNNING.
func (sim *appSim) boot(g app.GUID) {
	if i := sim.find(g); i >= 0 && sim.in.Instances[i].State == actual.Starting {
		sim.become(g, actual.Running)
	}
}

func (sim *appSim) find(g app.GUID) int {
	return slices.IndexFunc(sim.in.Instances, func(l actual.Located) bool { return l.GUID == g })
}

// exited records a droplet.exited CRASHED as raftfsm does.
func (sim *appSim) exited(g app.GUID, index uint32) {
	if sim.find(g) >= 0 {
		sim.become(g, actual.Crashed)
		return
	}
	live := slices.ContainsFunc(sim.in.Instances, func(l actual.Located) bool { return l.Index == index && l.State.Live() })
	if r := sim.crash(index); !live && r.Instance != g && sim.marks[g] == actual.CrashNew {
		r.Exited, r.ExitedAt, r.ExitReason = g, sim.now, actual.ExitCrashed
		r.Tries, r.TriedAt = 0, 0
	}
}

// crash gives the crash record of an index, a new one if there is none.
func (sim *appSim) crash(index uint32) *actual.Crash {
	i, found := slices.BinarySearchFunc(sim.in.Crashes, index, func(c actual.Crash, i uint32) int { return cmp.Compare(c.Index, i) })
	if !found {
		sim.in.Crashes = slices.Insert(sim.in.Crashes, i, actual.Crash{Index: index})
	}
	return &sim.in.Crashes[i]
}

// running updates the marks of the crashes at an index and its crash record, if it has one, after its instances
// changed.
func (sim *appSim) running(index uint32) {
	var live []app.GUID
	for _, l := range sim.in.Instances {
		if l.Index == index && l.State.Live() {
			live = append(live, l.GUID)
			delete(sim.marks, l.GUID)
		}
	}
	if len(live) > 0 {
		for g, of := range sim.crashedAt {
			if of == index && !slices.Contains(live, g) {
				sim.marks[g] = actual.CrashAnswered
			}
		}
	}
	for i := range sim.in.Instances {
		if l := &sim.in.Instances[i]; l.State == actual.Crashed {
			sim.crashedAt[l.GUID] = l.Index
			if len(live) > 0 && l.Index == index {
				sim.marks[l.GUID] = actual.CrashAnswered
			}
		}
	}
	i := slices.IndexFunc(sim.in.Crashes, func(c actual.Crash) bool { return c.Index == index })
	if i < 0 {
		return
	}
	r := &sim.in.Crashes[i]
	runs := slices.ContainsFunc(sim.in.Instances, func(l actual.Located) bool { return l.Index == index && l.State == actual.Running })
	r.Answered = r.Answered || r.Count > 0 && slices.ContainsFunc(live, func(g app.GUID) bool { return g != r.Instance })
	if runs {
		r.Tries, r.TriedAt = 0, 0
	}
	switch {
	case runs && r.RunningSince == 0:
		r.RunningSince = sim.now
	case !runs && r.RunningSince != 0:
		r.Ran += sim.now.Sub(max(r.RunningSince, r.Last))
		r.RunningSince = 0
	}
}

// wantLog compares the sent commands with want.
func (sim *appSim) wantLog(want ...string) {
	sim.t.Helper()
	if !slices.Equal(sim.log, want) {
		sim.t.Fatalf("sent:\n  %s\nwant:\n  %s", strings.Join(sim.log, "\n  "), strings.Join(want, "\n  "))
	}
}
