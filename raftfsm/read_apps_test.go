package raftfsm

import (
	"slices"
	"testing"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

func TestOthersGrewAt(t *testing.T) {
	l := newLog(t)
	old, other := testKey(0), testKey(0)
	other.Version = testKey(7).Version
	l.desire(row(old, 1))
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(old, 1, 0, actual.Running)}})
	if at := l.OthersGrewAt(old); at != 0 {
		t.Errorf("with one version: %v", at)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(other, 2, 0, actual.Crashed)}})
	if at := l.OthersGrewAt(old); at != 0 {
		t.Errorf("with another version that only crashed: %v", at)
	}
	l.must(DEAChanges{DEA: "dea-1", Upserts: []actual.Instance{testInstance(other, 3, 0, actual.Starting)}})
	if at := l.OthersGrewAt(old); at != l.Time() {
		t.Errorf("with another version that starts: %v, want %v", at, l.Time())
	}
	if at := l.OthersGrewAt(other); at == 0 || at == l.Time() {
		t.Errorf("for the other version: %v", at)
	}
}

// TestEachUnnamed: the rows without names are the same rows in the same order, whatever number of apps there is, also if
// some have no row; and the caller can stop.
func TestEachUnnamed(t *testing.T) {
	for _, apps := range []int{0, 1, pageLen - 1, pageLen, pageLen + 1, pageLen*chunkLen - 1, pageLen * chunkLen, pageLen*chunkLen + 1} {
		l := newLog(t)
		var rows []desired.App
		for n := range apps {
			r := row(testKey(n), uint32(n%5))
			if n%3 == 0 {
				r.State = desired.Stopped
			}
			rows = append(rows, r)
		}
		l.desire(rows...)
		if apps > 2 {
			l.must(DesiredChanges{Generation: 2, Removes: []app.Key{rows[1].Key, rows[2].Key}},
				DesiredCommit{Generation: 2, Parts: 1, Base: 1, Source: "test"})
			rows = slices.Delete(rows, 1, 3)
		}
		view := l.Freeze()
		type found struct {
			h   Handle
			row desired.App
		}
		var want, got []found
		view.EachDesired(func(h Handle, d desired.App) bool {
			d.Key = app.Key{}
			want = append(want, found{h, d})
			return true
		})
		view.EachUnnamed(func(h Handle, d desired.App) bool {
			got = append(got, found{h, d})
			return true
		})
		if !slices.Equal(got, want) || len(got) != len(rows) {
			t.Errorf("with %d apps: %d rows without names, %d with names, want %d of each, equal", apps, len(got), len(want), len(rows))
		}
		n := 0
		view.EachUnnamed(func(Handle, desired.App) bool { n++; return n < 3 })
		if n != min(3, len(rows)) {
			t.Errorf("with %d apps: a caller that wants three rows gets %d", apps, n)
		}
	}
}
