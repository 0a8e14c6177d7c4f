package raftfsm

import (
	"fmt"
	"slices"
	"testing"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

func TestEachCopy(t *testing.T) {
	l := newLog(t)
	old := app.Key{Droplet: testKey(0).Droplet, Version: testGUID('v', 9, 't')}
	l.must(DEAChanges{DEA: "a", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running), testInstance(testKey(1), 2, 0, actual.Running)}},
		DEAChanges{DEA: "b", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running), testInstance(old, 3, 4, actual.Crashed)}})
	var got []string
	all := func(string) bool { return true }
	note := func(dea string, c *actual.Instance) {
		got = append(got, fmt.Sprint(dea, " ", c.App.Version, " ", c.Index, " ", c.State))
	}
	l.EachCopy(old.Droplet, all, note)
	slices.Sort(got)
	v := testKey(0).Version
	if want := []string{fmt.Sprint("a ", v, " 0 RUNNING"), fmt.Sprint("b ", v, " 0 RUNNING"), fmt.Sprint("b ", old.Version, " 4 CRASHED")}; !slices.Equal(got, want) {
		t.Errorf("copies %q, want %q", got, want)
	}
	got = nil
	l.EachCopy(testGUID('x', 1, 't'), all, note)
	l.EachCopy(old.Droplet, func(dea string) bool { return dea == "a" }, note)
	if want := []string{fmt.Sprint("a ", v, " 0 RUNNING")}; !slices.Equal(got, want) {
		t.Errorf("copies %q, want %q", got, want)
	}
}

func TestEachOn(t *testing.T) {
	for _, n := range []int{3, 200} {
		l := newLog(t)
		var list []actual.Instance
		var guids []app.GUID
		for i := range n {
			list = append(list, testInstance(testKey(i%5), i, uint32(i), actual.Running))
			guids = append(guids, list[i].GUID)
		}
		l.must(DEAChanges{DEA: "a", Upserts: list})
		asked := append(slices.Clone(guids[:n/2]), testGUID('x', 1, 't'))
		found := map[actual.Instance]int{}
		l.EachOn("a", asked, func(i actual.Instance) { found[i]++ })
		l.EachOn("b", asked, func(i actual.Instance) { t.Errorf("found %v on an unknown DEA", i) })
		if len(found) != n/2 {
			t.Errorf("%d of %d instances were found", len(found), n/2)
		}
		for _, i := range list[:n/2] {
			if found[i] != 1 {
				t.Errorf("%v was found %d times", i, found[i])
			}
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	s := sampleState(t).Freeze()
	k := testKey(0)
	dst := s.Instances(nil, k)
	for name, fn := range map[string]func(){
		"EachInstance": func() { s.EachInstance(func(Handle, uint32, actual.State, app.Time) {}) },
		"EachUnnamed":  func() { s.EachUnnamed(func(Handle, desired.App) bool { return true }) },
		"EachDesired":  func() { s.EachDesired(func(Handle, desired.App) bool { return true }) },
		"Instances":    func() { dst = s.Instances(dst[:0], k) },
		"App":          func() { s.App(k) },
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
