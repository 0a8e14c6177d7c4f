package raftfsm

import (
	"fmt"
	"strings"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

func testGUID(tag byte, n int, form byte) app.GUID {
	switch form {
	case 'u':
		return app.MustGUID(fmt.Sprintf("%c%07d-0000-4000-8000-%012d", tag, n, n))
	case 'h':
		return app.MustGUID(fmt.Sprintf("%c%031d", tag, n))
	}
	return app.MustGUID(fmt.Sprintf("%c-%d-written-by-hand", tag, n))
}

func testKey(n int) app.Key {
	return app.Key{Droplet: testGUID('a', n, "uht"[n%3]), Version: testGUID('b', n, "htu"[n%3])}
}

func testInstance(k app.Key, n int, index uint32, st actual.State) actual.Instance {
	return actual.Instance{App: k, GUID: testGUID('c', n, "uht"[n%3]), Index: index, State: st, Since: 1_600_000_000_000 + int64(n)}
}

var testCluster = ClusterID{0x6f, 0x1d, 0x2b, 0x90, 0x55, 0x3c, 0x4e, 0x17, 0xa8, 0x02, 0xd3, 0x74, 0x41, 0x9a, 0xbe, 0xc5}

func testID(n byte) commands.ID { return commands.ID{0xc0, n, 15: 1} }

func start(n byte, k app.Key, index uint32) commands.Command {
	return commands.Command{ID: testID(n), Action: commands.Start, App: k, Index: index, Reason: 1, Priority: 0.5, DueAt: 20_000}
}

func crashStart(n byte, k app.Key, index uint32, count uint32, crashed app.GUID) commands.Command {
	c := start(n, k, index)
	c.Reason, c.CrashCount, c.Crashed = commands.ReasonCrashed, count, crashed
	return c
}

func stop(n byte, k app.Key, index uint32, instance app.GUID) commands.Command {
	return commands.Command{ID: testID(n), Action: commands.Stop, App: k, Index: index, Instance: instance, Reason: 5, DueAt: 20_000}
}

func row(k app.Key, n uint32) desired.App {
	return desired.App{Key: k, Instances: n, State: desired.Started, Package: desired.Staged}
}

// log applies records to a state, one entry each, a second apart.
type log struct {
	t testing.TB
	*State
}

func newLog(t testing.TB) *log { return &log{t, NewState()} }

func (l *log) apply(recs ...Record) Result {
	return l.Apply(l.Index()+1, 1, Entry{At: l.Time() + 1000, Records: recs})
}

// must applies records; none may be refused.
func (l *log) must(recs ...Record) Result {
	l.t.Helper()
	res := l.apply(recs...)
	if len(res.Refused) > 0 || res.Err != nil {
		l.t.Fatalf("refused: %+v, %v", res.Refused, res.Err)
	}
	return res
}

func (l *log) desire(rows ...desired.App) {
	l.t.Helper()
	g := l.DesiredMeta().Generation + 1
	l.must(DesiredChanges{Generation: g, Upserts: rows}, DesiredCommit{Generation: g, Parts: 1, Base: l.DesiredMeta().Generation, Source: "test"})
}

// sampleEntries returns entries with every kind of record. Their state has something in every section of a snapshot.
func sampleEntries() []Entry {
	k0, k1, k2, k3 := testKey(0), testKey(1), testKey(2), testKey(3)
	k0old := app.Key{Droplet: k0.Droplet, Version: testGUID('b', 99, 'u')}
	recs := [][]Record{
		{DesiredChanges{Generation: 1, Upserts: []desired.App{row(k0, 3), row(k1, 1)}, Removes: []app.Key{k3}}},
		{DesiredChanges{Generation: 1, Upserts: []desired.App{{Key: k2, Instances: 2, State: desired.Stopped, Package: desired.Failed}}}},
		{DesiredCommit{Generation: 1, Parts: 2, Source: "bulk http://cc.example"}},
		{DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{
			testInstance(k0, 0, 0, actual.Running), testInstance(k0, 1, 1, actual.Starting), testInstance(k0, 2, 2, actual.Crashed),
			testInstance(k0old, 3, 0, actual.Evacuating), testInstance(k1, 4, 0, actual.Running)}}},
		{DEAChanges{DEA: "dea 1", Upserts: []actual.Instance{testInstance(k0, 0, 0, actual.Running), testInstance(k3, 5, 65535, actual.Running)}},
			DEAChanges{DEA: "dea-2", Upserts: []actual.Instance{testInstance(k1, 6, 3, actual.Running)}}},
		{DEAChanges{DEA: "dea-0", Removes: []app.GUID{testGUID('c', 4, 'h')}}},
		{DEAsGone{DEAs: []string{"dea-2", "dea-3"}}},
		{DEAChanges{DEA: "dea-4"}, DEAsGone{DEAs: []string{"dea-4"}}},
		{DEAsForgotten{DEAs: []string{"dea-4"}}},
		{InstanceExited{Exit: actual.Exit{App: k0, Instance: testGUID('c', 1, 'h'), Index: 1, Reason: actual.ExitShutdown}},
			InstanceExited{Exit: actual.Exit{App: k1, Instance: testGUID('c', 50, 't'), Index: 0, Reason: actual.ExitCrashed}}},
		{CommandsScheduled{Commands: []commands.Command{crashStart(1, k0, 2, 1, testGUID('c', 2, 't')), start(2, k1, 0), start(3, k2, 1),
			stop(4, k3, 65535, testGUID('c', 5, 't')), stop(5, k0old, 0, testGUID('c', 3, 'u'))}}},
		{HoldSet{Hold: Hold{Name: "paused", Reason: "moving house", By: "operator", Until: 99_000}}, HoldSet{Hold: Hold{Name: "mass-loss", Reason: "3 of 4"}}},
		{HoldReleased{Name: "mass-loss"}},
		{DesiredChanges{Generation: 2, Upserts: []desired.App{row(k3, 1)}, Removes: []app.Key{k1}}},
	}
	var out []Entry
	s := NewState()
	add := func(r ...Record) {
		e := Entry{At: 1_700_000_000_000 + app.Time(len(out))*1000, Records: r}
		out = append(out, e)
		s.Apply(uint64(len(out)), 1, e)
	}
	for _, r := range recs {
		add(r...)
	}
	claim := func(n byte) Claim {
		c, _ := s.Command(testID(n))
		return Claim{ID: c.ID, Term: 1, Basis: s.Basis(c.App, c.Index)}
	}
	add(CommandsClaimed{Claims: []Claim{claim(1), claim(4), claim(2)}})
	add(CommandsResolved{Outcomes: []Outcome{{ID: testID(4), State: commands.Sent}, {ID: testID(5), State: commands.Dropped, Detail: "no longer needed"}}})
	add(ClusterNamed{ID: testCluster})
	add(CrashesForgotten{Crashes: []CrashRef{{App: k1, Index: 7}}})
	add(Noted{Notes: []Note{{Rule: "R05", Commands: []commands.ID{testID(1), testID(2)}}, {
		Event: "leader.changed", App: app.Key{Droplet: k1.Droplet}, DEA: "dea-0", Name: "hm-1", By: "ada", Reason: "nats-down", Detail: "the link of hm-0 is down", DelayMS: 12,
		Counts: []NoteCount{{"apps", 3}, {"instances", -1}},
	}}})
	return out
}

func sampleState(t testing.TB) *State {
	t.Helper()
	s := NewState()
	for i, e := range sampleEntries() {
		if res := s.Apply(uint64(i+1), 1, e); len(res.Refused) > 0 || res.Err != nil {
			t.Fatalf("entry %d: refused %+v, %v", i+1, res.Refused, res.Err)
		}
	}
	return s
}

// inventory writes down a whole state, for golden files.
func inventory(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "index %d term %d time %v hash %v\nmeta %+v\ncounts %+v\n", s.Index(), s.Term(), s.Time(), s.Hash(), s.DesiredMeta(), s.Counts())
	b.WriteString(iterators(s.DEAs(), s.Apps(), s.DesiredApps(), s.AllCommands(), s.AllCrashes()))
	for _, h := range s.sortedApps() {
		k, _ := s.KeyOf(h)
		for _, i := range s.Instances(nil, k) {
			fmt.Fprintf(&b, "instance %v %d %v %v since %d on %s\n", i.App, i.Index, i.GUID, i.State, i.Since, i.DEA)
		}
	}
	for c := range s.AllCommands() {
		text := fmt.Sprintf("%+v\n", c)
		b.WriteString(strings.Replace(text, c.ID.String(), fmt.Sprint(c.ID[:]), 1)) // released files have the id as numbers
	}
	fmt.Fprintf(&b, "holds %+v\n", s.Holds())
	if !s.ClusterID().IsZero() {
		fmt.Fprintf(&b, "cluster %+v\n", s.cluster)
	}
	for _, d := range s.staged {
		fmt.Fprintf(&b, "staged %+v\n", d)
	}
	return b.String()
}
