package reconcile

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// TestW13WhatCannotBeDecodedProvesThatItsSenderSpeaks, for a bound: then it is silent, like any DEA.
func TestW13WhatCannotBeDecodedProvesThatItsSenderSpeaks(t *testing.T) {
	const bound = garbledTTLs * 3 * hb
	t.Run("within the bound", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		hash := w.View().Hash()
		d := w.deas["dea-001"]
		d.garbles = true
		w.run(bound - hb)
		w.wantSent("a DEA sends what cannot be decoded", 0, 0)
		if w.View().Hash() != hash {
			t.Error("the record has changed")
		}
		if !w.intake.Quiet(d.id, d.list[0].GUID) {
			t.Error("its instances are taken for sure to be there")
		}
		trouble, any := w.intake.Trouble(d.id, w.now)
		if !any || trouble.Messages < 25 || w.now.Sub(trouble.MessagesSince) < bound-3*hb || trouble.Why != "out of order, for a test" {
			t.Errorf("told of it is %+v", trouble)
		}
		d.garbles = false
		w.run(2 * hb)
		w.wantSent("it is understood again", 0, 0)
		if trouble, any := w.intake.Trouble(d.id, w.now); any || w.intake.Quiet(d.id, d.list[0].GUID) {
			t.Errorf("told of it is %+v when all is well again", trouble)
		}
	})
	t.Run("beyond the bound", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		d := w.deas["dea-001"]
		d.garbles, d.closed = true, true
		w.run(bound + 4*hb)
		if rec, _ := w.View().DEA(d.id); rec.GoneAt == 0 {
			t.Fatal("it is still taken to be there")
		}
		w.run(5 * hb)
		w.wantSent("it was never understood again", len(d.list), 0)
		if trouble, any := w.intake.Trouble(d.id, w.now); any {
			t.Errorf("told of a DEA that is gone is %+v", trouble)
		}
	})
	t.Run("what it lost meanwhile is started afterwards", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		d := w.deas["dea-001"]
		d.garbles = true
		w.run(5 * hb)
		d.list, d.garbles = d.list[1:], false
		w.run(6 * hb)
		w.wantSent("one instance is gone", 1, 0)
	})
	t.Run("an outage does not use its time up", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		w.deas["dea-001"].garbles = true
		w.run(5 * hb)
		w.setLink(false)
		w.run(2 * bound)
		w.setLink(true)
		w.run(10 * hb)
		w.wantSent("the link was down", 0, 0)
	})
	t.Run("a new node knows it by the record", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		w.deas["dea-001"].garbles = true
		w.run(hb)
		w.restart()
		w.run(12 * hb)
		w.wantSent("this node has never understood it", 0, 0)
	})
	t.Run("who is not recorded does not count", func(t *testing.T) {
		w := steady(t, 4, 10, testOptions())
		for range 1000 {
			w.intake.Garbled("a stranger", "why not")
		}
		if _, any := w.intake.Trouble("a stranger", w.now); any || len(w.intake.deas) != 4 || w.intake.Unreadable().DEAs != 0 {
			t.Errorf("%d DEAs are known", len(w.intake.deas))
		}
		d := w.deas["dea-001"]
		d.quiet = true
		w.run(5 * hb)
		w.intake.Garbled(d.id, "too late")
		w.run(hb)
		if rec, _ := w.View().DEA(d.id); rec.GoneAt == 0 {
			t.Error("a DEA that is gone is brought back by what cannot be decoded")
		}
	})
}

// TestEntriesWithoutAPlaceAreKnown from when they were first heard until they are listed no more.
func TestEntriesWithoutAPlaceAreKnown(t *testing.T) {
	k, other := testKey(0, 1), testKey(1, 1)
	a, b := app.MustGUID("a"), app.MustGUID("b")
	at := func(k app.Key, g app.GUID) actual.Unplaced { return actual.Unplaced{App: k, GUID: g} }
	type beat struct {
		list []actual.Unplaced
		want []int // the beats in which the entries of k were first heard
	}
	for name, beats := range map[string][]beat{
		"by guid":                         {{[]actual.Unplaced{at(k, a)}, []int{0}}, {[]actual.Unplaced{at(k, b), at(k, a)}, []int{0, 1}}, {[]actual.Unplaced{at(k, b)}, []int{1}}, {nil, nil}, {[]actual.Unplaced{at(k, a)}, []int{4}}},
		"without a guid, by their number": {{[]actual.Unplaced{at(k, app.GUID{})}, []int{0}}, {[]actual.Unplaced{at(k, app.GUID{}), at(k, app.GUID{})}, []int{0, 1}}, {[]actual.Unplaced{at(k, app.GUID{})}, []int{0}}, {nil, nil}},
		"of both kinds":                   {{[]actual.Unplaced{at(k, a), at(k, app.GUID{})}, []int{0, 0}}, {[]actual.Unplaced{at(k, app.GUID{}), at(k, b)}, []int{0, 1}}},
		"of several apps":                 {{[]actual.Unplaced{at(other, a)}, nil}, {[]actual.Unplaced{at(other, a), at(k, b)}, []int{1}}, {[]actual.Unplaced{at(other, app.GUID{}), at(k, b)}, []int{1}}},
		"listed twice":                    {{[]actual.Unplaced{at(k, a), at(k, a)}, []int{0}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 10, testOptions())
			d := w.deas["dea-001"]
			began := w.now
			for n, beat := range beats {
				d.beat = w.now.Add(3 * hb) // only these heartbeats are heard of it
				said := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list), Rejected: len(beat.list), Unplaced: beat.list}
				if digest := digestOf(said); !w.intake.Unchanged(digest) {
					w.intake.Heartbeat(said, digest)
				}
				w.run(hb)
				var want []app.Time
				for _, n := range beat.want {
					want = append(want, began.Add(time.Duration(n)*hb))
				}
				if got := w.intake.Unplaced(k, w.now); !slices.Equal(got, want) {
					t.Fatalf("in beat %d: %v, want %v", n, got, want)
				}
				if got := w.intake.AllUnplaced(w.now)[k]; !slices.Equal(got, want) {
					t.Fatalf("in beat %d, of all apps: %v, want %v", n, got, want)
				}
				trouble, any := w.intake.Trouble(d.id, w.now)
				if any != (len(beat.list) > 0) || trouble.Entries != len(beat.list) {
					t.Errorf("in beat %d: told of it is %+v", n, trouble)
				}
			}
			w.wantSent("entries without a place", 0, 0)
		})
	}
}

// TestEntriesWithoutAPlaceGoWithTheirDEA, and stand beside what is recorded.
func TestEntriesWithoutAPlaceGoWithTheirDEA(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	d, i := w.at(w.apps[0].Key, 1)
	d.closed = true
	w.makeOdd(i.GUID, oddIndex)
	w.run(2 * hb)
	if n := len(w.intake.Unplaced(i.App, w.now)); n != 0 || w.recordedAs(d.id, i.GUID) == 0 {
		t.Errorf("%d entries have no place, recorded as %v, want only the record within a time to live", n, w.recordedAs(d.id, i.GUID))
	}
	w.run(3 * hb)
	if n := len(w.intake.Unplaced(i.App, w.now)); n != 1 || w.recordedAs(d.id, i.GUID) != 0 {
		t.Errorf("%d entries have no place, recorded as %v, want the entry after a time to live", n, w.recordedAs(d.id, i.GUID))
	}
	w.makeOdd(d.list[slices.IndexFunc(d.list, func(o actual.Instance) bool { return o.GUID != i.GUID })].GUID, oddNameless)
	u := w.intake.Unreadable()
	w.run(hb)
	if was, is := u, w.intake.Unreadable(); was.DEAs != 1 || was.Entries != 1 || is.Entries != 2 || is.Unplaced != 2 {
		t.Errorf("summed up as %+v, then as %+v", was, is)
	}
	d.quiet = true
	w.run(5 * hb)
	if n := len(w.intake.Unplaced(i.App, w.now)); n != 0 || len(w.intake.AllUnplaced(w.now)) != 0 || w.intake.Unreadable().DEAs != 0 || len(w.intake.troubles.byApp) != 0 {
		t.Errorf("%d entries of a silent DEA have no place: %+v", n, w.intake.Unreadable())
	}
}

// TestAnExitEndsAnUnknownState: an instance that is gone, or going, keeps nothing from being started any more.
func TestAnExitEndsAnUnknownState(t *testing.T) {
	for reason, want := range map[actual.ExitReason]actual.State{
		actual.ExitCrashed: actual.Crashed, actual.ExitShutdown: actual.Evacuating, actual.ExitEvacuation: actual.Evacuating, actual.ExitStopped: actual.Unknown,
	} {
		w := steady(t, 4, 10, testOptions())
		d, i := w.at(w.apps[0].Key, 1)
		i.State = actual.Unknown
		w.run(hb + time.Second)
		w.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: reason})
		w.step()
		if got := w.recordedAs(d.id, i.GUID); got != want {
			t.Errorf("after %v it is recorded as %v, want %v", reason, got, want)
		}
	}
}

// TestUnknownStatesAreRecorded: the instance is there, and a word that hm comes to know makes it live.
func TestUnknownStatesAreRecorded(t *testing.T) {
	for _, st := range []actual.State{actual.Unknown, actual.Stopping} {
		w := steady(t, 4, 10, testOptions())
		d, i := w.at(w.apps[0].Key, 1)
		i.State = st
		w.run(hb)
		if got := w.recordedAs(d.id, i.GUID); got != st {
			t.Errorf("recorded as %v, want %v", got, st)
		}
		if w.run(hb); i.State != st || w.intake.Backlog() != 0 {
			t.Errorf("%d DEAs' words are not recorded", w.intake.Backlog())
		}
		i.State = actual.Running
		w.run(hb)
		if got := w.recordedAs(d.id, i.GUID); got != actual.Running {
			t.Errorf("recorded as %v, want RUNNING", got)
		}
		w.run(10 * hb)
		w.wantSent("it was odd for two heartbeats", 0, 0)
	}
}
