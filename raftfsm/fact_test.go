package raftfsm

import (
	"fmt"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// facts gives the facts of applied records in short words.
func (l *log) facts(recs ...Record) (out []string) {
	l.t.Helper()
	for _, f := range l.apply(recs...).Facts {
		text := ""
		switch f := f.(type) {
		case CommandFact:
			text = fmt.Sprint(f.State, " ", f.Index)
		case EndedFact:
			text = fmt.Sprint(f.State, " ", f.Detail)
		case CrashFact:
			text = fmt.Sprint("crash ", f.Index, " ", f.DEA, " ", f.Exit)
		case DEAFact:
			text = fmt.Sprint("dea ", f.Change, " ", f.DEA, " ", f.Instances, " ", f.Live, " ", f.Evacuating)
		case ReadFact:
			text = fmt.Sprint("read +", f.Added, " *", f.Changed, " -", f.Removed, " ", f.Apps, " ", f.Instances)
		case HoldFact:
			text = fmt.Sprint("hold ", f.Hold.Name, " ", f.Hold.By, " ", f.Released)
		case NoteFact:
			text = fmt.Sprint("note ", f.Event, f.Rule)
		}
		out = append(out, text)
	}
	return out
}

func (l *log) wantFacts(what string, want []string, recs ...Record) {
	l.t.Helper()
	if got := l.facts(recs...); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		l.t.Errorf("%s: the facts are %q, want %q", what, got, want)
	}
}

// TestEachCrashIsOneFact: whether an exit tells of it, a heartbeat, both, or two DEAs that list the instance.
func TestEachCrashIsOneFact(t *testing.T) {
	k := testKey(0)
	inst := func(n int, st actual.State) actual.Instance { return testInstance(k, n, uint32(n), st) }
	beat := func(dea string, list ...actual.Instance) Record { return DEAChanges{DEA: dea, Upserts: list} }
	exit := func(n int, why actual.ExitReason) Record {
		return InstanceExited{Exit: actual.Exit{App: k, Instance: inst(n, 0).GUID, Index: uint32(n), Reason: why}}
	}
	l := newLog(t)
	l.desire(row(k, 9))
	l.wantFacts("a new DEA with an old crash", []string{"dea 1 a 4 0 0"},
		beat("a", inst(0, actual.Running), inst(1, actual.Running), inst(2, actual.Running), inst(3, actual.Crashed)))
	l.wantFacts("a heartbeat", []string{"crash 0 a false"}, beat("a", inst(0, actual.Crashed)))
	l.wantFacts("its exit comes late", nil, exit(0, actual.ExitCrashed))
	l.wantFacts("an exit", []string{"crash 1 a true"}, exit(1, actual.ExitCrashed))
	l.wantFacts("the heartbeat comes late", nil, beat("a", inst(1, actual.Crashed)))
	again := inst(1, actual.Crashed)
	again.Since++
	l.wantFacts("with another time", nil, beat("a", again))
	l.wantFacts("a stop", nil, exit(2, actual.ExitStopped))
	l.wantFacts("an instance that no heartbeat listed", []string{"crash 5  true"}, exit(5, actual.ExitCrashed))
	l.wantFacts("its exit comes twice", nil, exit(5, actual.ExitCrashed))
	l.wantFacts("a heartbeat lists it", nil, beat("a", inst(5, actual.Crashed)))
	l.wantFacts("an instance that crashed between two heartbeats", []string{"crash 6 a false"}, beat("a", inst(6, actual.Crashed)))
	l.wantFacts("the DEA is restarted and has another id", []string{"dea 1 b 2 0 0"}, beat("b", inst(5, actual.Crashed), inst(2, actual.Running)))
	l.wantFacts("the exit concerns both records", []string{"crash 2 b true"}, exit(2, actual.ExitCrashed))
	l.wantFacts("the DEA is gone", []string{"dea 3 a 6 0 0"}, DEAsGone{DEAs: []string{"a", "nobody"}})
	l.wantFacts("it is back with its crashes", []string{"dea 2 a 2 0 0"}, beat("a", inst(0, actual.Crashed), inst(1, actual.Crashed)))
	l.wantFacts("scheduled, and the crash is listed again", []string{"pending 0"},
		CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, inst(0, 0).GUID)}},
		DEAChanges{DEA: "a", Removes: []app.GUID{inst(0, 0).GUID}})
	l.wantFacts("listed again", nil, beat("a", inst(0, actual.Crashed)))
}

// TestFactsOfADEA that evacuates, is lost and forgotten.
func TestFactsOfADEA(t *testing.T) {
	k := testKey(0)
	inst := func(n int, st actual.State) actual.Instance { return testInstance(k, n, uint32(n), st) }
	l := newLog(t)
	l.must(DEAChanges{DEA: "a", Upserts: []actual.Instance{inst(0, actual.Running), inst(1, actual.Running), inst(2, actual.Running)}})
	exit := actual.Exit{App: k, Instance: inst(0, 0).GUID, Reason: actual.ExitEvacuation}
	l.wantFacts("it evacuates", []string{"dea 5 a 3 0 1"}, InstanceExited{Exit: exit})
	l.wantFacts("another instance leaves", nil, DEAChanges{DEA: "a", Upserts: []actual.Instance{inst(1, actual.Evacuating)}})
	l.must(DEAChanges{DEA: "b", Upserts: []actual.Instance{inst(3, actual.Running)}})
	l.wantFacts("two instances begin to leave", []string{"dea 5 b 3 0 2"},
		DEAChanges{DEA: "b", Upserts: []actual.Instance{inst(4, actual.Evacuating), inst(5, actual.Evacuating)}})
	l.wantFacts("gone", []string{"dea 3 a 3 1 0"}, DEAsGone{DEAs: []string{"a"}})
	l.wantFacts("forgotten", []string{"dea 4 a 0 0 0"}, DEAsForgotten{DEAs: []string{"a", "x"}})
	l.wantFacts("refused", nil, DEAsForgotten{DEAs: []string{"b"}}, DEAChanges{DEA: ""})
}

// TestFactsOfARead: a version change is one changed droplet, and a read that changes nothing is no fact.
func TestFactsOfARead(t *testing.T) {
	l := newLog(t)
	k0, k1, k2 := testKey(0), testKey(1), testKey(2)
	k0new := k0
	k0new.Version = testGUID('b', 50, 'u')
	read := func(what, want string, removes []app.Key, rows ...desired.App) {
		t.Helper()
		g := l.DesiredMeta().Generation
		var facts []string
		if want != "" {
			facts = []string{want}
		}
		l.wantFacts(what, facts, DesiredChanges{Generation: g + 1, Upserts: rows, Removes: removes}, DesiredCommit{Generation: g + 1, Parts: 1, Base: g})
	}
	read("first", "read +2 *0 -0 2 5", nil, row(k0, 3), row(k1, 2))
	read("the same", "", nil, row(k0, 3))
	read("a new version", "read +0 *1 -0 0 1", []app.Key{k0}, row(k0new, 4))
	read("a row less, one more, one scaled", "read +1 *1 -1 0 -2", []app.Key{k1}, row(k2, 1), row(k0new, 3))
	read("stopped", "read +0 *1 -0 -1 -3", nil, desired.App{Key: k0new, Instances: 3, State: desired.Stopped, Package: desired.Staged})
	read("a removed row that is not there", "", []app.Key{k1})
}
