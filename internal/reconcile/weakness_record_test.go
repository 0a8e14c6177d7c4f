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
		w := steady(t, 4, 5, testOptions())
		w.apps = append(w.apps, w.apps[0], w.apps[0])
		w.deas["dea-001"].list = slices.DeleteFunc(w.deas["dea-001"].list, func(i actual.Instance) bool { return i.App == w.apps[0].Key })
		w.run(20 * hb)
		w.wantSent("an index is missing of an app that each read returns three times", 1, 0)
	})
	t.Run("not alike", func(t *testing.T) {
		w := steady(t, 4, 5, testOptions())
		index := w.index
		other := w.apps[0]
		other.Instances = 0
		w.apps = append(w.apps, other)
		w.run(11 * hb)
		if w.index != index || w.core.reads.lastError == "" {
			t.Errorf("a mixed view was recorded: %d entries, error %q", w.index-index, w.core.reads.lastError)
		}
		w.wantSent("a mixed view", 0, 0)
		w.run(10 * hb)
		w.wantGate("nothing but mixed views", ReasonDesiredStale)
	})
}

// TestW07UnreadableIsNeverEmpty: what cannot be read, heard or recorded leaves the record as it is, and sends nothing.
func TestW07UnreadableIsNeverEmpty(t *testing.T) {
	for name, fault := range map[string]func(*world){
		"a read of the desired state fails":          func(w *world) { w.readErr = errTest },
		"a DEA's heartbeats cannot be read":          func(w *world) { w.deas["dea-002"].quiet = true },
		"no heartbeat can be read":                   func(w *world) { quiet(w, true) },
		"entries cannot be committed":                func(w *world) { w.fail = errTest },
		"nothing can be read, heard nor committed":   func(w *world) { w.readErr, w.fail = errTest, errTest; quiet(w, true) },
		"a leader takes over that never read at all": func(w *world) { w.readErr = errTest; w.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 8, 25, testOptions())
			hash := w.View().Hash()
			fault(w)
			w.run(2 * hb)
			w.readErr, w.fail = nil, nil
			quiet(w, false)
			w.run(20 * hb)
			w.wantSent(name, 0, 0)
			w.wantGate(name)
			if after := w.View().Hash(); after != hash {
				t.Errorf("the record's hash was %s and is %s", hash, after)
			}
		})
	}
}

func quiet(w *world, q bool) {
	for _, d := range w.deas {
		d.quiet = q
	}
}

// TestW08WhatCouldNotBeRecordedIsNotForgotten: heartbeats that repeat what could not be recorded do not pass for
// known ones, and hm does not wait anew for what it has heard all along (W25).
func TestW08WhatCouldNotBeRecordedIsNotForgotten(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	d := w.deas["dea-001"]
	w.fail = errTest
	d.list = append(d.list[1:], w.instance(w.apps[2].Key, 9, actual.Starting))
	w.run(10 * hb)
	w.wantSent("nothing can be recorded", 0, 0)
	w.fail = nil
	w.run(hb / 5)
	w.wantGate("what was heard is recorded")
	if got := w.View().DEAInstances(nil, d.id); !sameInstances(got, d.list) {
		t.Errorf("recorded is %v, heard was %v", got, d.list)
	}
	w.run(6 * hb)
	w.wantSent("a missing and an extra instance", 1, 1)
}

func sameInstances(a, b []actual.Instance) bool {
	order := func(x, y actual.Instance) int { return x.GUID.Compare(y.GUID) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

// TestW09ReturnedDEAIsRecordedAtOnce: a DEA that was given up returns with the very bytes that it sent before.
func TestW09ReturnedDEAIsRecordedAtOnce(t *testing.T) {
	for name, later := range map[string]time.Duration{"at once": 0, "after everything about it was dropped": 20 * hb} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 8, 25, testOptions())
			d := w.deas["dea-003"]
			n := len(d.list)
			w.pause(60 * hb)
			d.quiet = true
			gone := func() bool { rec, ok := w.View().DEA(d.id); return !ok || rec.GoneAt != 0 }
			for range 100 {
				if gone() {
					break
				}
				w.run(hb / 20)
			}
			if !gone() {
				t.Fatal("the DEA was not given up")
			}
			w.run(later)
			d.quiet, d.beat = false, w.now+1
			w.run(10 * time.Millisecond)
			if rec, ok := w.View().DEA(d.id); !ok || rec.GoneAt != 0 || rec.Len != n {
				t.Errorf("after its first heartbeat the DEA's record is %+v, want %d instances", rec, n)
			}
			w.run(80 * hb)
			w.wantSent("it was away while everything was paused", 0, 0)
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
			w := steady(t, 4, 5, testOptions())
			d := w.deas["dea-001"]
			change(&d.list[0])
			w.run(hb)
			if got := w.View().DEAInstances(nil, d.id); !sameInstances(got, d.list) {
				t.Errorf("recorded is %v, heard was %v", got, d.list)
			}
		})
	}
}

// TestW13WhatCannotBeRecordedCostsOnlyItself: should a heartbeat come through that the record refuses, everything
// else goes on.
func TestW13WhatCannotBeRecordedCostsOnlyItself(t *testing.T) {
	for name, hb13 := range map[string]actual.Heartbeat{
		"no DEA":      {},
		"no instance": {DEA: "dea-x", Instances: []actual.Instance{{}}},
		"huge index":  {DEA: "dea-x", Instances: []actual.Instance{{App: testKey(0, 1), GUID: app.MustGUID("a/b,c"), Index: actual.MaxIndex + 1, State: actual.Running}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 5, testOptions())
			w.intake.Heartbeat(hb13, digestOf(hb13))
			w.run(hb)
			w.wantGate("after it")
			w.deas["dea-001"].list = w.deas["dea-001"].list[1:]
			w.run(8 * hb)
			w.wantSent("an instance was lost", 1, 0)
			if _, known := w.View().DEA(hb13.DEA); known {
				t.Error("it was recorded")
			}
		})
	}
}

// TestW14UnreadableEntryCostsNoOtherInstance: nobody but the instance whose entry cannot be read is acted on.
func TestW14UnreadableEntryCostsNoOtherInstance(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	d := w.deas["dea-001"]
	bad := d.list[0]
	for range 20 {
		w.run(hb)
		beat := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list[1:]), Rejected: 1}
		if digest := digestOf(beat); !w.intake.Unchanged(digest) {
			w.intake.Heartbeat(beat, digest)
		}
		d.beat = w.now.Add(2 * hb) // only these heartbeats are heard of it
	}
	for _, c := range w.sent {
		if c.App != bad.App || c.Index != bad.Index {
			t.Errorf("%s of %s/%d because an entry of %s/%d cannot be read", c.Action, c.App.Droplet, c.Index, bad.App.Droplet, bad.Index)
		}
	}
}

// TestW24RestartForgetsNothing puts a new node in the old one's place that knows nothing but a snapshot.
func TestW24RestartForgetsNothing(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	d := w.deas["dea-001"]
	victim := func() *actual.Instance {
		for _, d := range w.deas {
			for i := range d.list {
				if d.list[i].App == w.apps[0].Key && d.list[i].Index == 1 && d.list[i].State.Live() {
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
			if w.run(hb); victim() != nil || w.View().Counts().PendingStarts > 0 && w.backoff() > 8*hb {
				break
			}
		}
	}
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App == w.apps[1].Key }) // and one that waits for its grace
	w.run(hb)
	pending := slices.Collect(w.View().AllCommands())
	crashes := w.View().Crashes(w.apps[0].Key)
	if len(pending) != 2 || len(crashes) != 1 || crashes[0].Count < 5 {
		t.Fatalf("before the restart: %d commands and the crashes %+v", len(pending), crashes)
	}
	var snapshot bytes.Buffer
	if err := w.View().WriteSnapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	hash := w.View().Hash()
	restored, err := raftfsm.RestoreState(&snapshot)
	if err != nil {
		t.Fatal(err)
	}
	w.state, w.view = restored, nil
	w.restart()
	if got := w.View().Hash(); got != hash {
		t.Fatalf("the record's hash is %s, before the restart it was %s", got, hash)
	}
	sent, fresh := len(w.sent), w.now.Add(3*hb)
	w.run(20 * hb)
	for _, p := range pending {
		i := slices.IndexFunc(w.sent[sent:], func(c sentCommand) bool { return c.ID == p.ID })
		if i < 0 {
			t.Fatalf("the %s %s that was pending was not sent", p.Action, p.Reason)
		}
		if at := w.sent[sent+i].at; at < p.DueAt || at > max(p.DueAt, fresh).Add(hb) {
			t.Errorf("a %s that was due %v after the restart was sent %v after it", p.Reason, p.DueAt.Sub(fresh)+3*hb, at.Sub(fresh)+3*hb)
		}
	}
	if len(w.sent) != sent+2 {
		t.Errorf("%d commands were sent, want the 2 that were pending", len(w.sent)-sent)
	}
}

// backoff is how far away the pending crash restart is.
func (w *world) backoff() time.Duration {
	for c := range w.View().AllCommands() {
		if c.Reason == commands.ReasonCrashed && c.State == commands.Pending {
			return c.DueAt.Sub(w.now)
		}
	}
	return 0
}

// TestW26ClocksOfDEAsMoveNothing lets the DEAs' clocks, which stamp the states, jump by days.
func TestW26ClocksOfDEAsMoveNothing(t *testing.T) {
	w := steady(t, 8, 25, testOptions())
	day := (24 * time.Hour).Milliseconds()
	for n, by := range []int64{day, -30 * day, 365 * day, -1_700_000_000_000, 1 << 60} {
		for id, d := range w.deas {
			for i := range d.list {
				if int(id[len(id)-1]+byte(i))%2 == n%2 {
					d.list[i].Since += by
				}
			}
		}
		w.run(20 * hb)
	}
	w.wantSent("clocks jumped", 0, 0)
	w.wantGate("clocks jumped")
}

func TestW48LookingChangesNothing(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	hash, index := w.View().Hash(), w.index
	e := NewEvaluator(testPolicy)
	for n := range 1000 {
		if got := e.App(w.View(), testKey(1000+n, 1), Knowledge{}, w.now).Findings; len(got) > 0 {
			t.Fatalf("an app that nobody knows of comes to %+v", got)
		}
	}
	w.drift()
	w.run(hb)
	if w.View().Hash() != hash || w.index != index || w.View().Counts().Apps != 5 {
		t.Errorf("looking changed the record")
	}
}

func TestW49UnreadableRowKeepsWhatIsRecorded(t *testing.T) {
	w := steady(t, 4, 25, testOptions())
	index := w.index
	for range 30 {
		w.run(hb)
		read, err := desired.NewRead("test", slices.Clone(w.apps[1:]))
		if err != nil {
			t.Fatal(err)
		}
		if read, err = read.WithUnreadable([]app.GUID{w.apps[0].Key.Droplet, app.MustGUID("never-heard-of")}); err != nil {
			t.Fatal(err)
		}
		if err := w.core.DesiredRead(t.Context(), w.now, ReadOutcome{Began: w.now, Read: read}); err != nil {
			t.Fatal(err)
		}
		w.reads = nil // only these reads are made
	}
	w.wantSent("a row cannot be read", 0, 0)
	if w.index != index {
		t.Errorf("%d entries were written", w.index-index)
	}
}
