package raftfsm

import (
	"testing"

	"hm/actual"
	"hm/desired"
)

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

// An exit of an unknown app records nothing.
func TestExitOfAnUnknownApp(t *testing.T) {
	l := newLog(t)
	x := actual.Exit{App: testKey(0), Instance: testGUID('c', 1, 'u'), Reason: actual.ExitCrashed}
	l.must(InstanceExited{Exit: x})
	x.Index = actual.MaxIndex + 1
	if res := l.apply(InstanceExited{Exit: x}); len(res.Refused) != 1 || l.Handles() != 0 {
		t.Fatalf("refused %+v, %d handles", res.Refused, l.Handles())
	}
}

// Exits at unwanted indices are not noted, and noted exits are dropped when their index is no longer wanted. Otherwise
// a scale-up hours later would look like the restart of a crash.
func TestExitsAtUnwantedIndicesAreNotNoted(t *testing.T) {
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

// An exit is forgotten once another instance is live at the index.
func TestAnExitIsAnsweredByAnotherInstance(t *testing.T) {
	l, k := newLog(t), testKey(0)
	l.desire(row(k, 1))
	gone := testInstance(k, 1, 0, actual.Starting)
	l.must(InstanceExited{Exit: actual.Exit{App: k, Instance: gone.GUID, Reason: actual.ExitCrashed}})
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{gone}}) // an old heartbeat: it is the instance that crashed
	if c := l.Crashes(k); len(c) != 1 || c[0].Exited != gone.GUID {
		t.Fatalf("crashes %+v", c)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(k, 2, 0, actual.Starting)}})
	if c := l.Crashes(k); len(c) != 1 || !c[0].Exited.IsZero() || c[0].ExitedAt != 0 {
		t.Fatalf("crashes %+v", c)
	}
}
