package diff_test

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// drawInput makes any input: desired or not, in any package state, with instances in every state and duplicates at up
// to eight indices, crash records, outstanding commands in every state, and an open or closed gate.
func drawInput(t *rapid.T) (*diff.Input, app.Time) {
	ago := func(what string, most int) app.Time {
		return t0.Add(-time.Duration(rapid.IntRange(0, most).Draw(t, what)) * time.Second)
	}
	in := &diff.Input{Key: key, GrewAt: ago("grew", 120), Read: diff.Reads{Began: ago("read", 120), Failing: rapid.Bool().Draw(t, "failing"), UnderWay: rapid.Bool().Draw(t, "under way")}}
	if rapid.IntRange(0, 3).Draw(t, "is desired") > 0 {
		in.DesiredVersion = key.Version
		in.Desired = &desired.App{
			Key: key, Instances: rapid.Uint32Range(0, 8).Draw(t, "desired"),
			State:   rapid.SampledFrom([]desired.RunState{desired.Started, desired.Started, desired.Started, desired.Stopped}).Draw(t, "run state"),
			Package: rapid.SampledFrom([]desired.PackageState{desired.Staged, desired.Staged, desired.Pending, desired.Failed}).Draw(t, "package"),
		}
	} else if rapid.Bool().Draw(t, "elsewhere") {
		in.DesiredVersion = app.MustGUID("v2")
	}
	for n := range rapid.IntRange(0, 16).Draw(t, "instances") {
		in.Instances = append(in.Instances, actual.Located{DEA: "dea-1", Instance: actual.Instance{
			App: key, GUID: guid(n), Index: rapid.Uint32Range(0, 9).Draw(t, "index"),
			State: actual.State(rapid.IntRange(1, 6).Draw(t, "state")), Since: int64(ago("since", 30)),
		}, Heard: ago("heard", 400)})
		if l := &in.Instances[n]; l.State == actual.Crashed {
			l.Mark = actual.CrashMark(rapid.IntRange(0, 2).Draw(t, "mark"))
		}
	}
	slices.SortFunc(in.Instances, func(a, b actual.Located) int { return cmp.Or(cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID)) })
	for index := range uint32(9) {
		if rapid.Bool().Draw(t, "crash record") {
			in.Crashes = append(in.Crashes, actual.Crash{
				Index: index, Count: rapid.Uint32Range(0, 12).Draw(t, "count"), Last: ago("last", 2500),
				Instance: anyGUID(t, "counted"), Answered: rapid.Bool().Draw(t, "answered"),
				Exited: anyGUID(t, "exited"), ExitedAt: ago("exited at", 60), ExitReason: actual.ExitReason(rapid.IntRange(1, 3).Draw(t, "exit reason")),
				Tries: rapid.Uint32Range(0, 8).Draw(t, "tries"), TriedAt: ago("tried", 600), Ran: time.Duration(rapid.IntRange(0, 200).Draw(t, "ran")) * time.Second,
			})
		}
	}
	in.Elsewhere = diff.Served{Lacking: rapid.Bool().Draw(t, "lacks"), Quiet: rapid.Bool().Draw(t, "quiet")}
	for range rapid.IntRange(0, 2).Draw(t, "unplaced") {
		in.Unplaced = append(in.Unplaced, ago("unplaced at", 100))
	}
	slices.Sort(in.Unplaced)
	drawOutstanding(t, in, rapid.IntRange(0, 16).Draw(t, "outstanding"))
	if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
		in.Held = []string{"nats-down"}
	}
	return in, t0.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "now")) * time.Second)
}

func guid(n int) app.GUID { return app.MustGUID(fmt.Sprintf("g%02d", n)) }

// anyGUID gives the guid of an instance, of one that is gone, or none.
func anyGUID(t *rapid.T, what string) app.GUID {
	if n := rapid.IntRange(-1, 17).Draw(t, what); n >= 0 {
		return guid(n)
	}
	return app.GUID{}
}

// drawOutstanding adds n commands, no two for one target.
func drawOutstanding(t *rapid.T, in *diff.Input, n int) {
	for range n {
		o := commands.Outstanding{
			ID: commands.ID{byte(len(in.Outstanding) + 1)}, Action: commands.Start, Index: rapid.Uint32Range(0, 9).Draw(t, "at"),
			Reason: commands.Reason(rapid.IntRange(1, 3).Draw(t, "reason")),
			DueAt:  t0.Add(time.Duration(rapid.IntRange(-100, 3000).Draw(t, "due")) * time.Second),
		}
		if rapid.Bool().Draw(t, "sent") {
			o.SentAt = t0.Add(time.Duration(rapid.IntRange(-60, 3000).Draw(t, "sent at")) * time.Second)
		}
		if o.Reason == commands.ReasonCrashed {
			o.Crashed = anyGUID(t, "crashed")
		}
		if rapid.Bool().Draw(t, "stop") {
			o.Action, o.Crashed, o.Reason, o.Instance = commands.Stop, app.GUID{}, commands.Reason(rapid.IntRange(4, 6).Draw(t, "stop reason")), guid(rapid.IntRange(0, 17).Draw(t, "instance"))
			if i := slices.IndexFunc(in.Instances, func(l actual.Located) bool { return l.GUID == o.Instance }); i >= 0 {
				o.Index = in.Instances[i].Index
			}
		}
		if o.Reason == commands.ReasonEvacuating || o.Reason == commands.ReasonEvacuationComplete {
			o.DueAt = min(o.DueAt, t0) // these are never scheduled for later
		}
		if !slices.ContainsFunc(in.Outstanding, func(p commands.Outstanding) bool { return sameTarget(o, p) }) {
			in.Outstanding = append(in.Outstanding, o)
		}
	}
}

func sameTarget(a, b commands.Outstanding) bool {
	return a.Action == b.Action && a.Instance == b.Instance && (a.Action == commands.Stop || a.Index == b.Index)
}

// unservedIndices are the desired indices without a live instance.
func unservedIndices(in *diff.Input, now app.Time) map[uint32]bool {
	missing := map[uint32]bool{}
	if in.Desired == nil || !in.Desired.Wanted() {
		return missing
	}
	for i := range in.Desired.Instances {
		missing[i] = !slices.ContainsFunc(in.Instances, func(l actual.Located) bool { return l.Index == i && l.State.Live() && !stuck(l, now) })
	}
	return missing
}

func stuck(l actual.Located, now app.Time) bool {
	return l.State == actual.Starting && now >= l.Heard.Add(policy.StartingTTL)
}

// TestFindingsAreAPartition holds that each instance, and each desired index without a live one, has exactly one
// finding, that no other index has one, and that the findings are sorted.
func TestFindingsAreAPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, now := drawInput(t)
		findings := diff.App(nil, in, now, policy)
		instances, indices := map[app.GUID]int{}, map[uint32]int{}
		for i, f := range findings {
			if f.Instance.IsZero() {
				indices[f.Index]++
			} else {
				instances[f.Instance]++
			}
			if i > 0 && cmp.Or(cmp.Compare(findings[i-1].Index, f.Index), findings[i-1].Instance.Compare(f.Instance)) >= 0 {
				t.Fatalf("not in order: %+v before %+v", findings[i-1], f)
			}
		}
		for _, l := range in.Instances {
			if instances[l.GUID] != 1 {
				t.Fatalf("%s has %d findings", l.GUID, instances[l.GUID])
			}
			delete(instances, l.GUID)
		}
		unserved := unservedIndices(in, now)
		for index, missing := range unserved {
			if want := map[bool]int{true: 1}[missing]; indices[index] != want {
				t.Fatalf("index %d has %d findings, want %d", index, indices[index], want)
			}
			delete(indices, index)
		}
		if len(instances)+len(indices) != 0 {
			t.Fatalf("findings about nothing: %v %v", instances, indices)
		}
	})
}

// TestFindingsMakeSense checks each finding by itself, and that a closed gate holds every action.
func TestFindingsMakeSense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, now := drawInput(t)
		unserved := unservedIndices(in, now)
		for _, f := range diff.App(nil, in, now, policy) {
			due := f.Bucket == diff.ToStart || f.Bucket == diff.ToStop || f.Bucket == diff.Hold
			switch {
			case f.Action == commands.Start && !unserved[f.Index]:
				t.Fatalf("a start where nothing is missing: %+v", f)
			case f.Bucket == diff.ToStart && f.Action != commands.Start, f.Bucket == diff.ToStop && f.Action != commands.Stop:
				t.Fatalf("bucket and action disagree: %+v", f)
			case due && (f.Due > now || f.Action == commands.None), f.Action != commands.None && f.Due == 0:
				t.Fatalf("not due: %+v", f)
			case f.Bucket == diff.Wait && f.Why == diff.WhyNothing:
				t.Fatalf("waits for nothing: %+v", f)
			case f.Bucket == diff.Keep && (f.Action != commands.None || !f.Command.IsZero() || f.Kind != diff.KindNone):
				t.Fatalf("kept, and yet: %+v", f)
			case f.Bucket != diff.Keep && (f.Rule == "" || f.Kind == diff.KindNone):
				t.Fatalf("drift without a rule or a kind: %+v", f)
			case (f.Action == commands.Stop) != (f.Reason >= commands.ReasonExtra), f.Action == commands.Stop && f.State == actual.Crashed:
				t.Fatalf("no reason to stop: %+v", f)
			case len(in.Held) > 0 && (f.Bucket == diff.ToStart || f.Bucket == diff.ToStop), len(in.Held) == 0 && f.Bucket == diff.Hold:
				t.Fatalf("held by %v: %+v", in.Held, f)
			case (f.CrashCount != 0) != (f.Reason == commands.ReasonCrashed) && f.Command.IsZero():
				t.Fatalf("crash counted: %+v", f)
			}
			if f.Command.IsZero() {
				continue
			}
			i := slices.IndexFunc(in.Outstanding, func(o commands.Outstanding) bool { return o.ID == f.Command })
			if i < 0 || !sameTarget(in.Outstanding[i], commands.Outstanding{Action: f.Action, Index: f.Index, Instance: f.Instance}) {
				t.Fatalf("%+v names a command for something else", f)
			}
			if o := in.Outstanding[i]; o.SentAt != 0 && now < o.SentAt.Add(policy.Grace) && (due || f.Why != diff.WhySent) {
				t.Fatalf("not left its time: %+v by %+v", f, o)
			}
		}
	})
}

// TestNoStopTakesTheLastInstance holds I3 and W02: after all due stops and all stops that were sent, every desired
// index that had a live instance still has one.
func TestNoStopTakesTheLastInstance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, now := drawInput(t)
		in.Held = nil
		if in.Desired == nil || !in.Desired.Wanted() {
			return
		}
		for i, l := range in.Instances { // many with a stop that was sent or is scheduled
			o := commands.Outstanding{ID: commands.ID{2, byte(i)}, Action: commands.Stop, Index: l.Index, Instance: l.GUID, Reason: commands.ReasonDuplicate, DueAt: t0}
			taken := slices.ContainsFunc(in.Outstanding, func(p commands.Outstanding) bool { return sameTarget(o, p) })
			switch how := rapid.IntRange(0, 3).Draw(t, "told"); {
			case how == 0 || taken:
				continue
			case how == 1:
				o.SentAt = now.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "told ago")) * time.Second)
			}
			in.Outstanding = append(in.Outstanding, o)
		}
		live, going, due, replaced := map[uint32]int{}, map[uint32]int{}, map[uint32]int{}, map[uint32]int{}
		for _, f := range diff.App(nil, in, now, policy) {
			if f.Instance.IsZero() || !f.State.Live() || f.Index >= in.Desired.Instances {
				continue
			}
			if i := slices.IndexFunc(in.Instances, func(l actual.Located) bool { return l.GUID == f.Instance }); stuck(in.Instances[i], now) {
				if f.Bucket == diff.ToStop {
					replaced[f.Index]++
				}
				continue
			}
			live[f.Index]++
			told := slices.ContainsFunc(in.Outstanding, func(o commands.Outstanding) bool {
				return o.Instance == f.Instance && o.SentAt != 0 && now < o.SentAt.Add(policy.Grace)
			})
			if told {
				going[f.Index]++
			}
			if f.Bucket == diff.ToStop {
				due[f.Index]++
			}
		}
		for index := range replaced {
			if live[index]-going[index]-due[index] < 1 {
				t.Fatalf("index %d: %d live, %d told to stop, %d due to be stopped, beside one that started for too long", index, live[index], going[index], due[index])
			}
		}
		for index, n := range due {
			if live[index]-going[index]-n < 1 {
				t.Fatalf("index %d: %d live, %d told to stop, %d due to be stopped", index, live[index], going[index], n)
			}
			if n+going[index] > 1 {
				t.Fatalf("index %d: %d told to stop and %d due at the same time", index, going[index], n)
			}
		}
	})
}

// TestAppIsAFunction holds that App gives the same findings again, for any order of the commands and with any number of
// others, that it appends, and that it does not change its input.
func TestAppIsAFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, now := drawInput(t)
		before := *in
		before.Outstanding, before.Instances, before.Crashes = slices.Clone(in.Outstanding), slices.Clone(in.Instances), slices.Clone(in.Crashes)
		first := diff.App(nil, in, now, policy)
		if !reflect.DeepEqual(*in, before) {
			t.Fatal("the input was changed")
		}
		other := *in
		other.Outstanding = rapid.Permutation(in.Outstanding).Draw(t, "order")
		for n := range rapid.SampledFrom([]int{0, 40}).Draw(t, "unrelated") {
			other.Outstanding = append(other.Outstanding, commands.Outstanding{ID: commands.ID{1, byte(n)}, Action: commands.Stop, Instance: guid(100 + n), SentAt: t0})
		}
		mark := diff.Finding{Rule: "before"}
		second := diff.App([]diff.Finding{mark}, &other, now, policy)
		if second[0] != mark || !slices.Equal(first, second[1:]) {
			t.Fatalf("%+v\n%+v", first, second)
		}
	})
}

// TestTallyAgreesWithApp holds that App finds nothing about a settled app.
func TestTallyAgreesWithApp(t *testing.T) {
	settled, starting := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		in, now := drawInput(t)
		if rapid.Bool().Draw(t, "as desired") && in.Desired != nil { // random inputs rarely are
			in.Instances = slices.DeleteFunc(in.Instances, func(l actual.Located) bool { return l.Index >= in.Desired.Instances })
			in.Instances = slices.CompactFunc(in.Instances, func(a, b actual.Located) bool { return a.Index == b.Index })
			for i := range in.Instances {
				in.Instances[i].State = rapid.SampledFrom([]actual.State{actual.Running, actual.Running, actual.Starting}).Draw(t, "live")
				in.Instances[i].Index = uint32(i)
				in.Instances[i].Heard = now.Add(-rapid.SampledFrom([]time.Duration{0, heartbeat, policy.StartingTTL - 1e6, policy.StartingTTL}).Draw(t, "age"))
			}
			in.Desired.Instances, in.Desired.State, in.Desired.Package = uint32(len(in.Instances)), desired.Started, desired.Staged
		}
		var tally diff.Tally
		for _, l := range in.Instances {
			tally.Add(l.Index, l.State, l.Heard)
		}
		if in.Desired == nil && !tally.SettledUndesired() || in.Desired != nil && !tally.Settled(*in.Desired) {
			return
		}
		stuckAt := tally.StuckAt(policy)
		if stuckAt != 0 && stuckAt <= now {
			return
		}
		if settled++; len(in.Instances) == 0 {
			settled--
		}
		if stuckAt != 0 {
			starting++
		}
		findings := diff.App(nil, in, now, policy)
		for _, f := range findings {
			if f.Bucket != diff.Keep || f.Instance.IsZero() {
				t.Fatalf("settled, and yet: %+v", f)
			}
		}
		in.Outstanding = nil
		if p := diff.MakePlan(in, findings, now, policy); !reflect.DeepEqual(p, diff.Plan{Next: stuckAt}) {
			t.Fatalf("settled until %v, and its plan is %+v", stuckAt, p)
		}
	})
	if settled == 0 || starting == 0 {
		t.Errorf("%d apps with instances were settled, %d of them with STARTING ones: the test must see both", settled, starting)
	}
}

func TestTallyAtItsLimits(t *testing.T) {
	for _, n := range []uint32{0, 1, 63, 64, 65} {
		var tally, short, double diff.Tally
		for i := range n {
			tally.Add(i, actual.Running, t0)
			double.Add(i, actual.Running, t0)
			if i > 0 {
				short.Add(i, actual.Running, t0)
				short.Add(1, actual.Running, t0)
			}
		}
		double.Add(0, actual.Starting, t0)
		d := desired.App{Instances: n, State: desired.Started, Package: desired.Staged}
		if got, want := tally.Settled(d), n <= 64; got != want {
			t.Errorf("%d instances: settled is %v, want %v", n, got, want)
		}
		if double.Settled(d) || n > 0 && short.Settled(d) {
			t.Errorf("%d instances: one too many or one missing is taken for settled", n)
		}
	}
}

// TestTallyKnowsWhenAnInstanceIsStuck holds that the oldest STARTING instance counts (policy.starting_ttl).
func TestTallyKnowsWhenAnInstanceIsStuck(t *testing.T) {
	var tally diff.Tally
	forEver := policy
	forEver.StartingTTL = 0
	want := func(at app.Time) {
		t.Helper()
		if got := tally.StuckAt(policy); got != at {
			t.Errorf("stuck at %v, want %v", got, at)
		}
		if got := tally.StuckAt(forEver); got != 0 {
			t.Errorf("stuck at %v although an instance may be STARTING for ever", got)
		}
	}
	want(0)
	tally.Add(0, actual.Running, t0)
	tally.Add(1, actual.Crashed, t0)
	want(0)
	tally.Add(2, actual.Starting, t0.Add(heartbeat))
	want(t0.Add(heartbeat + policy.StartingTTL))
	tally.Add(3, actual.Starting, t0.Add(2*heartbeat))
	want(t0.Add(heartbeat + policy.StartingTTL))
	tally.Add(4, actual.Starting, t0)
	want(t0.Add(policy.StartingTTL))
}

// TestBackoff holds that delays grow with each crash up to the longest delay, for any policy (R07).
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := diff.Policy{
			CrashesBeforeBackoff: rapid.IntRange(-3, 20).Draw(t, "before"),
			BackoffStart:         time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "start")),
			BackoffMax:           time.Duration(rapid.Int64Range(0, 1<<61).Draw(t, "max")),
		}
		n := rapid.Uint32().Draw(t, "crashes")
		d := p.Backoff(n)
		if d < 0 || d > p.BackoffMax || int64(n) < int64(p.CrashesBeforeBackoff) && d != 0 {
			t.Fatalf("after %d crashes: %v with %+v", n, d, p)
		}
		if n > 0 {
			if b := p.Backoff(n - 1); b > d || b > 0 && d != min(2*b, p.BackoffMax) {
				t.Fatalf("after %d crashes %v, after %d %v with %+v", n-1, b, n, d, p)
			}
		}
		if p.BackoffStart > 0 && p.Backoff(1<<32-1) != p.BackoffMax {
			t.Fatalf("after very many crashes: %v with %+v", p.Backoff(1<<32-1), p)
		}
	})
}

// TestCrashesOnlyFade holds that a series never counts more crashes than it has, and fewer as time passes.
// TestFlapping: an index flaps from the crash on that delays the next restart, until the series is forgotten.
func TestFlapping(t *testing.T) {
	p := policy
	for count := range uint32(6) {
		c := actual.Crash{Count: count, First: 1000, Last: 2000}
		if got, want := p.Flapping(c, 2001), count > 0 && p.Backoff(count) > 0; got != want {
			t.Errorf("after %d crashes: %v, want %v", count, got, want)
		}
		if p.Flapping(c, app.Time(2000).Add(p.CrashMemory())) {
			t.Errorf("after %d crashes that are forgotten it flaps", count)
		}
	}
	p.CrashesBeforeBackoff = 0
	if p.Flapping(actual.Crash{}, 2001) || !p.Flapping(actual.Crash{Count: 1, Last: 2000}, 2001) {
		t.Error("if every restart is delayed, an index flaps from its first crash on, and not before")
	}
}

func TestCrashesOnlyFade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := actual.Crash{Count: rapid.Uint32().Draw(t, "count"), Last: t0, Ran: time.Duration(rapid.Int64Range(0, 1<<45).Draw(t, "ran"))}
		if rapid.Bool().Draw(t, "running") {
			c.RunningSince = t0
		}
		a := rapid.IntRange(0, 3000).Draw(t, "a")
		b := a + rapid.IntRange(0, 3000).Draw(t, "b")
		x, y := policy.Crashes(c, t0.Add(time.Duration(a)*time.Second)), policy.Crashes(c, t0.Add(time.Duration(b)*time.Second))
		if x > c.Count || y > x || b >= 1920 && y != 0 {
			t.Fatalf("%+v is worth %d after %d s and %d after %d s", c, x, a, y, b)
		}
	})
}

func TestWordsOfUnknownNumbers(t *testing.T) {
	for _, s := range []string{commands.Action(200).String(), commands.Reason(200).String(), diff.Kind(200).String(), diff.Bucket(200).String(), diff.Why(200).String()} {
		if s == "" {
			t.Error("an unknown number has no word")
		}
	}
	for _, k := range diff.Kinds() {
		if k.String() == "" || k == diff.KindNone {
			t.Errorf("kind %d has no word", k)
		}
	}
}
