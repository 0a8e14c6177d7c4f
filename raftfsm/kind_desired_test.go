package raftfsm

import (
	"errors"
	"testing"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// A desired read has an effect only when all of it is committed (I6).
func TestDesiredReadCountsOnlyWhenWhole(t *testing.T) {
	l := newLog(t)
	k0, k1, k2 := testKey(0), testKey(1), testKey(2)
	l.desire(row(k0, 1))
	refused := func(want error, r Record) {
		t.Helper()
		before := describeRecords(l.State)
		if res := l.apply(r); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, want) {
			t.Fatalf("%T: refused %+v, want %v", r, res.Refused, want)
		}
		if describeRecords(l.State) != before {
			t.Fatalf("%T was refused, but changed the state", r)
		}
	}
	l.must(DesiredChanges{Generation: 5, Upserts: []desired.App{row(k1, 4)}, Removes: []app.Key{k0}})
	if _, ok := l.App(k1); ok || l.Counts().Apps != 1 || l.DesiredVersion(k0.Droplet).IsZero() {
		t.Fatal("a staged part has an effect")
	}
	refused(ErrGeneration, DesiredCommit{Generation: 4, Parts: 1, Base: 1})
	refused(ErrGeneration, DesiredChanges{Generation: 4})
	refused(ErrGeneration, DesiredChanges{Generation: 1})
	refused(ErrInvalid, DesiredChanges{Generation: 5, Upserts: []desired.App{row(app.Key{}, 4)}})
	refused(ErrInvalid, DesiredChanges{Generation: 5, Upserts: []desired.App{row(k1, desired.MaxInstances+1)}})
	l.must(DesiredChanges{Generation: 7, Upserts: []desired.App{row(k2, 2)}}) // discards generation 5
	refused(ErrGeneration, DesiredCommit{Generation: 5, Parts: 1, Base: 1})
	l.must(DesiredChanges{Generation: 7, Upserts: []desired.App{row(k2, 3)}, Removes: []app.Key{k2}})
	l.must(DesiredCommit{Generation: 7, Parts: 2, Base: 1, Source: "seven"})
	if m := l.DesiredMeta(); m != (DesiredMeta{Generation: 7, CommittedAt: l.Time(), Source: "seven", Complete: true, Apps: 2, Instances: 4}) {
		t.Fatalf("meta %+v", m)
	}
	a, _ := l.App(k2)
	if a.Desired != row(k2, 3) || a.Rev != l.Index() {
		t.Fatalf("app %+v", a)
	}
	if _, ok := l.App(k1); ok {
		t.Fatal("a discarded part has an effect")
	}
	refused(ErrGeneration, DesiredCommit{Generation: 7, Parts: 0, Base: 7})
	l.must(DesiredCommit{Generation: 8, Parts: 0, Base: 7}) // a read that changes nothing, but is complete
}

// The parts of a failed commit never mix with the parts of a later read (I6).
func TestAFailedCommitLeavesNothingStaged(t *testing.T) {
	part := DesiredChanges{Generation: 5, Upserts: []desired.App{row(testKey(1), 4)}}
	for name, c := range map[string]struct {
		commit DesiredCommit
		want   error
	}{
		"a part is missing":            {DesiredCommit{Generation: 5, Parts: 2, Base: 1}, ErrIncomplete},
		"there is one part too many":   {DesiredCommit{Generation: 5, Parts: 0, Base: 1}, ErrIncomplete},
		"it belongs to a newer read":   {DesiredCommit{Generation: 6, Parts: 1, Base: 1}, ErrIncomplete},
		"it is based on an older read": {DesiredCommit{Generation: 5, Parts: 1, Base: 0}, ErrOutdated},
		"it is based on a staged read": {DesiredCommit{Generation: 5, Parts: 1, Base: 4}, ErrOutdated},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.desire(row(testKey(0), 1))
			hash := l.sum
			l.must(part)
			if res := l.apply(c.commit); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, c.want) {
				t.Fatalf("refused %+v, want %v", res.Refused, c.want)
			}
			if l.sum != hash || l.NextGeneration() != 2 {
				t.Fatalf("something is still staged: the next generation is %d", l.NextGeneration())
			}
			l.must(DesiredChanges{Generation: 2, Upserts: []desired.App{row(testKey(2), 1)}}, DesiredCommit{Generation: 2, Parts: 1, Base: 1})
		})
	}
}

// A leader that stopped in the middle of a read leaves staged parts. The next read must not add to them.
func TestTheNextGenerationIsAboveWhatIsStaged(t *testing.T) {
	l := newLog(t)
	l.desire(row(testKey(0), 1))
	l.must(DesiredChanges{Generation: l.NextGeneration(), Upserts: []desired.App{row(testKey(1), 4)}})
	next := l.NextGeneration()
	if next != 3 {
		t.Fatalf("the next generation is %d, want 3", next)
	}
	l.must(DesiredChanges{Generation: next, Upserts: []desired.App{row(testKey(2), 1)}}, DesiredCommit{Generation: next, Parts: 1, Base: 1})
	if _, ok := l.App(testKey(1)); ok {
		t.Error("a part of the stopped leader's read has an effect")
	}
}

func TestStagedRowsAreLimited(t *testing.T) {
	l := newLog(t)
	rows := make([]desired.App, maxStagedRows/2)
	for i := range rows {
		rows[i] = row(testKey(0), 1)
	}
	l.must(DesiredChanges{Generation: 1, Upserts: rows})
	l.must(DesiredChanges{Generation: 1, Upserts: rows})
	if res := l.apply(DesiredChanges{Generation: 1, Upserts: rows[:1]}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) {
		t.Fatalf("refused %+v, want %v", res.Refused, ErrInvalid)
	}
}

func TestADropletIsDesiredInOneVersion(t *testing.T) {
	l := newLog(t)
	k := testKey(0)
	next := app.Key{Droplet: k.Droplet, Version: testGUID('b', 7, 'u')}
	l.desire(row(k, 2))
	l.must(DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{testInstance(k, 1, 0, actual.Running)}})
	l.desire(row(next, 2))
	if v := l.DesiredVersion(k.Droplet); v != next.Version {
		t.Fatalf("desired in version %v", v)
	}
	if a, ok := l.App(k); !ok || a.HasDesired || a.Rev != 0 || a.Instances != 1 {
		t.Fatalf("the old version: %v, %+v", ok, a)
	}
	if vs := l.Versions(k.Droplet); len(vs) != 2 || l.Counts().Apps != 1 {
		t.Fatalf("versions %v, %d apps", vs, l.Counts().Apps)
	}
}
