package raftfsm

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"hm/raftfsm/internal/wire"
)

func TestTheClusterIsNamedOnce(t *testing.T) {
	l := newLog(t)
	before := recomputedRecords(l.State)
	if res := l.apply(ClusterNamed{}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) {
		t.Errorf("an id that names none: %+v", res.Refused)
	}
	if !l.ClusterID().IsZero() || recomputedRecords(l.State) != before {
		t.Error("a refused name changed the state")
	}
	l.must(ClusterNamed{ID: testCluster})
	if res := l.apply(ClusterNamed{ID: ClusterID{1}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNamed) {
		t.Errorf("a second name: %+v", res.Refused)
	}
	if l.ClusterID() != testCluster || recomputedRecords(l.State) == before {
		t.Errorf("the cluster is named %s", l.ClusterID())
	}
}

func TestClusterIDsAsText(t *testing.T) {
	for n := range byte(100) {
		id := ClusterID{n, 15: 1}
		if got, err := ParseClusterID(strings.ToUpper(id.String())); err != nil || got != id {
			t.Fatalf("%s was read as %s, %v", id, got, err)
		}
	}
	if text := (ClusterID{}).String(); text != "" {
		t.Errorf("no id is %q", text)
	}
	for _, text := range []string{
		"", "x", "00000000-0000-0000-0000-000000000000", testCluster.String()[1:], testCluster.String() + "0",
		strings.ReplaceAll(testCluster.String(), "-", ""), strings.Replace(testCluster.String(), "-", "--", 1), strings.Repeat("g", 36),
	} {
		if id, err := ParseClusterID(text); err == nil {
			t.Errorf("%q was read as %s", text, id)
		}
	}
}

// A snapshot of a cluster without an id has no section for it, as older versions wrote it.
func TestSnapshotsOfAnUnnamedCluster(t *testing.T) {
	named := func(s *State) (found bool) {
		t.Helper()
		if _, err := ReadSnapshot(bytes.NewReader(snapshotOf(t, s)), func(r SnapshotRecord) error {
			found = found || r.Section == SectionCluster
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	l := newLog(t)
	l.desire(row(testKey(0), 1))
	if named(l.State) {
		t.Error("a section for no id")
	}
	l.must(ClusterNamed{ID: testCluster})
	if !named(l.State) {
		t.Error("no section for the id")
	}
}

func TestForgedClusterSections(t *testing.T) {
	meta := pieceOf(t, SectionMeta, &wire.SnapshotMeta{})
	id := testCluster[:]
	for name, m := range map[string]*wire.SnapshotCluster{
		"a short id":                {Id: id[:15]},
		"nothing":                   {Id: make([]byte, 16)},
		"restored at no time":       {Id: id, Restores: 1},
		"a time without a restore":  {Id: id, RestoredAt: 5},
		"a time before all times":   {Id: id, Restores: 1, RestoredAt: -1},
		"a time after all of these": {Id: id, Restores: 1, RestoredAt: int64(MaxTime) + 1},
	} {
		if _, err := RestoreState(bytes.NewReader(forge(t, Hash{1}, meta, pieceOf(t, SectionCluster, m)))); !errors.Is(err, ErrSnapshot) || strings.Contains(err.Error(), "its header says") {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := pieceOf(t, SectionCluster, &wire.SnapshotCluster{Id: id, Restores: 1, RestoredAt: 7})
	if _, err := RestoreState(bytes.NewReader(forge(t, Hash{1}, meta, good, good))); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("twice: %v", err)
	}
	if _, err := RestoreState(bytes.NewReader(forge(t, Hash{1}, meta, good))); err == nil || !strings.Contains(err.Error(), "its header says") {
		t.Errorf("a valid section: %v", err) // only the hash is wrong
	}
}
