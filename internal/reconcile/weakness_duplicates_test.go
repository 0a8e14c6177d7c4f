package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// The tests in the files weakness_*_test.go show, at the level of the whole core, that hm clears the weaknesses of
// docs/weaknesses.md.

// must records r as if somebody else had proposed it.
func (w *world) must(records ...raftfsm.Record) raftfsm.Result {
	w.t.Helper()
	results, err := w.Propose(w.t.Context(), records...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.wake = true
	return results[0]
}

// pause holds everything for d.
func (w *world) pause(d time.Duration) {
	w.t.Helper()
	w.must(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, By: "a test", SetAt: w.now, Until: w.now.Add(d)}})
}

// copies adds n live instances beside what runs at index 1 of the first app, each on a DEA of its own.
func (w *world) copies(n int) (k app.Key, index uint32) {
	k, index = w.apps[0].Key, 1
	for i := range n {
		d := w.deas[fmt.Sprintf("dea-%03d", i)]
		d.list = append(d.list, w.instance(k, index, actual.Running))
	}
	return k, index
}

// liveAt counts the live instances that the DEAs really have at an index.
func (w *world) liveAt(k app.Key, index uint32) int {
	n := 0
	for _, d := range w.deas {
		for _, i := range d.list {
			if i.App == k && i.Index == index && i.State.Live() && !d.quiet {
				n++
			}
		}
	}
	return n
}

// meddler is a world whose record changes just before a claim is applied.
type meddler struct {
	*world
	before func()
}

func (m *meddler) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if _, claim := records[0].(raftfsm.CommandsClaimed); claim && m.before != nil {
		m.before()
		m.before = nil
	}
	return m.world.Propose(ctx, records...)
}

func TestW02StopsDueTogetherGoOneByOne(t *testing.T) {
	w := steady(t, 4, 2, testOptions())
	k, index := w.copies(3)
	w.run(2 * hb) // the stops of three copies are scheduled
	w.pause(30 * hb)
	w.run(30*hb - time.Second)
	w.wantGate("while paused", ReasonPaused)
	w.wantSent("while paused", 0, 0)
	if c := w.View().Counts(); c.PendingStops != 3 {
		t.Fatalf("%d stops are pending, want 3", c.PendingStops)
	}
	for cmd := range w.View().AllCommands() {
		if cmd.DueAt > w.now {
			t.Fatalf("the stop of %s is not due yet", cmd.Instance)
		}
	}
	w.deaf = true // what is sent has no effect for now
	w.run(3 * hb)
	w.wantSent("three stops were due when the gate opened", 0, 1)
	if n := w.liveAt(k, index); n != 4 {
		t.Fatalf("%d copies, want 4", n)
	}
	w.deaf = false
	for sent := len(w.sent); w.liveAt(k, index) > 1; sent = len(w.sent) {
		before := w.liveAt(k, index)
		w.run(time.Second)
		if gone := before - w.liveAt(k, index); gone > 1 || len(w.sent) > sent+1 {
			t.Fatalf("%d copies went within a second, %d stops were sent", gone, len(w.sent)-sent)
		}
		if w.now.Sub(w.sent[0].at) > 60*hb {
			t.Fatal("the duplicates are not gone")
		}
	}
	w.run(30 * hb)
	if n := w.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want 1", n)
	}
}

// TestW02SecondClaimIsRefused has both copies' stops scheduled and claimed, as two leaders might that both believe
// the other copy stays: whatever they decided, the record refuses the second claim.
func TestW02SecondClaimIsRefused(t *testing.T) {
	for _, together := range []bool{true, false} {
		t.Run(fmt.Sprint("in one entry: ", together), func(t *testing.T) {
			w := steady(t, 4, 2, testOptions())
			k, index := w.copies(1)
			w.run(2 * hb)
			w.pause(2 * hb)
			var scheduled raftfsm.CommandsScheduled
			var ids []commands.ID
			for cmd := range w.View().AllCommands() { // hm's own, for one of the two
				w.must(raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: cmd.ID, State: commands.Dropped}}})
			}
			for _, i := range w.View().Instances(nil, k) {
				if i.Index == index {
					c := commands.Command{Action: commands.Stop, App: k, Index: index, Instance: i.GUID, Reason: commands.ReasonDuplicate, DueAt: w.now, State: commands.Pending}
					c.ID = commands.NewID(c)
					scheduled.Commands, ids = append(scheduled.Commands, c), append(ids, c.ID)
				}
			}
			if len(ids) != 2 {
				t.Fatalf("%d copies are recorded, want 2", len(ids))
			}
			w.must(scheduled)
			w.must(raftfsm.HoldReleased{Name: HoldPaused})
			basis := w.View().Basis(k, index)
			one, two := raftfsm.Claim{ID: ids[0], Term: w.term, Basis: basis}, raftfsm.Claim{ID: ids[1], Term: w.term, Basis: basis}
			var refused []raftfsm.Refusal
			if together {
				refused = w.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{one, two}}).Refused
			} else {
				if r := w.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{one}}); len(r.Refused) > 0 {
					t.Fatalf("the first claim was refused: %v", r.Refused[0].Err)
				}
				refused = w.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{two}}).Refused
			}
			if len(refused) != 1 || refused[0].ID != two.ID || !errors.Is(refused[0].Err, raftfsm.ErrBasis) {
				t.Fatalf("refused: %+v, want the second claim for its basis", refused)
			}
			w.run(40 * hb) // checkStop holds every stop against I3
			if n := w.liveAt(k, index); n != 1 {
				t.Errorf("%d copies are left, want 1", n)
			}
		})
	}
}

// TestW02CopyThatGoesAtTheLastMomentSavesTheOther takes one copy away between the decision to stop the other and
// the claim.
func TestW02CopyThatGoesAtTheLastMomentSavesTheOther(t *testing.T) {
	w := steady(t, 4, 2, testOptions())
	k, index := w.copies(1)
	w.run(2 * hb)
	var doomed app.GUID
	for cmd := range w.View().AllCommands() {
		doomed = cmd.Instance
	}
	m := &meddler{world: w}
	m.before = func() {
		for _, d := range w.deas {
			for _, i := range d.list {
				if i.App == k && i.Index == index && i.GUID != doomed {
					d.list = slices.DeleteFunc(d.list, func(j actual.Instance) bool { return j.GUID == i.GUID })
					if _, err := w.Propose(t.Context(), raftfsm.DEAChanges{DEA: d.id, Removes: []app.GUID{i.GUID}}); err != nil {
						t.Error(err)
					}
					return
				}
			}
		}
	}
	w.core = NewCore(w.opts, m, w, w.intake, w.endedCommands)
	w.core.Learn(w.now, w.now)
	w.run(20 * hb)
	if m.before != nil {
		t.Fatal("nothing was claimed")
	}
	w.wantSent("the other copy had gone when the claim was applied", 0, 0)
	if n := w.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want the one that was to be stopped", n)
	}
}

// TestW03TheLostHalfReturnsAfterItWasReplaced lets everything be a duplicate at once.
func TestW03TheLostHalfReturnsAfterItWasReplaced(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	lost := 0
	for i := range 6 {
		d := w.deas[fmt.Sprintf("dea-%03d", i)]
		d.quiet = true
		lost += len(d.list)
	}
	w.run(60 * hb) // held, and replaced in the end
	w.wantSent("the hold is over", lost, 0)
	for _, d := range w.deas {
		d.quiet = false
	}
	for range 40 * 10 {
		w.run(hb / 10)
		for _, a := range w.apps {
			for index := range a.Instances {
				if w.liveAt(a.Key, index) == 0 {
					t.Fatalf("%s/%d has no instance left", a.Key.Droplet, index)
				}
			}
		}
	}
	w.wantSent("everything was there twice", lost, lost)
	if d := w.drift(); len(d) > 0 || w.live() != 100 {
		t.Errorf("%d live, want 100; drift %v", w.live(), d)
	}
}

// TestW12TwoDEAsWithOneID lets the lists of two DEAs replace each other with every heartbeat, whatever lies
// between their heartbeats. No command may come of it; a real loss is still repaired.
func TestW12TwoDEAsWithOneID(t *testing.T) {
	for _, apart := range []time.Duration{100 * time.Millisecond, time.Second, hb / 2, hb - time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			w := steady(t, 6, 30, testOptions())
			one, two := w.deas["dea-001"], w.deas["dea-002"]
			two.id, two.beat = one.id, one.beat.Add(apart)
			for range 60 {
				w.run(hb)
				one.beat, two.beat = one.beat+7, two.beat-3 // no two timers are alike
			}
			w.wantSent("both DEAs beat", 0, 0)
			w.wantGate("both DEAs beat")
			two.quiet = true
			w.run(10 * hb)
			w.wantSent("one of the two is lost", len(two.list), 0)
		})
	}
}

// TestW33ScaledDownAndUpAgain wants an index back whose stop is under way: its start waits for what became of the
// stop.
func TestW33ScaledDownAndUpAgain(t *testing.T) {
	w := steady(t, 4, 30, testOptions())
	w.deaf = true
	w.apps[3].Instances = 2
	for range 100 {
		if w.run(hb / 10); len(w.sent) > 0 {
			break
		}
	}
	w.wantSent("scaled down", 0, 2)
	w.apps[3].Instances = 4
	w.intake.Updated(w.apps[3].Key.Droplet)
	w.run(5 * hb)
	w.wantSent("wanted again, and still there", 0, 2)
	for _, c := range w.sent { // the stops have their effect after all
		for _, d := range w.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance })
		}
	}
	w.deaf = false
	gone := w.now
	w.run(20 * hb)
	w.wantSent("the stops had their effect", 2, 2)
	for _, c := range w.sent[2:] {
		if after := c.at.Sub(gone); after < testPolicy.Grace {
			t.Errorf("index %d was started %v after its instance had gone, want the grace", c.Index, after)
		}
	}
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
}

// TestW46LostInstancesCountForNothing: what a lost DEA had is out of the record before it is replaced, and a DEA
// that returns finds itself one of two.
func TestW46LostInstancesCountForNothing(t *testing.T) {
	w := steady(t, 20, 25, testOptions())
	d := w.deas["dea-007"]
	lost := slices.Clone(d.list)
	d.quiet = true
	w.run(4 * hb)
	for _, i := range lost {
		for _, r := range w.View().Instances(nil, i.App) {
			if r.GUID == i.GUID {
				t.Errorf("%s/%d: the lost instance is recorded on %s", i.App.Droplet, i.Index, r.DEA)
			}
		}
	}
	w.run(6 * hb)
	w.wantSent("the lost instances are replaced", len(lost), 0)
	d.quiet = false
	w.run(40 * hb)
	w.wantSent("they return", len(lost), len(lost))
	if n := w.live(); n != 100 {
		t.Errorf("%d live, want 100", n)
	}
}
