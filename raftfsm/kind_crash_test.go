package raftfsm

import (
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

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
		t.Fatalf("exits that are no crashes were noted: %+v", l.Crashes(k))
	}
	l.must(exit(1, actual.ExitCrashed))
	c := actual.Crash{Exited: inst(1, 0).GUID, ExitedAt: l.Time(), ExitReason: actual.ExitCrashed}
	want(c)
	// When its restart is scheduled, the crash is counted.
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, inst(1, 0).GUID)}})
	c = actual.Crash{Count: 1, First: l.Time(), Last: l.Time(), Instance: inst(1, 0).GUID}
	want(c)
	l.must(exit(1, actual.ExitCrashed)) // the same exit again: it was counted already
	want(c)
	l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(1), State: commands.Confirmed}}})
	// The new instance starts, runs, moves to a restarted DEA and crashes. Its running time is kept (W20).
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{inst(2, actual.Starting)}})
	c.Answered = true
	want(c)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{inst(2, actual.Running)}})
	c.RunningSince = l.Time()
	want(c)
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{inst(2, actual.Running)}})
	l.must(DEAsGone{DEAs: []string{"dea-0"}})
	want(c)
	l.must(exit(9, actual.ExitCrashed)) // an instance is live at the index: the exit is not noted
	want(c)
	l.must(exit(2, actual.ExitCrashed))
	c.Ran, c.RunningSince = l.Time().Sub(c.RunningSince), 0
	want(c)
	if got := l.Instances(nil, k); len(got) != 1 || got[0].State != actual.Crashed || c.Ran != 4*time.Second {
		t.Fatalf("after the exit: %+v, ran %v", got, c.Ran)
	}
	// It runs again, and then its DEA is gone.
	l.must(DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{inst(3, actual.Running)}})
	l.must(DEAsGone{DEAs: []string{"dea-2"}})
	c.Ran += time.Second
	want(c)
	// The next restart sets the running time to 0. First stays as long as the series lasts.
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(2, k, 0, 2, inst(2, 0).GUID)}})
	c.Count, c.Last, c.Ran, c.Answered, c.Instance = 2, l.Time(), 0, false, inst(2, 0).GUID
	want(c)
	l.must(CrashesForgotten{Crashes: []CrashRef{{App: k, Index: 0}, {App: k, Index: 1}, {App: testKey(1)}}})
	if len(l.Crashes(k)) != 0 {
		t.Fatalf("after CrashesForgotten: %+v", l.Crashes(k))
	}
}

// W23: starts without effect are counted until something happens at the index.
func TestStartsWithoutEffectAreCounted(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	l.desire(row(k, 1))
	id := byte(0)
	try := func(st commands.State) {
		t.Helper()
		id++
		l.must(CommandsScheduled{Commands: []commands.Command{start(id, k, 0)}})
		l.must(CommandsClaimed{Claims: []Claim{{ID: testID(id), Term: l.Term(), Basis: l.Basis(k, 0)}}})
		l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(id), State: commands.Sent}}})
		l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(id), State: st}}})
	}
	tries := func(want uint32) {
		t.Helper()
		got := uint32(0)
		for _, c := range l.Crashes(k) {
			got = c.Tries
			if (c.Tries == 0) != (c.TriedAt == 0) {
				t.Errorf("%d tries, but TriedAt is %v", c.Tries, c.TriedAt)
			}
		}
		if got != want {
			t.Errorf("%d starts without effect are counted, want %d", got, want)
		}
	}
	try(commands.Expired)
	try(commands.Expired)
	tries(2)
	try(commands.Abandoned) // does not count: it was never sent
	try(commands.Confirmed)
	tries(2)
	l.must(DEAChanges{DEA: "a", Upserts: []actual.Instance{testInstance(k, 1, 0, actual.Crashed)}}) // the instance started and crashed
	tries(0)
	try(commands.Expired)
	l.must(InstanceExited{Exit: actual.Exit{App: k, Instance: testInstance(k, 2, 0, 1).GUID, Reason: actual.ExitCrashed}})
	tries(0)
	try(commands.Expired)
	tries(1)
	l.desire(row(k, 0)) // not wanted any more
	tries(0)
	try(commands.Expired)
	tries(0)
}

// A read that lacks an app by error, and is held, does not remove the app's back-off.
func TestI6AHeldReadKeepsCrashSeries(t *testing.T) {
	l, k := newLog(t), testKey(0)
	l.desire(row(k, 1))
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, testGUID('c', 1, 'u'))}})
	l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(1), State: commands.Dropped}}})
	crashes := l.Crashes(k)
	l.must(HoldSet{Hold: Hold{Name: "desired-shrink"}}, DesiredChanges{Generation: 2, Removes: []app.Key{k}}, DesiredCommit{Generation: 2, Parts: 1, Base: 1})
	l.desire(row(k, 1))
	l.must(HoldReleased{Name: "desired-shrink"})
	if got := l.Crashes(k); len(got) != 1 || got[0] != crashes[0] {
		t.Fatalf("crashes %+v, want %+v", got, crashes)
	}
	l.must(HoldSet{Hold: Hold{Name: "desired-shrink"}}, DesiredChanges{Generation: 4, Removes: []app.Key{k}}, DesiredCommit{Generation: 4, Parts: 1, Base: 3})
	l.must(HoldReleased{Name: "desired-shrink"})
	l.must(CrashesForgotten{Crashes: []CrashRef{{App: k}}}) // as they are once their time is over
	if _, ok := l.App(k); ok {
		t.Fatal("the app did not leave")
	}
}
