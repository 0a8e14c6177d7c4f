package raftfsm

import (
	"bytes"
	"testing"

	"hm/internal/app"
)

func restoredCopy(t *testing.T, s *State) *State {
	t.Helper()
	c, err := RestoreState(bytes.NewReader(snapshotOf(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// I2, I5: what was outstanding in the snapshot ends, the cluster keeps its id, its holds and its time, and the gate is
// shut.
func TestTakeOver(t *testing.T) {
	old := sampleState(t)
	snapshot := snapshotOf(t, old)
	present := newLog(t)
	present.must(ClusterNamed{ID: ClusterID{9}})
	present.must(HoldSet{Hold: Hold{Name: "paused", Reason: "a restore is coming", By: "ada"}})
	for present.Time() <= old.Time() { // the cluster has gone on
		present.Apply(present.Index()+1, 3, Entry{At: old.Time() + 3_600_000})
	}
	shut := Hold{Name: "restored", Reason: "a snapshot was restored", By: "ada", Until: present.Time() + 60_000}
	s := restoredCopy(t, old)
	r := Restoration{Index: 500, Term: 3, Present: present.Freeze(), At: present.Time() + 5, Hold: shut}
	if err := s.TakeOver(r); err != nil {
		t.Fatal(err)
	}
	if s.Index() != 500 || s.Term() != 3 || s.Time() != r.At || s.ClusterID() != (ClusterID{9}) || s.Restores() != 1 || s.RestoredAt() != r.At {
		t.Errorf("index %d, term %d, time %d, cluster %s, %d restores at %d", s.Index(), s.Term(), s.Time(), s.ClusterID(), s.Restores(), s.RestoredAt())
	}
	for c := range s.AllCommands() {
		t.Errorf("the command %s is outstanding", c.ID)
	}
	holds := map[string]Hold{}
	for _, h := range s.Holds() {
		holds[h.Name] = h
	}
	if h := holds["restored"]; !h.Shuts(s.Time()) || h.SetAt != s.Time() || h.Shuts(shut.Until) {
		t.Errorf("the hold %+v", h)
	}
	if h := holds["paused"]; h.Reason != "a restore is coming" || !h.Shuts(s.Time()+1_000_000_000) {
		t.Errorf("the hold of the cluster: %+v", h)
	}
	if got, want := s.Counts(), old.Counts(); got.Instances != want.Instances || got.Apps != want.Apps || got.PendingStarts != 0 {
		t.Errorf("counts %+v, want those of the snapshot, %+v, without commands", got, want)
	}
	if recomputed(s) != s.Hash() || len(s.staged) != 0 {
		t.Errorf("hash %s, recomputed %s, %d staged parts", s.Hash(), recomputed(s), len(s.staged))
	}
	if again := restoredCopy(t, s); again.Hash() != s.Hash() {
		t.Errorf("as a snapshot it has the hash %s", again.Hash())
	}
	// The same on every node.
	twin := restoredCopy(t, old)
	if err := twin.TakeOver(r); err != nil || twin.Hash() != s.Hash() || !bytes.Equal(snapshotOf(t, twin), snapshotOf(t, s)) {
		t.Errorf("the same again gave another state, %v", err)
	}
	if !bytes.Equal(snapshotOf(t, old), snapshot) {
		t.Error("the snapshot's own state changed")
	}
	// The next restore counts on, and a claim of the old time finds no command.
	next := restoredCopy(t, old)
	r.Present, r.Index = s.Freeze(), 600
	if err := next.TakeOver(r); err != nil || next.Restores() != 2 {
		t.Errorf("%d restores, %v", next.Restores(), err)
	}
	res := s.Apply(501, 3, Entry{At: s.Time(), Records: []Record{CommandsClaimed{Claims: []Claim{{ID: testID(3), Term: 3}}}}})
	if len(res.Refused) != 1 {
		t.Errorf("a claim of the old time: %+v", res)
	}
}

// hm time never goes back, whatever clock the snapshot's cluster had.
func TestTakeOverOfALaterTime(t *testing.T) {
	s, present := sampleState(t), newLog(t)
	present.must(HoldSet{Hold: Hold{Name: "a"}})
	later := s.Time()
	if err := s.TakeOver(Restoration{Index: 100, Term: 2, Present: present.Freeze(), At: present.Time(), Hold: Hold{Name: "restored"}}); err != nil {
		t.Fatal(err)
	}
	if s.Time() != later || s.RestoredAt() != later {
		t.Errorf("the time is %d, want that of the snapshot, %d", s.Time(), later)
	}
}

func TestTakeOverRefuses(t *testing.T) {
	old, present := sampleState(t), newLog(t)
	good := Restoration{Index: old.Index() + 1, Term: 1, Present: present.Freeze(), Hold: Hold{Name: "restored"}}
	for name, change := range map[string]func(*Restoration){
		"an index within the snapshot": func(r *Restoration) { r.Index-- },
		"a hold without a name":        func(r *Restoration) { r.Hold.Name = "" },
		"a time after all times":       func(r *Restoration) { r.At = MaxTime + 1 },
	} {
		r := good
		change(&r)
		if err := restoredCopy(t, old).TakeOver(r); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	// Many holds in the snapshot give way to those of the cluster.
	full := newLog(t)
	for n := range MaxHolds {
		full.must(HoldSet{Hold: Hold{Name: string(rune('a'+n%26)) + string(rune('a'+n/26))}})
	}
	s := restoredCopy(t, full.State)
	good.Index, good.At = 10_000, app.Time(1)
	if err := s.TakeOver(good); err != nil || len(s.Holds()) != 1 {
		t.Errorf("%d holds, %v", len(s.Holds()), err)
	}
}
