package raftfsm

import (
	"slices"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// A crash that was counted or answered keeps its mark, whatever its DEA lists later.
func TestCrashMarks(t *testing.T) {
	k := testKey(0)
	inst := func(n int, st actual.State) actual.Instance { return testInstance(k, n, 0, st) }
	list := func(dea string, upserts ...actual.Instance) DEAChanges { return DEAChanges{DEA: dea, Upserts: upserts} }
	unlist := func(dea string, n int) DEAChanges {
		return DEAChanges{DEA: dea, Removes: []app.GUID{inst(n, 1).GUID}}
	}
	restart := func(id byte, of int) CommandsScheduled {
		return CommandsScheduled{Commands: []commands.Command{crashStart(id, k, 0, 1, inst(of, 1).GUID)}}
	}
	ended := func(id byte) CommandsResolved {
		return CommandsResolved{Outcomes: []Outcome{{ID: testID(id), State: commands.Dropped}}}
	}
	const (
		fresh, counted, answered = actual.CrashNew, actual.CrashCounted, actual.CrashAnswered
	)
	for _, c := range []struct {
		name string
		log  []Record
		want map[int]actual.CrashMark // of the crashed instances that are listed in the end
	}{
		{"a new crash", []Record{list("a", inst(1, actual.Crashed))}, map[int]actual.CrashMark{1: fresh}},
		{"a restart counts every crash that is listed", []Record{list("a", inst(1, actual.Crashed), inst(2, actual.Crashed)), restart(1, 1)},
			map[int]actual.CrashMark{1: counted, 2: counted}},
		{"the next crash is new", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), list("a", inst(2, actual.Crashed))},
			map[int]actual.CrashMark{1: counted, 2: fresh}},
		{"a live copy answers", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), list("b", inst(2, actual.Running))},
			map[int]actual.CrashMark{1: answered}},
		{"listed beside a live copy from the first", []Record{list("a", inst(1, actual.Crashed), inst(2, actual.Running)), unlist("a", 2)},
			map[int]actual.CrashMark{1: answered}},
		{"listed first while a live copy runs", []Record{list("b", inst(2, actual.Running)), list("a", inst(1, actual.Crashed)), DEAsGone{[]string{"b"}}},
			map[int]actual.CrashMark{1: answered}},
		{"the live copy crashes", []Record{list("b", inst(2, actual.Running)), list("b", inst(2, actual.Crashed))}, map[int]actual.CrashMark{2: fresh}},
		{"two DEAs with one id send heartbeats in turn",
			[]Record{list("a", inst(1, actual.Crashed)), DEAChanges{"a", []actual.Instance{inst(2, actual.Running)}, []app.GUID{inst(1, 1).GUID}},
				DEAChanges{"a", []actual.Instance{inst(1, actual.Crashed)}, []app.GUID{inst(2, 1).GUID}}},
			map[int]actual.CrashMark{1: answered}},
		{"listed again later", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), unlist("a", 1), list("a", inst(1, actual.Crashed))},
			map[int]actual.CrashMark{1: counted}},
		{"its DEA was gone", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), DEAsGone{[]string{"a"}}, list("a", inst(1, actual.Crashed))},
			map[int]actual.CrashMark{1: counted}},
		{"a DEA's first heartbeat may list an old crash while a restart is awaited", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), list("b", inst(2, actual.Crashed))},
			map[int]actual.CrashMark{1: counted, 2: counted}},
		{"it is live again: its next crash is new", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), list("a", inst(1, actual.Running)), list("a", inst(1, actual.Crashed))},
			map[int]actual.CrashMark{1: fresh}},
		{"forgotten with CrashesForgotten", []Record{list("a", inst(1, actual.Crashed)), restart(1, 1), ended(1), CrashesForgotten{[]CrashRef{{k, 0, inst(1, 1).GUID}}}},
			map[int]actual.CrashMark{1: fresh}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLog(t)
			l.desire(row(k, 1))
			for _, r := range c.log {
				l.must(r)
			}
			got := map[int]actual.CrashMark{}
			for _, i := range l.Instances(nil, k) {
				for n := range 4 {
					if i.State == actual.Crashed && i.GUID == inst(n, 1).GUID {
						got[n] = i.Mark
					}
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("crashed are %v, want %v", got, c.want)
			}
			for n, m := range c.want {
				if got[n] != m {
					t.Errorf("the crash of instance %d has mark %d, want %d", n, got[n], m)
				}
			}
		})
	}
}

// The marks of unlisted instances are limited. The marks of listed instances all stay.
func TestCrashMarksAreLimited(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	l.desire(row(k, 1))
	n := maxMarks + 10
	for i := range n {
		l.must(DEAChanges{DEA: "a", Upserts: []actual.Instance{testInstance(k, i, 0, actual.Crashed)}})
	}
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, testInstance(k, 0, 0, 1).GUID)}})
	if got := len(l.marksOfApp(k)); got != n {
		t.Fatalf("%d of %d listed crashes are marked", got, n)
	}
	for i := range n {
		l.must(DEAChanges{DEA: "a", Removes: []app.GUID{testInstance(k, i, 0, 1).GUID}})
	}
	l.must(DEAChanges{DEA: "b", Upserts: []actual.Instance{testInstance(k, n, 0, actual.Running), testInstance(k, n+1, 0, actual.Crashed)}})
	unlisted := slices.Collect(l.UnlistedMarks())
	if len(unlisted) > n || len(l.marksOfApp(k)) != len(unlisted)+1 {
		t.Fatalf("%d marks of unlisted instances, %d marks in total", len(unlisted), len(l.marksOfApp(k)))
	}
	for i := n + 2; i < 3*n; i++ {
		l.must(DEAChanges{DEA: "b", Upserts: []actual.Instance{testInstance(k, i, 0, actual.Crashed)}, Removes: []app.GUID{testInstance(k, i-1, 0, 1).GUID}})
	}
	if got := len(slices.Collect(l.UnlistedMarks())); got > n {
		t.Fatalf("%d marks of unlisted instances", got)
	}
	for _, m := range slices.Collect(l.UnlistedMarks()) {
		l.must(CrashesForgotten{Crashes: []CrashRef{m.CrashRef}})
	}
	if got := len(slices.Collect(l.UnlistedMarks())); got != 0 {
		t.Fatalf("%d marks of unlisted instances are left", got)
	}
}

func (l *log) marksOfApp(k app.Key) []markRec {
	h, _ := l.lookup.find(&l.apps, k)
	return l.marksOf(h)
}
