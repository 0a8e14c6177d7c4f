package reconcile

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// TestW13WhatCannotBeDecodedProvesThatItsSenderSpeaks for a limited time. Then the DEA counts as
// silent.
func TestW13WhatCannotBeDecodedProvesThatItsSenderSpeaks(t *testing.T) {
	const bound = garbledTTLs * 3 * hb
	t.Run("within the bound", func(t *testing.T) {
		opts := testOptions()
		opts.Notes = func() bool { return false } // the history's note about it is an entry, and so in the hash
		cf := steadyFleet(t, 4, 10, opts)
		hash := cf.View().Hash()
		d := cf.deas["dea-001"]
		d.garbles = true
		cf.run(bound - hb)
		cf.wantSent("a DEA sends what cannot be decoded", 0, 0)
		if cf.View().Hash() != hash {
			t.Error("the record has changed")
		}
		if !cf.intake.Quiet(d.id, d.list[0].GUID) {
			t.Error("its instances are taken for sure to be there")
		}
		trouble, any := cf.intake.Trouble(d.id, cf.now)
		if !any || trouble.Messages < 25 || cf.now.Sub(trouble.MessagesSince) < bound-3*hb || trouble.Why != "out of order, for a test" {
			t.Errorf("told of it is %+v", trouble)
		}
		d.garbles = false
		cf.run(2 * hb)
		cf.wantSent("it is understood again", 0, 0)
		if trouble, any := cf.intake.Trouble(d.id, cf.now); any || cf.intake.Quiet(d.id, d.list[0].GUID) {
			t.Errorf("told of it is %+v when all is well again", trouble)
		}
	})
	t.Run("beyond the bound", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		d := cf.deas["dea-001"]
		d.garbles, d.closed = true, true
		cf.run(bound + 4*hb)
		if rec, _ := cf.View().DEA(d.id); rec.GoneAt == 0 {
			t.Fatal("it is still taken to be there")
		}
		cf.run(5 * hb)
		cf.wantSent("it was never understood again", len(d.list), 0)
		if trouble, any := cf.intake.Trouble(d.id, cf.now); any {
			t.Errorf("told of a DEA that is gone is %+v", trouble)
		}
	})
	t.Run("what it lost meanwhile is started afterwards", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		d := cf.deas["dea-001"]
		d.garbles = true
		cf.run(5 * hb)
		d.list, d.garbles = d.list[1:], false
		cf.run(6 * hb)
		cf.wantSent("one instance is gone", 1, 0)
	})
	t.Run("an outage does not use its time up", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		cf.deas["dea-001"].garbles = true
		cf.run(5 * hb)
		cf.setLink(false)
		cf.run(2 * bound)
		cf.setLink(true)
		cf.run(10 * hb)
		cf.wantSent("the link was down", 0, 0)
	})
	t.Run("a new node knows it by the record", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		cf.deas["dea-001"].garbles = true
		cf.run(hb)
		cf.restart()
		cf.run(12 * hb)
		cf.wantSent("this node has never understood it", 0, 0)
	})
	t.Run("who is not recorded does not count", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		for range 1000 {
			cf.intake.Garbled("a stranger", "why not")
		}
		if _, any := cf.intake.Trouble("a stranger", cf.now); any || len(cf.intake.deas) != 4 || cf.intake.Unreadable().DEAs != 0 {
			t.Errorf("%d DEAs are known", len(cf.intake.deas))
		}
		d := cf.deas["dea-001"]
		d.quiet = true
		cf.run(5 * hb)
		cf.intake.Garbled(d.id, "too late")
		cf.run(hb)
		if rec, _ := cf.View().DEA(d.id); rec.GoneAt == 0 {
			t.Error("a DEA that is gone is brought back by what cannot be decoded")
		}
	})
}

// TestEntriesWithoutAPlaceAreKnown from when they are first heard until they are no longer listed.
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
			cf := steadyFleet(t, 4, 10, testOptions())
			d := cf.deas["dea-001"]
			began := cf.now
			for n, beat := range beats {
				d.nextBeat = cf.now.Add(3 * hb) // only these heartbeats are heard of it
				said := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list), Rejected: len(beat.list), Unplaced: beat.list}
				if digest := digestOf(said); !cf.intake.Unchanged(digest) {
					cf.intake.Heartbeat(said, digest)
				}
				cf.run(hb)
				var want []app.Time
				for _, n := range beat.want {
					want = append(want, began.Add(time.Duration(n)*hb))
				}
				if got := cf.intake.Unplaced(k, cf.now); !slices.Equal(got, want) {
					t.Fatalf("in beat %d: %v, want %v", n, got, want)
				}
				if got := cf.intake.AllUnplaced(cf.now)[k]; !slices.Equal(got, want) {
					t.Fatalf("in beat %d, of all apps: %v, want %v", n, got, want)
				}
				trouble, any := cf.intake.Trouble(d.id, cf.now)
				if any != (len(beat.list) > 0) || trouble.Entries != len(beat.list) {
					t.Errorf("in beat %d: told of it is %+v", n, trouble)
				}
			}
			cf.wantSent("entries without a place", 0, 0)
		})
	}
}

// TestEntriesWithoutAPlaceGoWithTheirDEA, and stand beside what is recorded.
func TestEntriesWithoutAPlaceGoWithTheirDEA(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	d, i := cf.at(cf.apps[0].Key, 1)
	d.closed = true
	cf.setMisreported(i.GUID, noIndex)
	cf.run(2 * hb)
	if n := len(cf.intake.Unplaced(i.App, cf.now)); n != 0 || cf.recordedAs(d.id, i.GUID) == 0 {
		t.Errorf("%d entries have no place, recorded as %v, want only the record within a time to live", n, cf.recordedAs(d.id, i.GUID))
	}
	cf.run(3 * hb)
	if n := len(cf.intake.Unplaced(i.App, cf.now)); n != 1 || cf.recordedAs(d.id, i.GUID) != 0 {
		t.Errorf("%d entries have no place, recorded as %v, want the entry after a time to live", n, cf.recordedAs(d.id, i.GUID))
	}
	cf.setMisreported(d.list[slices.IndexFunc(d.list, func(o actual.Instance) bool { return o.GUID != i.GUID })].GUID, noIndexNoGUID)
	u := cf.intake.Unreadable()
	cf.run(hb)
	if was, is := u, cf.intake.Unreadable(); was.DEAs != 1 || was.Entries != 1 || is.Entries != 2 || is.Unplaced != 2 {
		t.Errorf("summed up as %+v, then as %+v", was, is)
	}
	d.quiet = true
	cf.run(5 * hb)
	if n := len(cf.intake.Unplaced(i.App, cf.now)); n != 0 || len(cf.intake.AllUnplaced(cf.now)) != 0 || cf.intake.Unreadable().DEAs != 0 || len(cf.intake.troubles.byApp) != 0 {
		t.Errorf("%d entries of a silent DEA have no place: %+v", n, cf.intake.Unreadable())
	}
}

// TestAnExitEndsAnUnknownState: an instance that ended, or is about to, does not keep a start away
// any more.
func TestAnExitEndsAnUnknownState(t *testing.T) {
	for reason, want := range map[actual.ExitReason]actual.State{
		actual.ExitCrashed: actual.Crashed, actual.ExitShutdown: actual.Evacuating, actual.ExitEvacuation: actual.Evacuating, actual.ExitStopped: actual.Unknown,
	} {
		cf := steadyFleet(t, 4, 10, testOptions())
		d, i := cf.at(cf.apps[0].Key, 1)
		i.State = actual.Unknown
		cf.run(hb + time.Second)
		cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: reason})
		cf.step()
		if got := cf.recordedAs(d.id, i.GUID); got != want {
			t.Errorf("after %v it is recorded as %v, want %v", reason, got, want)
		}
	}
}

// TestUnknownStatesAreRecorded: the instance counts as present. When its state is known later, it
// may be live.
func TestUnknownStatesAreRecorded(t *testing.T) {
	for _, st := range []actual.State{actual.Unknown, actual.Stopping} {
		cf := steadyFleet(t, 4, 10, testOptions())
		d, i := cf.at(cf.apps[0].Key, 1)
		i.State = st
		cf.run(hb)
		if got := cf.recordedAs(d.id, i.GUID); got != st {
			t.Errorf("recorded as %v, want %v", got, st)
		}
		if cf.run(hb); i.State != st || cf.intake.Backlog() != 0 {
			t.Errorf("%d DEAs' words are not recorded", cf.intake.Backlog())
		}
		i.State = actual.Running
		cf.run(hb)
		if got := cf.recordedAs(d.id, i.GUID); got != actual.Running {
			t.Errorf("recorded as %v, want RUNNING", got)
		}
		cf.run(10 * hb)
		cf.wantSent("it was odd for two heartbeats", 0, 0)
	}
}
