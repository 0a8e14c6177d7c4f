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

// The tests in the files weakness_*_test.go show, at the level of the whole core, that hm clears
// the weaknesses of docs/weaknesses.md.

// must proposes records, as somebody else would.
func (cf *simCF) must(records ...raftfsm.Record) raftfsm.Result {
	cf.t.Helper()
	results, err := cf.Propose(cf.t.Context(), records...)
	if err != nil {
		cf.t.Fatal(err)
	}
	cf.wake = true
	return results[0]
}

// pause holds everything for d.
func (cf *simCF) pause(d time.Duration) {
	cf.t.Helper()
	cf.must(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, By: "a test", SetAt: cf.now, Until: cf.now.Add(d)}})
}

// copies adds n live instances beside what runs at index 1 of the first app, each on a DEA of its
// own.
func (cf *simCF) copies(n int) (k app.Key, index uint32) {
	k, index = cf.apps[0].Key, 1
	for i := range n {
		d := cf.deas[fmt.Sprintf("dea-%03d", i)]
		d.list = append(d.list, cf.instance(k, index, actual.Running))
	}
	return k, index
}

// liveAt counts the live instances that the DEAs really have at an index.
func (cf *simCF) liveAt(k app.Key, index uint32) int {
	n := 0
	for _, d := range cf.deas {
		for _, i := range d.list {
			if i.App == k && i.Index == index && i.State.Live() && !d.quiet {
				n++
			}
		}
	}
	return n
}

// interferer is a simulation whose record changes just before a claim is applied.
type interferer struct {
	*simCF
	before func()
}

func (m *interferer) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if _, claim := records[0].(raftfsm.CommandsClaimed); claim && m.before != nil {
		m.before()
		m.before = nil
	}
	return m.simCF.Propose(ctx, records...)
}

func TestW02StopsDueTogetherGoOneByOne(t *testing.T) {
	cf := steadyFleet(t, 4, 2, testOptions())
	k, index := cf.copies(3)
	cf.run(2 * hb) // the stops of three copies are scheduled
	cf.pause(30 * hb)
	cf.run(30*hb - time.Second)
	cf.wantGate("while paused", ReasonPaused)
	cf.wantSent("while paused", 0, 0)
	if c := cf.View().Counts(); c.PendingStops != 3 {
		t.Fatalf("%d stops are pending, want 3", c.PendingStops)
	}
	for cmd := range cf.View().AllCommands() {
		if cmd.DueAt > cf.now {
			t.Fatalf("the stop of %s is not due yet", cmd.Instance)
		}
	}
	cf.nobodyObeys = true // what is sent has no effect for now
	cf.run(3 * hb)
	cf.wantSent("three stops were due when the gate opened", 0, 1)
	if n := cf.liveAt(k, index); n != 4 {
		t.Fatalf("%d copies, want 4", n)
	}
	cf.nobodyObeys = false
	for sent := len(cf.sent); cf.liveAt(k, index) > 1; sent = len(cf.sent) {
		before := cf.liveAt(k, index)
		cf.run(time.Second)
		if gone := before - cf.liveAt(k, index); gone > 1 || len(cf.sent) > sent+1 {
			t.Fatalf("%d copies went within a second, %d stops were sent", gone, len(cf.sent)-sent)
		}
		if cf.now.Sub(cf.sent[0].at) > 60*hb {
			t.Fatal("the duplicates are not gone")
		}
	}
	cf.run(30 * hb)
	if n := cf.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want 1", n)
	}
}

// TestW02SecondClaimIsRefused: the stops of both copies are scheduled and claimed, as by two
// leaders that each believe the other copy stays. The record refuses the second claim.
func TestW02SecondClaimIsRefused(t *testing.T) {
	for _, together := range []bool{true, false} {
		t.Run(fmt.Sprint("in one entry: ", together), func(t *testing.T) {
			cf := steadyFleet(t, 4, 2, testOptions())
			k, index := cf.copies(1)
			cf.run(2 * hb)
			cf.pause(2 * hb)
			var scheduled raftfsm.CommandsScheduled
			var ids []commands.ID
			for cmd := range cf.View().AllCommands() { // hm's own, for one of the two
				cf.must(raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: cmd.ID, State: commands.Dropped}}})
			}
			for _, i := range cf.View().Instances(nil, k) {
				if i.Index == index {
					c := commands.Command{Action: commands.Stop, App: k, Index: index, Instance: i.GUID, Reason: commands.ReasonDuplicate, DueAt: cf.now, State: commands.Pending}
					c.ID = commands.NewID(c)
					scheduled.Commands, ids = append(scheduled.Commands, c), append(ids, c.ID)
				}
			}
			if len(ids) != 2 {
				t.Fatalf("%d copies are recorded, want 2", len(ids))
			}
			cf.must(scheduled)
			cf.must(raftfsm.HoldReleased{Name: HoldPaused})
			basis := cf.View().Basis(k, index)
			one, two := raftfsm.Claim{ID: ids[0], Term: cf.term, Basis: basis}, raftfsm.Claim{ID: ids[1], Term: cf.term, Basis: basis}
			var refused []raftfsm.Refusal
			if together {
				refused = cf.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{one, two}}).Refused
			} else {
				if r := cf.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{one}}); len(r.Refused) > 0 {
					t.Fatalf("the first claim was refused: %v", r.Refused[0].Err)
				}
				refused = cf.must(raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{two}}).Refused
			}
			if len(refused) != 1 || refused[0].ID != two.ID || !errors.Is(refused[0].Err, raftfsm.ErrBasis) {
				t.Fatalf("refused: %+v, want the second claim for its basis", refused)
			}
			cf.run(40 * hb) // checkStop holds every stop against I3
			if n := cf.liveAt(k, index); n != 1 {
				t.Errorf("%d copies are left, want 1", n)
			}
		})
	}
}

// TestW02CopyThatGoesAtTheLastMomentSavesTheOther: one copy goes between the decision to stop the
// other and the claim.
func TestW02CopyThatGoesAtTheLastMomentSavesTheOther(t *testing.T) {
	cf := steadyFleet(t, 4, 2, testOptions())
	k, index := cf.copies(1)
	cf.run(2 * hb)
	var doomed app.GUID
	for cmd := range cf.View().AllCommands() {
		doomed = cmd.Instance
	}
	m := &interferer{simCF: cf}
	m.before = func() {
		for _, d := range cf.deas {
			for _, i := range d.list {
				if i.App == k && i.Index == index && i.GUID != doomed {
					d.list = slices.DeleteFunc(d.list, func(j actual.Instance) bool { return j.GUID == i.GUID })
					if _, err := cf.Propose(t.Context(), raftfsm.DEAChanges{DEA: d.id, Removes: []app.GUID{i.GUID}}); err != nil {
						t.Error(err)
					}
					return
				}
			}
		}
	}
	cf.core = NewCore(cf.opts, m, cf, cf.intake, cf.endedCommands)
	cf.core.Learn(cf.now, cf.now)
	cf.run(20 * hb)
	if m.before != nil {
		t.Fatal("nothing was claimed")
	}
	cf.wantSent("the other copy had gone when the claim was applied", 0, 0)
	if n := cf.liveAt(k, index); n != 1 {
		t.Errorf("%d copies are left, want the one that was to be stopped", n)
	}
}

// TestW03TheLostHalfReturnsAfterItWasReplaced: most instances are duplicates at once.
func TestW03TheLostHalfReturnsAfterItWasReplaced(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	lost := 0
	for i := range 6 {
		d := cf.deas[fmt.Sprintf("dea-%03d", i)]
		d.quiet = true
		lost += len(d.list)
	}
	cf.run(60 * hb) // held, and replaced in the end
	cf.wantSent("the hold is over", lost, 0)
	for _, d := range cf.deas {
		d.quiet = false
	}
	for range 40 * 10 {
		cf.run(hb / 10)
		for _, a := range cf.apps {
			for index := range a.Instances {
				if cf.liveAt(a.Key, index) == 0 {
					t.Fatalf("%s/%d has no instance left", a.Key.Droplet, index)
				}
			}
		}
	}
	cf.wantSent("everything was there twice", lost, lost)
	if d := cf.drift(); len(d) > 0 || cf.live() != 100 {
		t.Errorf("%d live, want 100; drift %v", cf.live(), d)
	}
}

// TestW12TwoDEAsWithOneID: the lists of two DEAs replace each other with every heartbeat. No
// command follows; a real loss is still repaired.
func TestW12TwoDEAsWithOneID(t *testing.T) {
	for _, apart := range []time.Duration{100 * time.Millisecond, time.Second, hb / 2, hb - time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			cf := steadyFleet(t, 6, 30, testOptions())
			one, two := cf.deas["dea-001"], cf.deas["dea-002"]
			two.id, two.nextBeat = one.id, one.nextBeat.Add(apart)
			for range 60 {
				cf.run(hb)
				one.nextBeat, two.nextBeat = one.nextBeat+7, two.nextBeat-3 // no two timers are alike
			}
			cf.wantSent("both DEAs beat", 0, 0)
			cf.wantGate("both DEAs beat")
			two.quiet = true
			cf.run(10 * hb)
			cf.wantSent("one of the two is lost", len(two.list), 0)
		})
	}
}

// TestW33ScaledDownAndUpAgain: an index is wanted again while its stop is under way. Its start
// waits for the outcome of the stop.
func TestW33ScaledDownAndUpAgain(t *testing.T) {
	cf := steadyFleet(t, 4, 30, testOptions())
	cf.nobodyObeys = true
	cf.apps[3].Instances = 2
	for range 100 {
		if cf.run(hb / 10); len(cf.sent) > 0 {
			break
		}
	}
	cf.wantSent("scaled down", 0, 2)
	cf.apps[3].Instances = 4
	cf.intake.Updated(cf.apps[3].Key.Droplet)
	cf.run(5 * hb)
	cf.wantSent("wanted again, and still there", 0, 2)
	for _, c := range cf.sent { // the stops have their effect after all
		for _, d := range cf.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == c.Instance })
		}
	}
	cf.nobodyObeys = false
	gone := cf.now
	cf.run(20 * hb)
	cf.wantSent("the stops had their effect", 2, 2)
	for _, c := range cf.sent[2:] {
		if after := c.at.Sub(gone); after < testPolicy.Grace {
			t.Errorf("index %d was started %v after its instance had gone, want the grace", c.Index, after)
		}
	}
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
}

// TestW46LostInstancesCountForNothing: the instances of a lost DEA leave the record before they are
// replaced. When the DEA returns, its instances are duplicates.
func TestW46LostInstancesCountForNothing(t *testing.T) {
	cf := steadyFleet(t, 20, 25, testOptions())
	d := cf.deas["dea-007"]
	lost := slices.Clone(d.list)
	d.quiet = true
	cf.run(4 * hb)
	for _, i := range lost {
		for _, r := range cf.View().Instances(nil, i.App) {
			if r.GUID == i.GUID {
				t.Errorf("%s/%d: the lost instance is recorded on %s", i.App.Droplet, i.Index, r.DEA)
			}
		}
	}
	cf.run(6 * hb)
	cf.wantSent("the lost instances are replaced", len(lost), 0)
	d.quiet = false
	cf.run(40 * hb)
	cf.wantSent("they return", len(lost), len(lost))
	if n := cf.live(); n != 100 {
		t.Errorf("%d live, want 100", n)
	}
}
