package raftfsm

import (
	"errors"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// A desired read counts from its commit on, and only whole (I6).
func TestDesiredReadCountsOnlyWhenWhole(t *testing.T) {
	l := newLog(t)
	k0, k1, k2 := testKey(0), testKey(1), testKey(2)
	l.desire(row(k0, 1))
	refused := func(want error, r Record) {
		t.Helper()
		said := describeTest(l.State)
		if res := l.apply(r); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, want) {
			t.Fatalf("%T: refused %+v, want %v", r, res.Refused, want)
		}
		if describeTest(l.State) != said {
			t.Fatalf("%T was refused, but changed something", r)
		}
	}
	l.must(DesiredChanges{Generation: 5, Upserts: []desired.App{row(k1, 4)}, Removes: []app.Key{k0}})
	if _, ok := l.App(k1); ok || l.Counts().Apps != 1 || l.DesiredVersion(k0.Droplet).IsZero() {
		t.Fatal("a staged part shows")
	}
	refused(ErrGeneration, DesiredCommit{Generation: 4, Parts: 1, Base: 1})
	refused(ErrGeneration, DesiredChanges{Generation: 4})
	refused(ErrGeneration, DesiredChanges{Generation: 1})
	refused(ErrInvalid, DesiredChanges{Generation: 5, Upserts: []desired.App{row(app.Key{}, 4)}})
	refused(ErrInvalid, DesiredChanges{Generation: 5, Upserts: []desired.App{row(k1, desired.MaxInstances+1)}})
	l.must(DesiredChanges{Generation: 7, Upserts: []desired.App{row(k2, 2)}}) // discards generation 5
	refused(ErrGeneration, DesiredCommit{Generation: 5, Parts: 1, Base: 1})
	l.must(DesiredChanges{Generation: 7, Upserts: []desired.App{row(k2, 3)}, Removes: []app.Key{k2}})
	l.must(DesiredCommit{Generation: 7, Parts: 2, Base: 1, Source: "seven"})
	if m := l.DesiredMeta(); m != (DesiredMeta{Generation: 7, CommittedAt: l.Time(), Source: "seven", Complete: true, Apps: 2, Instances: 4}) {
		t.Fatalf("meta %+v", m)
	}
	a, _ := l.App(k2)
	if a.Desired != row(k2, 3) || a.Rev != l.Index() {
		t.Fatalf("app %+v", a)
	}
	if _, ok := l.App(k1); ok {
		t.Fatal("a discarded part came to count")
	}
	refused(ErrGeneration, DesiredCommit{Generation: 7, Parts: 0, Base: 7})
	l.must(DesiredCommit{Generation: 8, Parts: 0, Base: 7}) // a read that changes nothing, but is complete
}

// TestAFailedCommitLeavesNothingStaged: parts whose commit failed never meet the parts of a later read (I6).
func TestAFailedCommitLeavesNothingStaged(t *testing.T) {
	part := DesiredChanges{Generation: 5, Upserts: []desired.App{row(testKey(1), 4)}}
	for name, c := range map[string]struct {
		commit DesiredCommit
		want   error
	}{
		"a part is missing":                {DesiredCommit{Generation: 5, Parts: 2, Base: 1}, ErrIncomplete},
		"a part too many":                  {DesiredCommit{Generation: 5, Parts: 0, Base: 1}, ErrIncomplete},
		"of a newer read without a part":   {DesiredCommit{Generation: 6, Parts: 1, Base: 1}, ErrIncomplete},
		"computed from an older record":    {DesiredCommit{Generation: 5, Parts: 1, Base: 0}, ErrOutdated},
		"computed from what never counted": {DesiredCommit{Generation: 5, Parts: 1, Base: 4}, ErrOutdated},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.desire(row(testKey(0), 1))
			hash := l.sum
			l.must(part)
			if res := l.apply(c.commit); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, c.want) {
				t.Fatalf("refused %+v, want %v", res.Refused, c.want)
			}
			if l.sum != hash || l.NextGeneration() != 2 {
				t.Fatalf("something is still staged: the next generation is %d", l.NextGeneration())
			}
			l.must(DesiredChanges{Generation: 2, Upserts: []desired.App{row(testKey(2), 1)}}, DesiredCommit{Generation: 2, Parts: 1, Base: 1})
		})
	}
}

// TestTheNextGenerationIsAboveWhatIsStaged: a leader that stopped in the middle of a read leaves parts behind. The next
// read must not add to them.
func TestTheNextGenerationIsAboveWhatIsStaged(t *testing.T) {
	l := newLog(t)
	l.desire(row(testKey(0), 1))
	l.must(DesiredChanges{Generation: l.NextGeneration(), Upserts: []desired.App{row(testKey(1), 4)}})
	next := l.NextGeneration()
	if next != 3 {
		t.Fatalf("the next generation is %d, want 3", next)
	}
	l.must(DesiredChanges{Generation: next, Upserts: []desired.App{row(testKey(2), 1)}}, DesiredCommit{Generation: next, Parts: 1, Base: 1})
	if _, ok := l.App(testKey(1)); ok {
		t.Error("a part of the dead leader's read counts")
	}
}

func TestStagedRowsHaveABound(t *testing.T) {
	l := newLog(t)
	rows := make([]desired.App, maxStagedRows/2)
	for i := range rows {
		rows[i] = row(testKey(0), 1)
	}
	l.must(DesiredChanges{Generation: 1, Upserts: rows})
	l.must(DesiredChanges{Generation: 1, Upserts: rows})
	if res := l.apply(DesiredChanges{Generation: 1, Upserts: rows[:1]}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) {
		t.Fatalf("refused %+v, want %v", res.Refused, ErrInvalid)
	}
}

// TestExitsAtIndicesThatNobodyWants are not noted, and noted ones go when their index is no longer wanted: hours later
// they would make a start of a scale-up that the Cloud Controller sees to itself.
func TestExitsAtIndicesThatNobodyWants(t *testing.T) {
	k := testKey(0)
	exit := func(index uint32) InstanceExited {
		return InstanceExited{Exit: actual.Exit{App: k, Instance: testGUID('c', 40+int(index), 'u'), Index: index, Reason: actual.ExitCrashed}}
	}
	noted := func(l *log, want int) {
		t.Helper()
		if got := l.Crashes(k); len(got) != want {
			t.Fatalf("crash records %+v, want %d", got, want)
		}
	}
	l := newLog(t)
	l.desire(row(k, 2))
	l.must(exit(1), exit(2), exit(70))
	noted(l, 1)
	l.desire(row(k, 1))
	noted(l, 0)
	l.desire(row(k, 2))
	l.must(exit(1))
	noted(l, 1)
	stopped := row(k, 2)
	stopped.State = desired.Stopped
	l.desire(stopped)
	noted(l, 0)
	l.must(exit(1))
	noted(l, 0)
}

// TestAnExitIsAnsweredByAnotherInstance: once something else is live at the index, the exit is no news any more.
func TestAnExitIsAnsweredByAnotherInstance(t *testing.T) {
	l, k := newLog(t), testKey(0)
	l.desire(row(k, 1))
	gone := testInstance(k, 1, 0, actual.Starting)
	l.must(InstanceExited{Exit: actual.Exit{App: k, Instance: gone.GUID, Reason: actual.ExitCrashed}})
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{gone}}) // heard late: it is the crash
	if c := l.Crashes(k); len(c) != 1 || c[0].Exited != gone.GUID {
		t.Fatalf("crashes %+v", c)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(k, 2, 0, actual.Starting)}})
	if c := l.Crashes(k); len(c) != 1 || !c[0].Exited.IsZero() || c[0].ExitedAt != 0 {
		t.Fatalf("crashes %+v", c)
	}
}

func TestOthersGrewAt(t *testing.T) {
	l := newLog(t)
	old, other := testKey(0), testKey(0)
	other.Version = testKey(7).Version
	l.desire(row(old, 1))
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(old, 1, 0, actual.Running)}})
	if at := l.OthersGrewAt(old); at != 0 {
		t.Errorf("one version alone: %v", at)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(other, 2, 0, actual.Crashed)}})
	if at := l.OthersGrewAt(old); at != 0 {
		t.Errorf("another version that only crashed: %v", at)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(other, 3, 0, actual.Starting)}})
	if at := l.OthersGrewAt(old); at != l.Time() {
		t.Errorf("another version starts: %v, want %v", at, l.Time())
	}
	if at := l.OthersGrewAt(other); at == 0 || at == l.Time() {
		t.Errorf("beside the other version: %v", at)
	}
}

func describeTest(s *State) string {
	return iterators(s.DEAs(), s.Apps(), s.DesiredApps(), s.AllCommands(), s.AllCrashes())
}

func TestADropletIsDesiredInOneVersion(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	next := app.Key{Droplet: k.Droplet, Version: testGUID('b', 7, 'u')}
	l.desire(row(k, 2))
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(k, 1, 0, actual.Running)}})
	l.desire(row(next, 2))
	if v := l.DesiredVersion(k.Droplet); v != next.Version {
		t.Fatalf("desired in version %v", v)
	}
	if a, ok := l.App(k); !ok || a.HasDesired || a.Rev != 0 || a.Instances != 1 {
		t.Fatalf("the old version: %v, %+v", ok, a)
	}
	if vs := l.Versions(k.Droplet); len(vs) != 2 || l.Counts().Apps != 1 {
		t.Fatalf("versions %v, %d apps", vs, l.Counts().Apps)
	}
}

// A restarted DEA keeps its instances' guids under a new id: the later recorded DEA has them, and nothing grew (W10).
func TestRestartedDEA(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	old, now := testInstance(k, 1, 0, actual.Running), testInstance(k, 1, 0, actual.Starting)
	l.must(DEAChanges{DEA: "before", Upserts: []actual.Instance{old}})
	grew := l.Time()
	l.must(DEAChanges{DEA: "after", Upserts: []actual.Instance{now}})
	if got := l.Instances(nil, k); len(got) != 1 || got[0].DEA != "after" || got[0].State != actual.Starting {
		t.Fatalf("instances %+v", got)
	}
	if a, _ := l.App(k); a.GrewAt != grew || a.Instances != 2 {
		t.Fatalf("app %+v, it grew at %v", a, grew)
	}
	l.must(DEAsGone{DEAs: []string{"before"}})
	if got := l.Instances(nil, k); len(got) != 1 || got[0].DEA != "after" {
		t.Fatalf("once the old DEA is gone: %+v", got)
	}
	l.must(DEAChanges{DEA: "before", Upserts: []actual.Instance{old}}) // it is the later one now
	if got := l.Instances(nil, k); len(got) != 1 || got[0].DEA != "before" {
		t.Fatalf("once it came back: %+v", got)
	}
}

// The same with as many instances as take the way with a table, and an index that changed on the way.
func TestRestartedDEAOfManyInstances(t *testing.T) {
	const n = 200
	l := newLog(t)
	k := testKey(0)
	var old, now []actual.Instance
	for i := range n {
		old = append(old, testInstance(k, i, uint32(i), actual.Running))
		now = append(now, testInstance(k, i, uint32(n-i), actual.Starting))
	}
	l.must(DEAChanges{DEA: "before", Upserts: old})
	l.must(DEAChanges{DEA: "after", Upserts: now[:n/2]})
	got := l.Instances(nil, k)
	if len(got) != n {
		t.Fatalf("%d instances", len(got))
	}
	on := map[string]int{}
	for _, i := range got {
		on[i.DEA]++
		if (i.State == actual.Starting) != (i.DEA == "after") {
			t.Fatalf("instance %+v", i)
		}
	}
	if on["after"] != n/2 {
		t.Fatalf("instances by DEA: %v", on)
	}
}

func TestDEALife(t *testing.T) {
	l := newLog(t)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running)}})
	first := l.Time()
	if res := l.apply(DEAsForgotten{DEAs: []string{"dea-0"}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNotGone) {
		t.Fatalf("forgetting a DEA that beats: %+v", res.Refused)
	}
	rev := l.Index() - 1
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running)}})
	if d, _ := l.DEA("dea-0"); d != (DEA{ID: "dea-0", Rev: rev, FirstSeen: first, ChangedAt: first, Len: 1}) {
		t.Fatalf("a change that changes nothing left %+v", d)
	}
	l.must(DEAsGone{DEAs: []string{"dea-0", "never heard of"}})
	gone := l.Time()
	if d, _ := l.DEA("dea-0"); d.GoneAt != gone || d.Len != 0 || l.Counts().GoneDEAs != 1 {
		t.Fatalf("gone: %+v, %+v", d, l.Counts())
	}
	if _, ok := l.App(testKey(0)); ok {
		t.Fatal("the app stayed though nothing refers to it")
	}
	l.must(DEAChanges{DEA: "dea-0"})
	if d, _ := l.DEA("dea-0"); d.GoneAt != 0 || d.FirstSeen != l.Time() {
		t.Fatalf("back: %+v", d)
	}
	l.must(DEAsGone{DEAs: []string{"dea-0"}}, DEAsForgotten{DEAs: []string{"dea-0"}})
	if _, ok := l.DEA("dea-0"); ok || l.Counts() != (Counts{}) {
		t.Fatalf("forgotten, but %+v", l.Counts())
	}
}

func TestDEAChangesAreRefusedWhole(t *testing.T) {
	k := testKey(0)
	good := testInstance(k, 1, 0, actual.Running)
	bad := func(change func(*actual.Instance)) DEAChanges {
		i := testInstance(k, 2, 0, actual.Running)
		change(&i)
		return DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{good, i}}
	}
	var many []actual.Instance
	for n := range actual.MaxInstances + 1 {
		many = append(many, testInstance(k, n, 0, actual.Running))
	}
	for name, r := range map[string]DEAChanges{
		"no DEA":       {Upserts: []actual.Instance{good}},
		"no guid":      bad(func(i *actual.Instance) { i.GUID = app.GUID{} }),
		"no droplet":   bad(func(i *actual.Instance) { i.App.Droplet = app.GUID{} }),
		"no version":   bad(func(i *actual.Instance) { i.App.Version = app.GUID{} }),
		"no state":     bad(func(i *actual.Instance) { i.State = 0 }),
		"large index":  bad(func(i *actual.Instance) { i.Index = actual.MaxIndex + 1 }),
		"far too many": {DEA: "dea-0", Upserts: many},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			res := l.apply(r)
			if len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) || res.Refused[0].Record != 0 {
				t.Fatalf("refused %+v", res.Refused)
			}
			if describeTest(l.State) != "" || l.Handles() != 0 {
				t.Fatalf("something was recorded: %s", describeTest(l.State))
			}
		})
	}
	l := newLog(t)
	l.must(DEAChanges{DEA: "dea-0", Upserts: many[:actual.MaxInstances]})
	// One more only fits if one goes, and order in the record does not matter.
	if res := l.apply(DEAChanges{DEA: "dea-0", Upserts: many[actual.MaxInstances:]}); len(res.Refused) != 1 {
		t.Fatal("the limit is not kept over several records")
	}
	l.must(DEAChanges{DEA: "dea-0", Upserts: many[actual.MaxInstances:], Removes: []app.GUID{many[0].GUID}})
}

// Upserts by the thousand take the way with tables, single ones the way without; both come to the same.
func TestManyChangesOfOneDEA(t *testing.T) {
	const n = 500
	k := testKey(0)
	one, all := newLog(t), newLog(t)
	var ups, later []actual.Instance
	for i := range n {
		ups = append(ups, testInstance(k, i, uint32(i), actual.Starting))
		later = append(later, testInstance(testKey(i%7), i, uint32(i%13), actual.Running))
	}
	removes := []app.GUID{later[3].GUID, later[n-1].GUID, testGUID('c', n+5, 'u')}
	twice := append(append([]actual.Instance(nil), ups...), later[:n/2]...) // half of the guids come twice: the later count
	all.must(DEAChanges{DEA: "dea-0", Upserts: twice})
	for _, i := range twice {
		one.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{i}})
	}
	all.must(DEAChanges{DEA: "dea-0", Removes: removes, Upserts: later[:n-1]})
	for _, g := range removes {
		one.must(DEAChanges{DEA: "dea-0", Removes: []app.GUID{g}})
	}
	for _, i := range later[:n-1] {
		one.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{i}})
	}
	for i := range 7 {
		a, b := all.Instances(nil, testKey(i)), one.Instances(nil, testKey(i))
		if len(a) == 0 || len(a) != len(b) {
			t.Fatalf("app %d: %d and %d instances", i, len(a), len(b))
		}
		for j := range a {
			b[j].Heard = a[j].Heard // it came to be recorded step by step
			if a[j] != b[j] {
				t.Fatalf("app %d: %+v and %+v", i, a[j], b[j])
			}
		}
	}
	if all.Counts() != one.Counts() || recomputed(all.State) != all.Hash() || recomputed(one.State) != one.Hash() {
		t.Fatalf("%+v and %+v", all.Counts(), one.Counts())
	}
}

func TestCrashRecord(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	l.desire(row(k, 2))
	inst := func(n int, st actual.State) actual.Instance { return testInstance(k, n, 0, st) }
	exit := func(n int, why actual.ExitReason) InstanceExited {
		return InstanceExited{Exit: actual.Exit{App: k, Instance: inst(n, 0).GUID, Index: 0, Reason: why}}
	}
	want := func(c actual.Crash) {
		t.Helper()
		if got := l.Crashes(k); len(got) != 1 || got[0] != c {
			t.Fatalf("crashes %+v, want %+v", got, c)
		}
	}
	// A crash before any heartbeat showed the instance (R34).
	l.must(exit(1, actual.ExitStopped), exit(1, actual.ExitOther))
	if len(l.Crashes(k)) != 0 {
		t.Fatalf("exits that are no crashes left %+v", l.Crashes(k))
	}
	l.must(exit(1, actual.ExitCrashed))
	c := actual.Crash{Exited: inst(1, 0).GUID, ExitedAt: l.Time(), ExitReason: actual.ExitCrashed}
	want(c)
	// Its restart is scheduled: it is counted.
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, inst(1, 0).GUID)}})
	c = actual.Crash{Count: 1, First: l.Time(), Last: l.Time(), Instance: inst(1, 0).GUID}
	want(c)
	l.must(exit(1, actual.ExitCrashed)) // told again: counted already
	want(c)
	l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(1), State: commands.Confirmed}}})
	// The new instance starts, runs, moves to a restarted DEA, crashes: the time it ran is kept (W20).
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{inst(2, actual.Starting)}})
	c.Answered = true
	want(c)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{inst(2, actual.Running)}})
	c.RunningSince = l.Time()
	want(c)
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{inst(2, actual.Running)}})
	l.must(DEAsGone{DEAs: []string{"dea-0"}})
	want(c)
	l.must(exit(9, actual.ExitCrashed)) // something is live at the index: not noted
	want(c)
	l.must(exit(2, actual.ExitCrashed))
	c.Ran, c.RunningSince = l.Time().Sub(c.RunningSince), 0
	want(c)
	if got := l.Instances(nil, k); len(got) != 1 || got[0].State != actual.Crashed || c.Ran != 4*time.Second {
		t.Fatalf("after the exit: %+v, ran %v", got, c.Ran)
	}
	// It runs again and its DEA falls silent.
	l.must(DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{inst(3, actual.Running)}})
	l.must(DEAsGone{DEAs: []string{"dea-2"}})
	c.Ran += time.Second
	want(c)
	// The next restart starts the clock anew; First stays while the series lasts.
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(2, k, 0, 2, inst(2, 0).GUID)}})
	c.Count, c.Last, c.Ran, c.Answered, c.Instance = 2, l.Time(), 0, false, inst(2, 0).GUID
	want(c)
	l.must(CrashesForgotten{Crashes: []CrashRef{{App: k, Index: 0}, {App: k, Index: 1}, {App: testKey(1)}}})
	if len(l.Crashes(k)) != 0 {
		t.Fatalf("forgotten, but %+v", l.Crashes(k))
	}
}

func TestExitOfARecordedInstance(t *testing.T) {
	for _, c := range []struct {
		st   actual.State
		why  actual.ExitReason
		want actual.State
	}{
		{actual.Running, actual.ExitCrashed, actual.Crashed},
		{actual.Evacuating, actual.ExitCrashed, actual.Crashed},
		{actual.Running, actual.ExitShutdown, actual.Evacuating},
		{actual.Starting, actual.ExitEvacuation, actual.Evacuating},
		{actual.Crashed, actual.ExitEvacuation, actual.Crashed},
		{actual.Running, actual.ExitStopped, actual.Running},
		{actual.Running, actual.ExitOther, actual.Running},
	} {
		l := newLog(t)
		k := testKey(0)
		i := testInstance(k, 1, 0, c.st)
		l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{i}})
		l.must(InstanceExited{Exit: actual.Exit{App: k, Instance: i.GUID, Index: 0, Reason: c.why}})
		if got := l.Instances(nil, k); len(got) != 1 || got[0].State != c.want || got[0].Since != i.Since {
			t.Errorf("%v, exit %v: %+v, want %v", c.st, c.why, got, c.want)
		}
		if len(l.Crashes(k)) != 0 {
			t.Errorf("%v, exit %v: crashes %+v", c.st, c.why, l.Crashes(k))
		}
	}
}

// Nothing is noted of an app that hm does not know: strangers' exits leave nothing behind.
func TestExitOfAnUnknownApp(t *testing.T) {
	l := newLog(t)
	x := actual.Exit{App: testKey(0), Instance: testGUID('c', 1, 'u'), Reason: actual.ExitCrashed}
	l.must(InstanceExited{Exit: x})
	x.Index = actual.MaxIndex + 1
	if res := l.apply(InstanceExited{Exit: x}); len(res.Refused) != 1 || l.Handles() != 0 {
		t.Fatalf("refused %+v, %d handles", res.Refused, l.Handles())
	}
}

func TestHolds(t *testing.T) {
	l := newLog(t)
	l.must(HoldSet{Hold: Hold{Name: "paused", Reason: "lunch", By: "me", Until: 7}})
	if h := l.Holds(); len(h) != 1 || h[0] != (Hold{Name: "paused", Reason: "lunch", By: "me", SetAt: l.Time(), Until: 7}) {
		t.Fatalf("holds %+v", h)
	}
	if res := l.apply(HoldReleased{Name: "other"}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNoHold) {
		t.Fatalf("refused %+v", res.Refused)
	}
	for _, name := range []string{"", "two words", "é", string(make([]byte, MaxHoldName+1))} {
		if res := l.apply(HoldSet{Hold: Hold{Name: name}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) {
			t.Fatalf("name %q: refused %+v", name, res.Refused)
		}
	}
	l.must(HoldSet{Hold: Hold{Name: "paused", SetAt: 3}}, HoldSet{Hold: Hold{Name: "mass-loss"}})
	if h := l.Holds(); len(h) != 2 || h[0].Name != "mass-loss" || h[1] != (Hold{Name: "paused", SetAt: 3}) {
		t.Fatalf("holds %+v", h)
	}
	l.must(HoldReleased{Name: "paused"})
	if h := l.Holds(); len(h) != 1 {
		t.Fatalf("holds %+v", h)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	s := NewState()
	last := app.Time(0)
	for i, at := range []app.Time{1000, 2000, 1500, -1, MaxTime + 1, 1999, 2000, 2001} {
		res := s.Apply(uint64(i+1), 1, Entry{At: at, Records: []Record{HoldSet{Hold: Hold{Name: "h"}}}})
		if refused := at < 0 || at > MaxTime; refused != errors.Is(res.Err, ErrTime) {
			t.Errorf("at %d: %v", at, res.Err)
		}
		if s.Time() < last || s.Holds()[0].SetAt != s.Time() && res.Err == nil {
			t.Errorf("at %d: time %v after %v, hold %+v", at, s.Time(), last, s.Holds())
		}
		last = s.Time()
		if s.Index() != uint64(i+1) {
			t.Errorf("index %d after entry %d", s.Index(), i+1)
		}
	}
	if last != 2001 {
		t.Errorf("time ends at %d", last)
	}
}

// A snapshot of a longer log may be restored into a younger one: revisions go on growing, or a stale basis might
// hold again.
func TestRevisionsGrowOverARestoredSnapshot(t *testing.T) {
	s := NewState()
	k := testKey(0)
	desire := func(index, generation uint64, n uint32) uint64 {
		s.Apply(index, 1, Entry{At: 1, Records: []Record{DesiredChanges{Generation: generation, Upserts: []desired.App{row(k, n)}}, DesiredCommit{Generation: generation, Parts: 1, Base: generation - 1}}})
		return s.Basis(k, 0).Desired
	}
	if r := desire(500, 1, 1); r != 500 {
		t.Fatalf("revision %d", r)
	}
	if r := desire(12, 2, 2); r != 501 {
		t.Fatalf("revision %d once the log is at 12", r)
	}
	if r := desire(700, 3, 3); r != 700 {
		t.Fatalf("revision %d", r)
	}
}

func TestApplyOnAFrozenStatePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("it did not")
		}
	}()
	NewState().Freeze().Apply(1, 1, Entry{})
}
