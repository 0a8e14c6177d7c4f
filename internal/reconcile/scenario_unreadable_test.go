package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// TestW14AnUnreadableEntryHidesNoLoss: a DEA lists an entry that cannot be read, for hours. An
// instance that it loses is replaced after its grace.
func TestW14AnUnreadableEntryHidesNoLoss(t *testing.T) {
	for name, bad := range map[string]func(cf *simCF, d *simDEA){
		"that names no instance": func(_ *simCF, d *simDEA) { d.nameless = 2 },
		"that names an instance": func(cf *simCF, d *simDEA) {
			other := actual.Instance{App: testKey(900, 1), GUID: app.MustGUID("unreadable"), State: actual.Running}
			d.list, cf.unreadable = append(d.list, other), other.GUID
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			d, _ := cf.at(cf.apps[0].Key, 1)
			bad(cf, d)
			cf.run(time.Hour)
			cf.lose(1)
			cf.run(6 * hb)
			cf.wantSent("a lost instance", 1, 0)
		})
	}
}

// recordedAs is the state that is recorded of an instance on a DEA; 0 if none is.
func (cf *simCF) recordedAs(dea string, g app.GUID) actual.State {
	for _, i := range cf.View().DEAInstances(nil, dea) {
		if i.GUID == g {
			return i.State
		}
	}
	return 0
}

// TestW14ANewUnreadableEntryHidesNothing: an entry without a guid keeps no instance on record. What
// is missing beside it is started a grace after it was last listed.
func TestW14ANewUnreadableEntryHidesNothing(t *testing.T) {
	for name, make := range map[string]func(*simDEA){
		"beside it":                           func(d *simDEA) { d.nameless = 1 },
		"in whose place there are several":    func(d *simDEA) { d.nameless = 5 },
		"beside those that were always there": func(d *simDEA) { d.nameless++ },
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			d, lost := cf.at(cf.apps[0].Key, 1)
			guid := lost.GUID
			make(d)
			cf.lose(1)
			cf.run(2 * hb)
			if cf.recordedAs(d.id, guid) != 0 {
				t.Error("the instance is still recorded")
			}
			cf.run(3 * hb)
			cf.wantSent("the instance did not come back", 1, 0)
		})
	}
}

// TestW14AnEntryProtectsWhatItNames for a time to live, and nothing else.
func TestW14AnEntryProtectsWhatItNames(t *testing.T) {
	for name, c := range map[string]struct {
		hb   func(hb *actual.Heartbeat, named app.GUID)
		then actual.State
	}{
		"that cannot be read": {func(hb *actual.Heartbeat, named app.GUID) {
			hb.Rejected, hb.Unreadable = 1, []app.GUID{named}
		}, 0},
		"of which one cannot be read and another is elsewhere": {func(hb *actual.Heartbeat, named app.GUID) {
			hb.Rejected, hb.Unreadable, hb.Contradicted = 2, []app.GUID{named}, []app.GUID{named}
		}, 0},
		"that contradict one another": {func(hb *actual.Heartbeat, named app.GUID) {
			hb.Rejected, hb.Contradicted = 1, []app.GUID{named}
			hb.Instances = append(hb.Instances, actual.Instance{App: testKey(0, 1), GUID: named, Index: 77, State: actual.Crashed, Since: 5})
		}, actual.Crashed},
		"that contradict one another, once more": {func(hb *actual.Heartbeat, named app.GUID) {
			hb.Rejected, hb.Contradicted = 1, []app.GUID{named}
			hb.Instances = append(hb.Instances, actual.Instance{App: testKey(0, 9), GUID: named, Index: 1, State: actual.Starting, Since: 5})
		}, actual.Starting},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			d := cf.deas["dea-001"]
			named, other := d.list[0].GUID, d.list[1].GUID
			began := cf.now
			var gone, over app.Time
			for range 10 {
				d.nextBeat = cf.now.Add(3 * hb) // only these heartbeats are heard of it
				said := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list[2:])}
				c.hb(&said, named)
				if digest := digestOf(said); !cf.intake.Unchanged(digest) {
					cf.intake.Heartbeat(said, digest)
				}
				cf.run(10 * time.Millisecond)
				if cf.recordedAs(d.id, other) == 0 && gone == 0 {
					gone = cf.now
				}
				if st := cf.recordedAs(d.id, named); st != actual.Running && over == 0 {
					over = cf.now
					if st != c.then {
						t.Errorf("then it is recorded %v, want %v", st, c.then)
					}
				} else if over == 0 && !cf.intake.Quiet(d.id, named) {
					t.Error("it is taken for sure to be there")
				}
				cf.run(hb - 10*time.Millisecond)
			}
			if gone.Sub(began) > hb {
				t.Errorf("what is named by no entry is gone after %v", gone.Sub(began))
			}
			if after := over.Sub(began); over == 0 || after < 3*hb || after > 4*hb {
				t.Errorf("the record of what is named follows after %v, want a time to live", after)
			}
		})
	}
}

// TestATimeThatCannotBeReadCostsNothing: the recorded time stays, and nothing is written.
func TestATimeThatCannotBeReadCostsNothing(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	d := cf.deas["dea-001"]
	hash, index := cf.View().Hash(), cf.index
	said := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list), Untimed: 2}
	said.Instances[0].Since, said.Instances[2].Since = 0, 0
	cf.intake.Heartbeat(said, digestOf(said))
	cf.step()
	if cf.View().Hash() != hash || cf.index != index {
		t.Errorf("%d entries were written", cf.index-index)
	}
	said.Instances[1].State, said.Instances[2].State = actual.Crashed, actual.Crashed
	cf.intake.Heartbeat(said, digestOf(said))
	cf.step()
	for n, i := range cf.View().DEAInstances(nil, d.id) {
		if i.Since == 0 {
			t.Errorf("instance %d has lost its time", n)
		}
	}
}

// TestI3NoStopOnAccountOfACopyThatMayBeGone: one of two copies is not listed any more, beside an
// entry that cannot be read. The other must not be stopped.
func TestI3NoStopOnAccountOfACopyThatMayBeGone(t *testing.T) {
	cf := steadyFleet(t, 4, 2, testOptions())
	k, index := cf.copies(1)
	cf.run(2 * hb)
	cf.pause(30 * hb) // the stop of one is scheduled, and becomes due
	cf.run(30*hb - time.Second)
	d, i := cf.at(k, index)
	guid := i.GUID
	for c := range cf.View().AllCommands() {
		if c.Instance == guid { // the copy that stays is the one that goes
			d, i = cf.otherAt(k, index, guid)
			guid = i.GUID
		}
	}
	d.nameless = 1
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
	d.nextBeat = cf.now + 1
	cf.run(20 * hb) // checkStop holds every stop against I3
	if n := cf.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want 1", n)
	}
}

// otherAt finds another instance at an index than the given one.
func (cf *simCF) otherAt(k app.Key, index uint32, not app.GUID) (*simDEA, *actual.Instance) {
	for _, d := range cf.deas {
		for n := range d.list {
			if i := &d.list[n]; i.App == k && i.Index == index && i.GUID != not {
				return d, i
			}
		}
	}
	cf.t.Fatalf("nothing else is at index %d", index)
	return nil, nil
}

// TestW13WhatCannotBeDecodedAnyMoreAfterAStart: an instance of a DEA whose messages cannot be decoded is known after a
// start of all nodes if it was recorded. If no node could record it, nobody knows of it, and it is started again. The
// copy is stopped when the messages can be decoded again.
func TestW13WhatCannotBeDecodedAnyMoreAfterAStart(t *testing.T) {
	for _, c := range []struct {
		name          string
		recorded      bool
		starts, stops int
	}{
		{"a node could record it", true, 1, 0},
		{"no node could record it", false, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := steadyFleet(t, 6, 10, testOptions())
			cf.faults = &faults{rnd: rand.New(rand.NewPCG(1, 1)), calm: true}
			cf.beginCluster(3)
			cf.truth.changed(cf)
			first := cf.deas["dea-001"]
			lost := first.list[0]
			first.list = first.list[1:]
			for end := cf.now.Add(6 * hb); len(cf.sent) == 0 && cf.now < end; {
				cf.run(time.Millisecond)
			}
			cf.wantSent("an instance is gone", 1, 0)
			if !c.recorded {
				cf.isolateAll()
			}
			cf.run(8 * hb)
			cf.isolateAll()
			i := slices.IndexFunc(cf.deaKeys(), func(key string) bool {
				return slices.ContainsFunc(cf.deas[key].list, func(i actual.Instance) bool { return i.App == lost.App && i.Index == lost.Index })
			})
			d := cf.deas[cf.deaKeys()[i]]
			cf.garble(d)
			cf.restartAll()
			cf.run(4 * hb)
			cf.mendCuts()
			cf.run(15 * hb)
			cf.wantGate("a node leads again")
			cf.wantSent("the messages of the DEA cannot be decoded", c.starts, 0)
			cf.garble(d)
			cf.run(30 * hb)
			cf.wantSent("they can be decoded again", c.starts, c.stops)
		})
	}
}

// TestW13ASenderThatIsNotRecordedYet: a node that has lost its disk knows no DEA until a node leads. Then the record
// has a DEA whose messages cannot be decoded. The node has heard it, so it is not silent.
func TestW13ASenderThatIsNotRecordedYet(t *testing.T) {
	for _, c := range []struct {
		name        string
		led, silent bool
	}{
		{"no node is known to lead: the record may be old", false, false},
		{"a node leads: the sender is a stranger", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := newSimCF(t, testOptions())
			cf.addDEAs(4)
			cf.desire(4, 4, true)
			in, hear := secondIntake(cf)
			in.Follow(c.led)
			for range 5 {
				cf.now = cf.now.Add(hb)
				for _, key := range cf.deaKeys()[1:] {
					hear(cf.deas[key], cf.deas[key].list)
				}
				in.Garbled("dea-000", "out of order, for a test")
			}
			cf.run(hb / 2) // the leader records what it hears
			if _, recorded := cf.View().DEA("dea-000"); !recorded {
				t.Fatal("the DEA is not recorded")
			}
			silent, _, _ := in.Silent(cf.View(), cf.now)
			if slices.Contains(silent, "dea-000") != c.silent {
				t.Errorf("silent are %v", silent)
			}
		})
	}
}
