package raftfsm

import (
	"errors"
	"testing"

	"hm/actual"
	"hm/internal/app"
)

// A restarted DEA lists the same instance guids under a new id. The DEA that was recorded later has them, and the app
// did not grow (W10).
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
	l.must(DEAChanges{DEA: "before", Upserts: []actual.Instance{old}}) // now it is the DEA that was recorded later
	if got := l.Instances(nil, k); len(got) != 1 || got[0].DEA != "before" {
		t.Fatalf("once it came back: %+v", got)
	}
}

// The same with so many instances that a map is used, and with changed indices.
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

func TestDEARecord(t *testing.T) {
	l := newLog(t)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running)}})
	first := l.Time()
	if res := l.apply(DEAsForgotten{DEAs: []string{"dea-0"}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNotGone) {
		t.Fatalf("forgetting a DEA that is not gone: refused %+v", res.Refused)
	}
	rev := l.Index() - 1
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(testKey(0), 1, 0, actual.Running)}})
	if d, _ := l.DEA("dea-0"); d != (DEA{ID: "dea-0", Rev: rev, FirstSeen: first, ChangedAt: first, Len: 1}) {
		t.Fatalf("after an entry without changes: %+v", d)
	}
	l.must(DEAsGone{DEAs: []string{"dea-0", "unknown"}})
	gone := l.Time()
	if d, _ := l.DEA("dea-0"); d.GoneAt != gone || d.Len != 0 || l.Counts().GoneDEAs != 1 {
		t.Fatalf("gone: %+v, %+v", d, l.Counts())
	}
	if _, ok := l.App(testKey(0)); ok {
		t.Fatal("the app is still recorded, but nothing refers to it")
	}
	l.must(DEAChanges{DEA: "dea-0"})
	if d, _ := l.DEA("dea-0"); d.GoneAt != 0 || d.FirstSeen != l.Time() {
		t.Fatalf("back: %+v", d)
	}
	l.must(DEAsGone{DEAs: []string{"dea-0"}}, DEAsForgotten{DEAs: []string{"dea-0"}})
	if _, ok := l.DEA("dea-0"); ok || l.Counts() != (Counts{}) {
		t.Fatalf("after DEAsForgotten: %+v", l.Counts())
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
		"no DEA":      {Upserts: []actual.Instance{good}},
		"no guid":     bad(func(i *actual.Instance) { i.GUID = app.GUID{} }),
		"no droplet":  bad(func(i *actual.Instance) { i.App.Droplet = app.GUID{} }),
		"no version":  bad(func(i *actual.Instance) { i.App.Version = app.GUID{} }),
		"no state":    bad(func(i *actual.Instance) { i.State = 0 }),
		"large index": bad(func(i *actual.Instance) { i.Index = actual.MaxIndex + 1 }),
		"too many":    {DEA: "dea-0", Upserts: many},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			res := l.apply(r)
			if len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) || res.Refused[0].Record != 0 {
				t.Fatalf("refused %+v", res.Refused)
			}
			if describeRecords(l.State) != "" || l.Handles() != 0 {
				t.Fatalf("a refused record was recorded: %s", describeRecords(l.State))
			}
		})
	}
	l := newLog(t)
	l.must(DEAChanges{DEA: "dea-0", Upserts: many[:actual.MaxInstances]})
	// One more instance fits only if another one is removed. Their order in the record does not matter.
	if res := l.apply(DEAChanges{DEA: "dea-0", Upserts: many[actual.MaxInstances:]}); len(res.Refused) != 1 {
		t.Fatal("two records exceeded the limit")
	}
	l.must(DEAChanges{DEA: "dea-0", Upserts: many[actual.MaxInstances:], Removes: []app.GUID{many[0].GUID}})
}

// Many upserts in one record use maps, single ones do not. Both give the same result.
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
	twice := append(append([]actual.Instance(nil), ups...), later[:n/2]...) // half of the guids come twice: the later ones count
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
			b[j].Heard = a[j].Heard // the times differ: one log has more entries
			if a[j] != b[j] {
				t.Fatalf("app %d: %+v and %+v", i, a[j], b[j])
			}
		}
	}
	if all.Counts() != one.Counts() || recomputed(all.State) != all.Hash() || recomputed(one.State) != one.Hash() {
		t.Fatalf("%+v and %+v", all.Counts(), one.Counts())
	}
}
