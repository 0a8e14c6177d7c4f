package raftfsm

import (
	"errors"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

func TestTimeNeverGoesBack(t *testing.T) {
	s := NewState()
	last := app.Time(0)
	for i, at := range []app.Time{1000, 2000, 1500, -1, MaxTime + 1, 1999, 2000, 2001} {
		res := s.Apply(uint64(i+1), 1, Entry{At: at, Records: []Record{HoldSet{Hold: Hold{Name: "h"}}}})
		if refused := at < 0 || at > MaxTime; refused != errors.Is(res.Err, ErrTime) {
			t.Errorf("at %d: %v", at, res.Err)
		}
		if s.Time() < last || s.Holds()[0].SetAt != s.Time() && res.Err == nil {
			t.Errorf("at %d: time %v after %v, hold %+v", at, s.Time(), last, s.Holds())
		}
		last = s.Time()
		if s.Index() != uint64(i+1) {
			t.Errorf("index %d after entry %d", s.Index(), i+1)
		}
	}
	if last != 2001 {
		t.Errorf("time ends at %d", last)
	}
}

// A snapshot of a longer log may be restored into a younger log. Revisions must still grow, or an old basis could become
// valid again.
func TestRevisionsGrowAfterARestore(t *testing.T) {
	s := NewState()
	k := testKey(0)
	desire := func(index, generation uint64, n uint32) uint64 {
		s.Apply(index, 1, Entry{At: 1, Records: []Record{DesiredChanges{Generation: generation, Upserts: []desired.App{row(k, n)}}, DesiredCommit{Generation: generation, Parts: 1, Base: generation - 1}}})
		return s.Basis(k, 0).Desired
	}
	if r := desire(500, 1, 1); r != 500 {
		t.Fatalf("revision %d", r)
	}
	if r := desire(12, 2, 2); r != 501 {
		t.Fatalf("revision %d once the log is at 12", r)
	}
	if r := desire(700, 3, 3); r != 700 {
		t.Fatalf("revision %d", r)
	}
}

func TestApplyOnAFrozenStatePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("Apply did not panic")
		}
	}()
	NewState().Freeze().Apply(1, 1, Entry{})
}
