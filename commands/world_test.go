package commands_test

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

const (
	hb = 10 * time.Second
	t0 = app.Time(1_700_000_000_000)
)

var (
	policy = diff.Policy{
		HeartbeatPeriod: hb, Grace: 3 * hb, CrashesBeforeBackoff: 3, BackoffStart: 3 * hb, BackoffMax: 96 * hb, DuplicateGrace: 4,
		StopYield: 18 * hb, StartingTTL: 30 * hb,
	}
	key = app.Key{Droplet: app.MustGUID("droplet"), Version: app.MustGUID("v1")}
)

// failer is a test, or a check of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

var _ failer = (*testing.T)(nil)

// world is one app in virtual time: what is recorded of it, the plans that are made of that and carried out, and
// a Cloud Controller that starts and stops instances.
type world struct {
	t        failer
	policy   diff.Policy
	now      app.Time
	in       diff.Input // Instances and Crashes are the record; the rest is filled in for each decision
	commands []commands.Command
	throttle commands.Throttle
	wake     app.Time
	happens  []happening
	named    int
	marks    map[app.GUID]actual.CrashMark

	crashedAt map[app.GUID]uint32 // every instance that was ever recorded as crashed, with its index

	// What the Cloud Controller does when a command reaches it; nil: it is deaf.
	onStart func(index uint32)
	onStop  func(instance app.GUID)

	log   []string // what was sent, and when
	ended []string // how commands ended
}

type happening struct {
	at app.Time
	do func()
}

// newWorld makes a world with a desired app, read a moment before t0 and every minute since.
func newWorld(t failer, instances uint32) *world {
	w := &world{t: t, policy: policy, now: t0, marks: map[app.GUID]actual.CrashMark{}, crashedAt: map[app.GUID]uint32{}, throttle: commands.Throttle{StartLimit: 60, Period: hb}}
	w.in = diff.Input{Key: key, DesiredVersion: key.Version}
	w.in.Desired = &desired.App{Key: key, Instances: instances, State: desired.Started, Package: desired.Staged}
	w.onStart = func(index uint32) { w.after(time.Second, func() { w.add(index, actual.Running) }) }
	w.onStop = func(g app.GUID) { w.after(time.Second, func() { w.remove(g) }) }
	w.reads()
	return w
}

func (w *world) reads() {
	w.in.Read.Began = w.now
	w.after(time.Minute, w.reads)
}

func (w *world) after(d time.Duration, do func()) {
	w.happens = append(w.happens, happening{w.now.Add(d), do})
}

// run lets d pass: what happens, happens at its time, and after each thing that does the app is decided on.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	until := w.now.Add(d)
	for {
		w.decide()
		next := until
		if w.wake != 0 {
			next = min(next, w.wake)
		}
		for _, h := range w.happens {
			next = min(next, h.at)
		}
		w.now = max(w.now, next)
		due := slices.IndexFunc(w.happens, func(h happening) bool { return h.at <= w.now })
		if due >= 0 {
			do := w.happens[due].do
			w.happens = slices.Delete(w.happens, due, due+1)
			do()
		} else if w.now >= until {
			w.decide()
			return
		}
	}
}

// decide plans and carries out until there is nothing more to do at this moment.
func (w *world) decide() {
	w.t.Helper()
	for range 1000 {
		plan := w.plan()
		w.wake = plan.Next
		if len(plan.Ops) > 0 {
			w.apply(plan.Ops)
			continue
		}
		if !w.claim(plan.Ready) {
			return
		}
	}
	w.t.Fatalf("at %s: there is always more to do at once:\n%s", w.at(), strings.Join(w.log, "\n"))
}

func (w *world) input() *diff.Input {
	in := w.in
	in.Outstanding = nil
	in.Instances = slices.Clone(in.Instances)
	for i := range in.Instances {
		if l := &in.Instances[i]; l.State == actual.Crashed {
			l.Mark = w.marks[l.GUID]
		}
	}
	for _, c := range w.commands {
		in.Outstanding = append(in.Outstanding, c.Outstanding())
	}
	return &in
}

func (w *world) findings() []diff.Finding { return diff.App(nil, w.input(), w.now, w.policy) }

func (w *world) plan() commands.Plan {
	in := w.input()
	return commands.Make(in, diff.App(nil, in, w.now, w.policy), w.now, w.policy)
}

// apply records a plan's steps as raftfsm does.
func (w *world) apply(ops []commands.Op) {
	w.t.Helper()
	for _, op := range ops {
		c := op.Schedule
		if c.ID.IsZero() {
			i := slices.IndexFunc(w.commands, func(c commands.Command) bool { return c.ID == op.End })
			if i < 0 {
				w.t.Fatalf("at %s: %s ends a command that is not outstanding", w.at(), commands.IDString(op.End))
			}
			ended := w.commands[i]
			w.ended = append(w.ended, w.describe(ended)+" "+op.Outcome.String())
			if ended.Action == diff.Start && op.Outcome == commands.Expired && w.in.Desired != nil && ended.Index < w.in.Desired.Instances {
				r := w.crash(ended.Index)
				r.Tries, r.TriedAt = r.Tries+1, ended.ClaimedAt
				w.running(ended.Index)
			}
			w.commands = slices.Delete(w.commands, i, i+1)
			continue
		}
		for _, o := range w.commands {
			if o.ID == c.ID || o.Action == c.Action && o.Instance == c.Instance && (c.Action == diff.Stop || o.Index == c.Index) {
				w.t.Fatalf("at %s: a second command for one target: %+v beside %+v", w.at(), c, o)
			}
		}
		w.commands = append(w.commands, c)
		if c.Reason == diff.ReasonCrashed {
			r := w.crash(c.Index)
			if r.Count == 0 {
				r.First = w.now
			}
			if r.Count > 0 && r.Instance == c.Crashed && r.Count >= c.CrashCount {
				continue
			}
			r.Count, r.Instance, r.Last, r.Ran = c.CrashCount, c.Crashed, w.now, 0
			r.Answered, r.Tries, r.TriedAt = false, 0, 0
			if r.Exited == c.Crashed {
				r.Exited, r.ExitedAt, r.ExitReason = app.GUID{}, 0, 0
			}
			w.marks[c.Crashed] = actual.CrashCounted
			for _, l := range w.in.Instances {
				if l.Index == c.Index && l.State == actual.Crashed && w.marks[l.GUID] == actual.CrashNew {
					w.marks[l.GUID] = actual.CrashCounted
				}
			}
			w.running(c.Index)
		}
	}
}

// claim claims one command of those that are ready, and sends it. It reports whether there was one.
func (w *world) claim(ready []commands.ID) bool {
	w.t.Helper()
	var due []commands.Command
	for _, c := range w.commands {
		if slices.Contains(ready, c.ID) {
			due = append(due, c)
		}
	}
	commands.Sort(due, w.policy.HeartbeatPeriod)
	for _, c := range due {
		if !w.throttle.Allow(c.Action, w.now) {
			at := w.throttle.Next(c.Action, w.now)
			if w.wake == 0 || at < w.wake {
				w.wake = at
			}
			continue
		}
		i := slices.IndexFunc(w.commands, func(o commands.Command) bool { return o.ID == c.ID })
		w.noHarm(c)
		w.commands[i].State, w.commands[i].ClaimedAt, w.commands[i].SentAt = commands.Sent, w.now, w.now
		w.log = append(w.log, w.at()+" "+w.describe(c))
		switch {
		case c.Action == diff.Start && w.onStart != nil:
			w.onStart(c.Index)
		case c.Action == diff.Stop && w.onStop != nil:
			w.onStop(c.Instance)
		}
		return true
	}
	return false
}

// noHarm fails the test if sending c does harm: a start beside a live instance, or a stop of the last live
// instance of a desired, staged index (I3).
func (w *world) noHarm(c commands.Command) {
	w.t.Helper()
	var target *actual.Located
	others := 0
	for i := range w.in.Instances {
		inst := &w.in.Instances[i]
		if inst.GUID == c.Instance {
			target = inst
		} else if inst.Index == c.Index && inst.State.Live() && !w.stuck(inst) && !w.stopping(inst.GUID) {
			others++
		}
	}
	d := w.in.Desired
	switch {
	case c.Action == diff.Start && others > 0:
		w.t.Fatalf("at %s: a start is sent beside a live instance: %+v", w.at(), c)
	case c.Action == diff.Start && (d == nil || !d.Wanted() || c.Index >= d.Instances):
		w.t.Fatalf("at %s: a start is sent at an index that is not desired: %+v", w.at(), c)
	case c.Action == diff.Stop && target == nil:
		w.t.Fatalf("at %s: a stop is sent to an instance that is gone: %+v", w.at(), c)
	case c.Action == diff.Stop && target.State.Live() && d != nil && d.Startable() && c.Index < d.Instances && others == 0:
		w.t.Fatalf("at %s: a stop is sent to the last live instance of its index: %+v", w.at(), c)
	}
}

func (w *world) stopping(g app.GUID) bool {
	return slices.ContainsFunc(w.commands, func(c commands.Command) bool {
		return c.Instance == g && c.State == commands.Sent && w.now < c.ClaimedAt.Add(w.policy.Grace)
	})
}

// stuck reports whether an instance has been STARTING for too long to count as live (R63).
func (w *world) stuck(l *actual.Located) bool {
	return l.State == actual.Starting && w.policy.StartingTTL > 0 && w.now >= l.Heard.Add(w.policy.StartingTTL)
}

func (w *world) at() string { return "+" + w.now.Sub(t0).String() }

func (w *world) describe(c commands.Command) string {
	if c.Action == diff.Stop {
		return fmt.Sprintf("stop %s %s", c.Instance, c.Reason)
	}
	return fmt.Sprintf("start %d %s", c.Index, c.Reason)
}

// add records a new instance. It is named i<index>.<n>.
func (w *world) add(index uint32, s actual.State) app.GUID {
	w.named++
	g := app.MustGUID(fmt.Sprintf("i%d.%d", index, w.named))
	w.addAs(g, index, s)
	return g
}

func (w *world) addAs(g app.GUID, index uint32, s actual.State) {
	w.in.Instances = append(w.in.Instances, actual.Located{Instance: actual.Instance{App: key, GUID: g, Index: index, State: s, Since: int64(w.now)}, DEA: "dea-1", Heard: w.now})
	slices.SortFunc(w.in.Instances, func(a, b actual.Located) int { return cmp.Or(cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID)) })
	w.in.GrewAt = w.now
	if i := slices.IndexFunc(w.in.Crashes, func(c actual.Crash) bool { return c.Index == index }); i >= 0 {
		w.in.Crashes[i].Tries, w.in.Crashes[i].TriedAt = 0, 0
	}
	w.running(index)
}

func (w *world) remove(g app.GUID) {
	if i := w.find(g); i >= 0 {
		index := w.in.Instances[i].Index
		w.in.Instances = slices.Delete(w.in.Instances, i, i+1)
		w.running(index)
	}
}

func (w *world) become(g app.GUID, s actual.State) {
	if i := w.find(g); i >= 0 {
		w.in.Instances[i].State, w.in.Instances[i].Since, w.in.Instances[i].Heard = s, int64(w.now), w.now
		w.running(w.in.Instances[i].Index)
	}
}

// boot makes a starting instance RUNNING.
func (w *world) boot(g app.GUID) {
	if i := w.find(g); i >= 0 && w.in.Instances[i].State == actual.Starting {
		w.become(g, actual.Running)
	}
}

func (w *world) find(g app.GUID) int {
	return slices.IndexFunc(w.in.Instances, func(l actual.Located) bool { return l.GUID == g })
}

// exited records a droplet.exited CRASHED as raftfsm does.
func (w *world) exited(g app.GUID, index uint32) {
	if w.find(g) >= 0 {
		w.become(g, actual.Crashed)
		return
	}
	live := slices.ContainsFunc(w.in.Instances, func(l actual.Located) bool { return l.Index == index && l.State.Live() })
	if r := w.crash(index); !live && r.Instance != g && w.marks[g] == actual.CrashNew {
		r.Exited, r.ExitedAt, r.ExitReason = g, w.now, actual.ExitCrashed
		r.Tries, r.TriedAt = 0, 0
	}
}

// crash gives the crash record of an index, a new one if there is none.
func (w *world) crash(index uint32) *actual.Crash {
	i, found := slices.BinarySearchFunc(w.in.Crashes, index, func(c actual.Crash, i uint32) int { return cmp.Compare(c.Index, i) })
	if !found {
		w.in.Crashes = slices.Insert(w.in.Crashes, i, actual.Crash{Index: index})
	}
	return &w.in.Crashes[i]
}

// running keeps the marks of the crashes at an index, and in its crash record, if it has one, what depends on the
// instances there.
func (w *world) running(index uint32) {
	var live []app.GUID
	for _, l := range w.in.Instances {
		if l.Index == index && l.State.Live() {
			live = append(live, l.GUID)
			delete(w.marks, l.GUID)
		}
	}
	if len(live) > 0 {
		for g, of := range w.crashedAt {
			if of == index && !slices.Contains(live, g) {
				w.marks[g] = actual.CrashAnswered
			}
		}
	}
	for i := range w.in.Instances {
		if l := &w.in.Instances[i]; l.State == actual.Crashed {
			w.crashedAt[l.GUID] = l.Index
			if len(live) > 0 && l.Index == index {
				w.marks[l.GUID] = actual.CrashAnswered
			}
		}
	}
	i := slices.IndexFunc(w.in.Crashes, func(c actual.Crash) bool { return c.Index == index })
	if i < 0 {
		return
	}
	r := &w.in.Crashes[i]
	runs := slices.ContainsFunc(w.in.Instances, func(l actual.Located) bool { return l.Index == index && l.State == actual.Running })
	r.Answered = r.Answered || r.Count > 0 && slices.ContainsFunc(live, func(g app.GUID) bool { return g != r.Instance })
	if runs {
		r.Tries, r.TriedAt = 0, 0
	}
	switch {
	case runs && r.RunningSince == 0:
		r.RunningSince = w.now
	case !runs && r.RunningSince != 0:
		r.Ran += w.now.Sub(max(r.RunningSince, r.Last))
		r.RunningSince = 0
	}
}

// wantLog compares what was sent.
func (w *world) wantLog(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, want) {
		w.t.Fatalf("sent:\n  %s\nwant:\n  %s", strings.Join(w.log, "\n  "), strings.Join(want, "\n  "))
	}
}
