package raftfsm

import (
	"errors"
	"testing"

	"hm/actual"
	"hm/commands"
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

// A snapshot of a longer log may be restored into a younger log. Revisions must still grow, or an old basis could
// become valid again.
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

// An app record stays while anything refers to it, and is removed with the last reference.
func TestAnAppIsRemovedWithItsLastReference(t *testing.T) {
	l, k := newLog(t), testKey(0)
	l.desire(row(k, 1))
	i := testInstance(k, 1, 0, actual.Crashed)
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{i}})
	l.must(CommandsScheduled{Commands: []commands.Command{crashStart(1, k, 0, 1, i.GUID)}})
	l.must(DesiredChanges{Generation: 2, Removes: []app.Key{k}}, DesiredCommit{Generation: 2, Parts: 1, Base: 1})
	if _, ok := l.App(k); !ok || len(l.Crashes(k)) != 1 {
		t.Fatal("the app was removed while an instance was recorded")
	}
	l.must(DEAsGone{DEAs: []string{"dea-0"}})
	if _, ok := l.App(k); !ok || len(l.Crashes(k)) != 0 {
		t.Fatalf("with a command left: app recorded %v, crashes %v", ok, l.Crashes(k))
	}
	l.must(CommandsResolved{Outcomes: []Outcome{{ID: testID(1), State: commands.Dropped}}})
	if a, ok := l.App(k); ok {
		t.Fatalf("nothing refers to the app, but it is recorded: %+v", a)
	}
	if len(l.Versions(k.Droplet)) != 0 || l.DesiredVersion(k.Droplet) != (app.GUID{}) {
		t.Fatal("the droplet is still recorded")
	}
	h := l.Handles()
	l.desire(row(testKey(5), 1))
	if l.Handles() != h {
		t.Fatalf("the handle was not reused: %d, then %d", h, l.Handles())
	}
}
