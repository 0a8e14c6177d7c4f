package raftfsm

import (
	"testing"

	"hm/actual"
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
