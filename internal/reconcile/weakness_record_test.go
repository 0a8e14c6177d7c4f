package reconcile

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

func TestW06RowsReturnedTwice(t *testing.T) {
	t.Run("alike", func(t *testing.T) {
		cf := steadyFleet(t, 4, 5, testOptions())
		cf.apps = append(cf.apps, cf.apps[0], cf.apps[0])
		cf.deas["dea-001"].list = slices.DeleteFunc(cf.deas["dea-001"].list, func(i actual.Instance) bool { return i.App == cf.apps[0].Key })
		cf.run(20 * hb)
		cf.wantSent("an index is missing of an app that each read returns three times", 1, 0)
	})
	t.Run("not alike", func(t *testing.T) {
		cf := steadyFleet(t, 4, 5, testOptions())
		index := cf.index
		other := cf.apps[0]
		other.Instances = 0
		cf.apps = append(cf.apps, other)
		cf.run(11 * hb)
		if cf.index != index || cf.core.reads.lastError == "" {
			t.Errorf("a mixed view was recorded: %d entries, error %q", cf.index-index, cf.core.reads.lastError)
		}
		cf.wantSent("a mixed view", 0, 0)
		cf.run(10 * hb)
		cf.wantGate("nothing but mixed views", ReasonDesiredStale)
	})
}

// TestW07UnreadableIsNeverEmpty: what cannot be read, heard or recorded leaves the record as it is,
// and sends nothing.
func TestW07UnreadableIsNeverEmpty(t *testing.T) {
	for name, fault := range map[string]func(*simCF){
		"a read of the desired state fails":          func(cf *simCF) { cf.readErr = errTest },
		"a DEA's heartbeats cannot be read":          func(cf *simCF) { cf.deas["dea-002"].quiet = true },
		"no heartbeat can be read":                   func(cf *simCF) { quiet(cf, true) },
		"entries cannot be committed":                func(cf *simCF) { cf.fail = errTest },
		"nothing can be read, heard nor committed":   func(cf *simCF) { cf.readErr, cf.fail = errTest, errTest; quiet(cf, true) },
		"a leader takes over that never read at all": func(cf *simCF) { cf.readErr = errTest; cf.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 8, 25, testOptions())
			hash := cf.View().Hash()
			fault(cf)
			cf.run(2 * hb)
			cf.readErr, cf.fail = nil, nil
			quiet(cf, false)
			cf.run(20 * hb)
			cf.wantSent(name, 0, 0)
			cf.wantGate(name)
			if after := cf.View().Hash(); after != hash {
				t.Errorf("the record's hash was %s and is %s", hash, after)
			}
		})
	}
}

func quiet(cf *simCF, q bool) {
	for _, d := range cf.deas {
		d.quiet = q
	}
}

// TestW08WhatCouldNotBeRecordedIsNotForgotten: heartbeats that repeat what could not be recorded do
// not count as known, and hm does not wait again for what it has heard all along (W25).
func TestW08WhatCouldNotBeRecordedIsNotForgotten(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	d := cf.deas["dea-001"]
	cf.fail = errTest
	d.list = append(d.list[1:], cf.instance(cf.apps[2].Key, 9, actual.Starting))
	cf.run(10 * hb)
	cf.wantSent("nothing can be recorded", 0, 0)
	cf.fail = nil
	cf.run(hb / 5)
	cf.wantGate("what was heard is recorded")
	if got := cf.View().DEAInstances(nil, d.id); !sameInstances(got, d.list) {
		t.Errorf("recorded is %v, heard was %v", got, d.list)
	}
	cf.run(6 * hb)
	cf.wantSent("a missing and an extra instance", 1, 1)
}

func sameInstances(a, b []actual.Instance) bool {
	order := func(x, y actual.Instance) int { return x.GUID.Compare(y.GUID) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

// TestW09ReturnedDEAIsRecordedAtOnce: a DEA that was lost returns with the same bytes that it sent
// before.
func TestW09ReturnedDEAIsRecordedAtOnce(t *testing.T) {
	for name, later := range map[string]time.Duration{"at once": 0, "after everything about it was dropped": 20 * hb} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 8, 25, testOptions())
			d := cf.deas["dea-003"]
			n := len(d.list)
			cf.pause(60 * hb)
			d.quiet = true
			gone := func() bool { rec, ok := cf.View().DEA(d.id); return !ok || rec.GoneAt != 0 }
			for range 100 {
				if gone() {
					break
				}
				cf.run(hb / 20)
			}
			if !gone() {
				t.Fatal("the DEA was not given up")
			}
			cf.run(later)
			d.quiet, d.nextBeat = false, cf.now+1
			cf.run(10 * time.Millisecond)
			if rec, ok := cf.View().DEA(d.id); !ok || rec.GoneAt != 0 || rec.Len != n {
				t.Errorf("after its first heartbeat the DEA's record is %+v, want %d instances", rec, n)
			}
			cf.run(80 * hb)
			cf.wantSent("it was away while everything was paused", 0, 0)
		})
	}
}

// TestW11AnyChangeIsRecorded: not only a state that changed.
func TestW11AnyChangeIsRecorded(t *testing.T) {
	for name, change := range map[string]func(*actual.Instance){
		"index":   func(i *actual.Instance) { i.Index = 77 },
		"version": func(i *actual.Instance) { i.App.Version = app.MustGUID("v9") },
		"since":   func(i *actual.Instance) { i.Since++ },
		"state":   func(i *actual.Instance) { i.State = actual.Starting },
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 5, testOptions())
			d := cf.deas["dea-001"]
			change(&d.list[0])
			cf.run(hb)
			if got := cf.View().DEAInstances(nil, d.id); !sameInstances(got, d.list) {
				t.Errorf("recorded is %v, heard was %v", got, d.list)
			}
		})
	}
}

// TestW13WhatCannotBeRecordedCostsOnlyItself: if the record refuses a heartbeat, everything else
// goes on.
func TestW13WhatCannotBeRecordedCostsOnlyItself(t *testing.T) {
	for name, hb13 := range map[string]actual.Heartbeat{
		"no DEA":      {},
		"no instance": {DEA: "dea-x", Instances: []actual.Instance{{}}},
		"huge index":  {DEA: "dea-x", Instances: []actual.Instance{{App: testKey(0, 1), GUID: app.MustGUID("a/b,c"), Index: actual.MaxIndex + 1, State: actual.Running}}},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 5, testOptions())
			cf.intake.Heartbeat(hb13, digestOf(hb13))
			cf.run(hb)
			cf.wantGate("after it")
			cf.deas["dea-001"].list = cf.deas["dea-001"].list[1:]
			cf.run(8 * hb)
			cf.wantSent("an instance was lost", 1, 0)
			if _, known := cf.View().DEA(hb13.DEA); known {
				t.Error("it was recorded")
			}
		})
	}
}

// TestW14UnreadableEntryCostsNoOtherInstance: hm acts on no other instance than the one whose entry
// cannot be read.
func TestW14UnreadableEntryCostsNoOtherInstance(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	d := cf.deas["dea-001"]
	bad := d.list[0]
	for range 20 {
		cf.run(hb)
		beat := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list[1:]), Rejected: 1}
		if digest := digestOf(beat); !cf.intake.Unchanged(digest) {
			cf.intake.Heartbeat(beat, digest)
		}
		d.nextBeat = cf.now.Add(2 * hb) // only these heartbeats are heard of it
	}
	for _, c := range cf.sent {
		if c.App != bad.App || c.Index != bad.Index {
			t.Errorf("%s of %s/%d because an entry of %s/%d cannot be read", c.Action, c.App.Droplet, c.Index, bad.App.Droplet, bad.Index)
		}
	}
}

// TestW24RestartForgetsNothing: a new node replaces the old one. It has only a snapshot.
func TestW24RestartForgetsNothing(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	d := cf.deas["dea-001"]
	victim := func() *actual.Instance {
		for _, d := range cf.deas {
			for i := range d.list {
				if d.list[i].App == cf.apps[0].Key && d.list[i].Index == 1 && d.list[i].State.Live() {
					return &d.list[i]
				}
			}
		}
		return nil
	}
	for range 6 { // a crash loop, up to a restart that waits for its back-off of 12 HB
		if i := victim(); i != nil {
			i.State = actual.Crashed
		}
		for range 100 {
			if cf.run(hb); victim() != nil || cf.View().Counts().PendingStarts > 0 && cf.backoff() > 8*hb {
				break
			}
		}
	}
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App == cf.apps[1].Key }) // and one that waits for its grace
	cf.run(hb)
	pending := slices.Collect(cf.View().AllCommands())
	crashes := cf.View().Crashes(cf.apps[0].Key)
	if len(pending) != 2 || len(crashes) != 1 || crashes[0].Count < 5 {
		t.Fatalf("before the restart: %d commands and the crashes %+v", len(pending), crashes)
	}
	var snapshot bytes.Buffer
	if err := cf.View().WriteSnapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	hash := cf.View().Hash()
	restored, err := raftfsm.RestoreState(&snapshot)
	if err != nil {
		t.Fatal(err)
	}
	cf.state, cf.view = restored, nil
	cf.restart()
	if got := cf.View().Hash(); got != hash {
		t.Fatalf("the record's hash is %s, before the restart it was %s", got, hash)
	}
	sent, fresh := len(cf.sent), cf.now.Add(3*hb)
	cf.run(20 * hb)
	for _, p := range pending {
		i := slices.IndexFunc(cf.sent[sent:], func(c sentCommand) bool { return c.ID == p.ID })
		if i < 0 {
			t.Fatalf("the %s %s that was pending was not sent", p.Action, p.Reason)
		}
		if at := cf.sent[sent+i].at; at < p.DueAt || at > max(p.DueAt, fresh).Add(hb) {
			t.Errorf("a %s that was due %v after the restart was sent %v after it", p.Reason, p.DueAt.Sub(fresh)+3*hb, at.Sub(fresh)+3*hb)
		}
	}
	if len(cf.sent) != sent+2 {
		t.Errorf("%d commands were sent, want the 2 that were pending", len(cf.sent)-sent)
	}
}

// backoff is how far away the pending crash restart is.
func (cf *simCF) backoff() time.Duration {
	for c := range cf.View().AllCommands() {
		if c.Reason == commands.ReasonCrashed && c.State == commands.Pending {
			return c.DueAt.Sub(cf.now)
		}
	}
	return 0
}

// TestW26ClocksOfDEAsMoveNothing: the clocks of DEAs, which set the times of states, jump by days.
func TestW26ClocksOfDEAsMoveNothing(t *testing.T) {
	cf := steadyFleet(t, 8, 25, testOptions())
	day := (24 * time.Hour).Milliseconds()
	for n, by := range []int64{day, -30 * day, 365 * day, -1_700_000_000_000, 1 << 60} {
		for id, d := range cf.deas {
			for i := range d.list {
				if int(id[len(id)-1]+byte(i))%2 == n%2 {
					d.list[i].Since += by
				}
			}
		}
		cf.run(20 * hb)
	}
	cf.wantSent("clocks jumped", 0, 0)
	cf.wantGate("clocks jumped")
}

func TestW48LookingChangesNothing(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	hash, index := cf.View().Hash(), cf.index
	e := NewEvaluator(testPolicy)
	for n := range 1000 {
		if got := e.App(cf.View(), testKey(1000+n, 1), Knowledge{}, cf.now).Findings; len(got) > 0 {
			t.Fatalf("an app that nobody knows of comes to %+v", got)
		}
	}
	cf.drift()
	cf.run(hb)
	if cf.View().Hash() != hash || cf.index != index || cf.View().Counts().Apps != 5 {
		t.Errorf("looking changed the record")
	}
}

// TestW06AReadIsComparedWithTheNewestRecord: a read was compared where it was made, and another one was recorded
// meanwhile.
func TestW06AReadIsComparedWithTheNewestRecord(t *testing.T) {
	cf := steadyFleet(t, 4, 25, testOptions())
	old := cf.View()
	whole, err := desired.NewRead("test", slices.Clone(cf.apps))
	if err != nil {
		t.Fatal(err)
	}
	scaled := slices.Clone(cf.apps)
	scaled[0].Instances++
	other, err := desired.NewRead("test", scaled)
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []desired.Read{other, whole} {
		cf.run(hb)
		cf.reads = nil // only these reads are made
		o := ReadOutcome{Began: cf.now, Read: read, compared: cf.core.opts.Guard.compareRead(old, read)}
		if err := cf.core.DesiredRead(t.Context(), cf.now, o); err != nil {
			t.Fatal(err)
		}
		if got, _ := cf.View().App(scaled[0].Key); got.Desired != read.Apps[0] {
			t.Fatalf("%+v is recorded, want %+v", got.Desired, read.Apps[0])
		}
	}
}

func TestW49UnreadableRowKeepsWhatIsRecorded(t *testing.T) {
	cf := steadyFleet(t, 4, 25, testOptions())
	index := cf.index
	for range 30 {
		cf.run(hb)
		read, err := desired.NewRead("test", slices.Clone(cf.apps[1:]))
		if err != nil {
			t.Fatal(err)
		}
		if read, err = read.WithUnreadable([]app.GUID{cf.apps[0].Key.Droplet, app.MustGUID("never-heard-of")}); err != nil {
			t.Fatal(err)
		}
		if err := cf.core.DesiredRead(t.Context(), cf.now, ReadOutcome{Began: cf.now, Read: read}); err != nil {
			t.Fatal(err)
		}
		cf.reads = nil // only these reads are made
	}
	cf.wantSent("a row cannot be read", 0, 0)
	if cf.index != index {
		t.Errorf("%d entries were written", cf.index-index)
	}
}
