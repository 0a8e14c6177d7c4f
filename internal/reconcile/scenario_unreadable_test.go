package reconcile

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// TestW14AnUnreadableEntryHidesNoLoss: a DEA lists something that nobody can read, for hours. An instance that it loses
// is replaced after its grace.
func TestW14AnUnreadableEntryHidesNoLoss(t *testing.T) {
	for name, bad := range map[string]func(w *world, d *simDEA){
		"that names no instance": func(_ *world, d *simDEA) { d.nameless = 2 },
		"that names an instance": func(w *world, d *simDEA) {
			other := actual.Instance{App: testKey(900, 1), GUID: app.MustGUID("unreadable"), State: actual.Running}
			d.list, w.garbled = append(d.list, other), other.GUID
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 10, testOptions())
			d, _ := w.at(w.apps[0].Key, 1)
			bad(w, d)
			w.run(time.Hour)
			w.lose(1)
			w.run(6 * hb)
			w.wantSent("a lost instance", 1, 0)
		})
	}
}

// TestW14ANewUnreadableEntryMayBeAnyInstance, so what is missing with it is kept, but only for a time to live.
func TestW14ANewUnreadableEntryMayBeAnyInstance(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	d, lost := w.at(w.apps[0].Key, 1)
	guid := lost.GUID
	recorded := func() bool {
		return slices.ContainsFunc(w.View().DEAInstances(nil, d.id), func(i actual.Instance) bool { return i.GUID == guid })
	}
	d.nameless = 1
	w.lose(1)
	w.run(2 * hb)
	if !recorded() || !w.core.intake.Quiet(d.id, guid) {
		t.Errorf("the instance that may be the unreadable entry: recorded %v, sure to be there %v", recorded(), !w.core.intake.Quiet(d.id, guid))
	}
	w.run(3 * hb)
	if recorded() {
		t.Error("the instance is still recorded, longer than a time to live after it was listed last")
	}
	w.run(5 * hb)
	w.wantSent("the instance did not come back", 1, 0)
}

// TestI3NoStopOnAccountOfACopyThatMayBeGone: one of two copies is not listed any more, beside an entry that nobody can
// read. The other must not be stopped.
func TestI3NoStopOnAccountOfACopyThatMayBeGone(t *testing.T) {
	w := steady(t, 4, 2, testOptions())
	k, index := w.copies(1)
	w.run(2 * hb)
	w.pause(30 * hb) // the stop of one is scheduled, and becomes due
	w.run(30*hb - time.Second)
	d, i := w.at(k, index)
	guid := i.GUID
	for c := range w.View().AllCommands() {
		if c.Instance == guid { // the copy that stays is the one that goes
			d, i = w.otherAt(k, index, guid)
			guid = i.GUID
		}
	}
	d.nameless = 1
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
	d.beat = w.now + 1
	w.run(20 * hb) // checkStop holds every stop against I3
	if n := w.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want 1", n)
	}
}

// otherAt finds the instance at an index that is not the given one.
func (w *world) otherAt(k app.Key, index uint32, not app.GUID) (*simDEA, *actual.Instance) {
	for _, d := range w.deas {
		for n := range d.list {
			if i := &d.list[n]; i.App == k && i.Index == index && i.GUID != not {
				return d, i
			}
		}
	}
	w.t.Fatalf("nothing else is at index %d", index)
	return nil, nil
}
