package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestR60TheHoldIsThereBeforeTheLoss: the leader stops while it records that most DEAs fell silent.
func TestR60TheHoldIsThereBeforeTheLoss(t *testing.T) {
	for left := range 3 {
		t.Run(fmt.Sprint(left, " records are committed"), func(t *testing.T) {
			cf := steadyFleet(t, 8, 20, testOptions())
			s := stopsIn[raftfsm.DEAsGone](cf, left)
			silence(cf, 6)
			s.stopAndFailOver(t)
			if n := cf.View().Counts().GoneDEAs; n > 0 && !held(cf.View(), HoldMassLoss) {
				t.Errorf("%d DEAs are recorded as gone without the hold", n)
			}
			cf.run(10 * hb)
			cf.wantGate("6 of 8 DEAs silent", "hold:mass-loss")
			cf.wantSent("6 of 8 DEAs silent", 0, 0)
		})
	}
}

// TestW03TheHoldIsThereBeforeTheEmptyLists: the same for DEAs that go on sending heartbeats, with
// empty lists.
func TestW03TheHoldIsThereBeforeTheEmptyLists(t *testing.T) {
	for left := range 8 {
		t.Run(fmt.Sprint(left, " records are committed"), func(t *testing.T) {
			cf := steadyFleet(t, 8, 20, testOptions())
			s := stopsIn[raftfsm.HoldSet](cf, left)
			cf.each(0, 6, omitting(everything), beating(cf.now+1))
			s.stopAndFailOver(t)
			if n := cf.View().Counts().Running; n < 40 && !held(cf.View(), HoldMassLoss) {
				t.Errorf("only %d of 80 instances are recorded, without the hold", n)
			}
			cf.run(10 * hb)
			cf.wantGate("6 of 8 DEAs told an empty list", "hold:mass-loss")
			cf.wantSent("6 of 8 DEAs told an empty list", 0, 0)
		})
	}
}

// TestR60ALeaderJudgesTheLossesThatItInherits: the losses were recorded without a hold, as by a
// leader with another guard.
func TestR60ALeaderJudgesTheLossesThatItInherits(t *testing.T) {
	cf := steadyFleet(t, 8, 20, testOptions())
	var gone raftfsm.DEAsGone
	for i := range 6 {
		gone.DEAs = append(gone.DEAs, fmt.Sprintf("dea-%03d", i))
	}
	silence(cf, 6)
	cf.must(gone)
	cf.failover()
	cf.run(10 * hb)
	cf.wantGate("6 of 8 DEAs were lost", "hold:mass-loss")
	cf.wantSent("6 of 8 DEAs were lost", 0, 0)
}

// TestR60ALossIsJudgedAcrossLeaders: a third is lost under one leader, and another third under the
// next.
func TestR60ALossIsJudgedAcrossLeaders(t *testing.T) {
	for name, lose := range map[string]func(*simDEA){"silent DEAs": quietly, "empty lists": omitting(everything)} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 9, 36, testOptions())
			third := func(from int) {
				cf.each(from, from+3, beating(cf.now+1))
				cf.run(hb / 20)
				cf.each(from, from+3, lose)
			}
			third(0)
			cf.run(hb)
			third(3)
			for cf.View().Counts().Running > 96 { // of 144
				cf.run(hb / 20)
			}
			if n := cf.View().Counts().Running; n < 96 {
				t.Fatalf("%d instances are left, want two thirds", n)
			}
			cf.wantGate("a third is lost")
			cf.failover()
			cf.run(5 * hb)
			cf.wantGate("two thirds are lost", "hold:mass-loss")
			cf.run(5 * hb)
			cf.wantSent("two thirds are lost", 0, 0)
		})
	}
}

// TestR60ADEAThatIsBackLosesUnderTheLeaderBefore: a third is back after a silence, and then sends empty lists under
// one leader, as another third does under the next.
func TestR60ADEAThatIsBackLosesUnderTheLeaderBefore(t *testing.T) {
	cf := steadyFleet(t, 9, 36, testOptions())
	silence(cf, 3)
	for cf.View().Counts().GoneDEAs < 3 {
		cf.run(hb / 20)
	}
	cf.each(0, 3, audibly, beating(cf.now+1))
	cf.run(hb / 20)
	if n := cf.View().Counts().Running; n != 144 {
		t.Fatalf("%d instances run, want all of 144 again", n)
	}
	cf.each(0, 3, omitting(everything), beating(cf.now+1))
	cf.run(hb / 20)
	if n := cf.View().Counts().Running; n != 96 {
		t.Fatalf("%d instances are left, want two thirds", n)
	}
	cf.wantGate("a third is lost")
	cf.failover()
	cf.each(3, 6, omitting(everything), beating(cf.now+1))
	cf.run(5 * hb)
	cf.wantGate("two thirds are lost", "hold:mass-loss")
	cf.run(5 * hb)
	cf.wantSent("two thirds are lost", 0, 0)
}

// TestR60TheDEAsOfAnInheritedLossCount: of four DEAs, which are as many as a mass loss needs, half are
// lost under one leader and one more under the next.
func TestR60TheDEAsOfAnInheritedLossCount(t *testing.T) {
	for name, lose := range map[string]func(*simDEA){"silent DEAs": quietly, "empty lists": omitting(everything)} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 20, testOptions())
			cf.each(0, 3, beating(cf.now+1))
			cf.run(hb / 20)
			cf.each(0, 2, lose)
			cf.run(hb)
			cf.each(2, 3, lose)
			for cf.View().Counts().Running > 40 { // of 80
				cf.run(hb / 20)
			}
			cf.wantGate("half is lost")
			cf.failover()
			cf.run(5 * hb)
			cf.wantGate("three quarters are lost", "hold:mass-loss")
			cf.run(5 * hb)
			cf.wantSent("three quarters are lost", 0, 0)
		})
	}
}

// TestW03DEAsWithEmptyListsHold: DEAs send empty lists. The hold's reason says what was lost.
func TestW03DEAsWithEmptyListsHold(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.each(0, 6, omitting(everything), beating(cf.now+1))
	cf.run(10 * hb)
	cf.wantGate("6 of 10 DEAs tell empty lists", "hold:mass-loss")
	want := "60 of 100 live instances were lost without a successor within one time to live: " +
		"20 apps (app-000, app-001, app-002 and 17 more), on 6 DEAs (dea-000, dea-001, dea-002 and 3 more)"
	if why := cf.View().Holds()[0].Reason; why != want {
		t.Errorf("the reason is %q, want %q", why, want)
	}
	cf.each(0, 6, omitting(0))
	cf.run(2 * hb)
	cf.wantGate("they tell what they have")
	cf.run(10 * hb)
	cf.wantSent("lists were empty for a while", 0, 0)
}

// TestR60WhatIsAMassLoss: instances that are lost without a successor count, not DEAs (W03, W38).
// There are a hundred instances of 25 apps on ten DEAs, and six empty DEAs.
func TestR60WhatIsAMassLoss(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*simCF)
		holds         bool // 10 heartbeats later
		starts, stops int  // within 20 heartbeats
	}{
		{"six DEAs, all empty, are switched off", func(cf *simCF) { cf.each(10, 16, quietly) }, false, 0, 0},
		{"twelve DEAs, of which six are empty, are switched off", func(cf *simCF) { cf.each(4, 16, quietly) }, true, 0, 0},
		{"six of sixteen DEAs, with most of the instances, are switched off", func(cf *simCF) { cf.each(4, 10, quietly) }, true, 0, 0},
		{"five DEAs, with just half of the instances, are switched off", func(cf *simCF) { cf.each(0, 5, quietly) }, false, 50, 0},
		{"six DEAs tell empty lists", func(cf *simCF) { cf.each(0, 6, omitting(everything)) }, true, 0, 0},
		{"ten DEAs tell nearly empty lists", func(cf *simCF) { cf.each(0, 10, omitting(9)) }, true, 0, 0},
		{"four DEAs fall silent, and two tell empty lists within a time to live", func(cf *simCF) {
			cf.each(0, 4, quietly)
			cf.run(2 * hb)
			cf.each(4, 6, omitting(everything))
		}, true, 0, 0},
		{"three DEAs fall silent, and three long after", func(cf *simCF) {
			cf.each(0, 3, quietly)
			cf.run(10 * hb)
			cf.each(3, 6, quietly)
		}, false, 60, 0},
		{"all DEAs restart under new ids, with their instances", func(cf *simCF) { cf.each(0, 10, cf.rename) }, false, 0, 0},
		{"eight DEAs restart under new ids, without their instances", func(cf *simCF) { cf.each(0, 8, emptied, cf.rename) }, true, 0, 0},
		{"everything is started elsewhere, and the old DEAs are switched off", func(cf *simCF) {
			cf.copyAll(0, 10)
			cf.run(2 * hb)
			cf.each(0, 10, quietly)
		}, false, 0, 0},
		{"everything moves to other DEAs at one moment", func(cf *simCF) {
			cf.copyAll(0, 10)
			cf.each(0, 10, emptied)
		}, false, 0, 0},
		{"all apps get a new version, which the Cloud Controller starts itself", func(cf *simCF) {
			for i := range cf.apps {
				old := cf.apps[i].Key
				cf.apps[i].Key = testKey(i, 2)
				cf.startByCC(cf.apps[i], 0)
				cf.stopByCC(old, 0)
			}
		}, false, 0, 0},
		{"most DEAs are evacuated", func(cf *simCF) { cf.each(0, 8, closing, turning(actual.Evacuating)) }, false, 80, 80},
		{"most instances crash", func(cf *simCF) { cf.each(0, 8, turning(actual.Crashed)) }, false, 80, 0},
		{"copies beside others vanish", func(cf *simCF) {
			cf.copyAll(0, 8)
			cf.run(2 * hb)
			cf.each(10, 16, emptied)
		}, false, 0, 0},
		{"almost half of the apps are stopped", func(cf *simCF) {
			for i := range cf.apps[:12] {
				cf.apps[i].State = desired.Stopped
			}
		}, false, 0, 48},
		{"one DEA with most of the instances is lost", func(cf *simCF) {
			one := cf.dea(9)
			cf.each(0, 6, func(d *simDEA) { one.list, d.list = append(one.list, d.list...), nil })
			cf.run(5 * hb)
			one.quiet = true
		}, false, 70, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := testOptions()
			opts.StartLimit = 0
			cf := steadyFleet(t, 10, 25, opts)
			cf.addDEAs(6)
			cf.run(3 * hb)
			c.change(cf)
			cf.run(10 * hb)
			if holds := len(massLosses(cf.View())) > 0; holds != c.holds {
				t.Errorf("held: %v, want %v; %+v", holds, c.holds, cf.View().Holds())
			}
			cf.run(10 * hb)
			cf.wantSent(c.name, c.starts, c.stops)
		})
	}
}

// TestR60MostAppsAreStoppedBeforeTheyAreRead: what is lost may not be desired any more, so the next
// read comes soon.
func TestR60MostAppsAreStoppedBeforeTheyAreRead(t *testing.T) {
	opts := testOptions()
	opts.Guard.DesiredShrink = 0
	cf := steadyFleet(t, 10, 25, opts)
	cf.each(0, 10, beating(cf.now+1))
	cf.readErr = errTest // the Cloud Controller is slow to tell
	for i := range cf.apps[:20] {
		cf.apps[i].State = desired.Stopped
		cf.stopByCC(cf.apps[i].Key, 0)
	}
	cf.run(time.Second)
	cf.wantGate("80 of 100 instances are gone", "hold:mass-loss")
	cf.readErr = nil
	cf.run(2 * hb)
	cf.wantGate("they are not wanted any more")
	cf.run(20 * hb)
	cf.wantSent("most apps were stopped", 0, 0)
}

// TestR60TooFewDEAsForAMassLoss: with fewer than min_deas DEAs that run anything, nothing is held.
func TestR60TooFewDEAsForAMassLoss(t *testing.T) {
	cf := steadyFleet(t, 3, 5, testOptions())
	cf.addDEAs(3) // they run nothing
	cf.run(3 * hb)
	cf.each(0, 3, quietly)
	cf.run(20 * hb)
	cf.wantSent("all DEAs that ran anything are lost", 20, 0)
}

// TestR60DEAsThatReturnAtTheMomentOfTheLoss: they count as DEAs that run something.
func TestR60DEAsThatReturnAtTheMomentOfTheLoss(t *testing.T) {
	cf := steadyFleet(t, 6, 12, testOptions())
	cf.must(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: cf.now}})
	cf.each(3, 6, quietly)
	cf.run(10 * hb)
	cf.wantHolds("half of the instances are lost", HoldPaused)
	cf.each(0, 2, omitting(everything), beating(cf.now+1))
	cf.each(3, 5, audibly, omitting(7), beating(cf.now+1))
	cf.run(time.Second)
	cf.wantHolds("two of three DEAs tell empty lists, and two others return", HoldMassLoss, HoldPaused)
}

// TestR60CopiesBesideOthersMakeNoLossSmaller: neither do instances that cannot be started yet.
func TestR60CopiesBesideOthersMakeNoLossSmaller(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.addDEAs(6)
	cf.desire(15, 4, false)
	for i := range cf.apps[25:] {
		cf.apps[25+i].Package = desired.Pending
	}
	cf.run(7 * hb)
	cf.copyAll(6, 10)
	cf.run(hb)
	if c := cf.View().Counts(); c.Running != 140 || c.DesiredInstances != 160 {
		t.Fatalf("%+v", c)
	}
	cf.each(0, 6, omitting(everything), beating(cf.now+1))
	cf.run(time.Second)
	cf.wantGate("60 of 100 instances are lost, and 40 have copies", "hold:mass-loss")
	if why := cf.View().Holds()[0].Reason; !strings.HasPrefix(why, "60 of 100 live instances were lost") {
		t.Errorf("the reason is %q", why)
	}
}

// TestR60ASecondLoss: a loss during a hold has a hold and an end of its own.
func TestR60ASecondLoss(t *testing.T) {
	second := func(t *testing.T) *simCF {
		cf := steadyFleet(t, 16, 40, testOptions())
		cf.each(0, 9, quietly)
		cf.run(25 * hb)
		cf.wantGate("9 of 16 DEAs are lost", "hold:mass-loss")
		cf.each(9, 14, quietly)
		cf.run(4 * hb)
		cf.wantHolds("5 of the other 7 are lost", HoldMassLoss, "mass-loss-2")
		cf.wantGate("5 of the other 7 are lost", "hold:mass-loss")
		cf.run(8 * hb)
		cf.wantHolds("the first hold has ended", "mass-loss-2")
		cf.wantGate("the first hold has ended", "hold:mass-loss")
		cf.wantSent("the first hold has ended", 0, 0)
		return cf
	}
	t.Run("returns", func(t *testing.T) {
		cf := second(t)
		cf.each(9, 14, audibly)
		cf.run(20 * hb)
		cf.wantGate("the second loss is back")
		cf.wantSent("the second loss is back", 90, 0)
		if d := cf.drift(); len(d) > 0 {
			t.Errorf("drift: %v", d)
		}
	})
	t.Run("is for good", func(t *testing.T) {
		cf := second(t)
		cf.run(12 * hb)
		cf.wantSent("within the second hold", 0, 0)
		cf.run(30 * hb)
		cf.wantGate("after the second hold")
		cf.wantSent("after the second hold", 140, 0)
	})
	t.Run("is released", func(t *testing.T) {
		cf := second(t)
		cf.must(raftfsm.HoldReleased{Name: "mass-loss-2"})
		cf.run(20 * hb)
		cf.wantGate("a person released it")
		cf.wantSent("a person released it", 140, 0)
	})
	t.Run("is released first", func(t *testing.T) {
		cf := steadyFleet(t, 16, 40, testOptions())
		cf.each(0, 9, quietly)
		cf.run(10 * hb)
		cf.each(9, 14, quietly)
		cf.run(5 * hb)
		cf.must(raftfsm.HoldReleased{Name: "mass-loss-2"})
		cf.run(5 * hb)
		cf.wantHolds("the first is still held", HoldMassLoss)
		cf.wantSent("the first is still held", 0, 0)
		cf.must(raftfsm.HoldReleased{Name: HoldMassLoss})
		cf.run(20 * hb)
		cf.wantSent("both are released", 140, 0)
	})
	t.Run("under the next leader", func(t *testing.T) {
		cf := steadyFleet(t, 16, 40, testOptions())
		cf.each(0, 9, quietly)
		cf.run(10 * hb)
		cf.failover()
		cf.run(5 * hb)
		cf.each(9, 14, quietly)
		cf.run(5 * hb)
		cf.wantHolds("two losses", HoldMassLoss, "mass-loss-2")
		cf.failover()
		cf.each(0, 14, audibly)
		cf.run(5 * hb)
		cf.wantGate("all are back")
		cf.wantSent("all are back", 0, 0)
	})
}

// TestR60OneLossIsOneHold: the DEAs of a zone fall silent one after another.
func TestR60OneLossIsOneHold(t *testing.T) {
	cf := steadyFleet(t, 16, 40, testOptions())
	cf.each(0, 15, quietly)
	cf.run(10 * hb)
	cf.wantHolds("15 of 16 DEAs fall silent within one heartbeat period", HoldMassLoss)
	if n := cf.View().Holds()[0].Lost.Len(); n != 150 {
		t.Errorf("the hold names %d of 150 lost instances: %s", n, cf.View().Holds()[0].Reason)
	}
}

// TestR60AHoldLastsWhileTheLostReturn: the DEAs come back one after another, the last one never.
func TestR60AHoldLastsWhileTheLostReturn(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.each(0, 6, quietly)
	cf.run(8 * hb)
	for i := range 5 {
		cf.wantGate("some are still away", "hold:mass-loss")
		cf.dea(i).quiet = false
		cf.run(2 * hb)
	}
	cf.wantGate("the fifth of six has just come back", "hold:mass-loss")
	cf.run(20 * hb)
	cf.wantGate("nobody has come back for a time to live")
	cf.wantSent("one of six is lost for good", 10, 0)
}

// TestR60AHoldThatGetsMoreIsNotReleasedAtOnce: what a hold names comes back in the moment in which more is added to it.
// The moment is one in a heartbeat period, so the test tries many.
func TestR60AHoldThatGetsMoreIsNotReleasedAtOnce(t *testing.T) {
	added := 0
	for n := range 20 {
		cf := steadyFleet(t, 8, 20, testOptions())
		cf.each(0, 6, omitting(everything), beating(cf.now+1))
		cf.run(hb / 20)
		cf.wantGate("6 of 8 DEAs told an empty list", "hold:mass-loss")
		cf.run(time.Duration(n) * hb / 20)
		cf.each(0, 6, omitting(0), beating(cf.now+1))
		cf.each(6, 8, omitting(everything), beating(cf.now+2))
		named := 0
		for range 20 {
			cf.run(hb / 20)
			for _, h := range massLosses(cf.View()) {
				named = max(named, h.Lost.Len())
			}
		}
		if named < 80 {
			continue // it was released before
		}
		added++
		cf.wantGate("2 of 8 DEAs told an empty list", "hold:mass-loss")
	}
	if added == 0 {
		t.Error("nothing was added to the hold in any run")
	}
}

// TestR60AHoldLastsWhileTheLostComeAndGo: each time the DEAs come back, a whole time to live begins
// anew.
func TestR60AHoldLastsWhileTheLostComeAndGo(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.each(0, 6, quietly)
	cf.run(8 * hb)
	for range 2 {
		cf.each(0, 4, audibly)
		cf.run(hb)
		cf.wantGate("most have just come back", "hold:mass-loss")
		cf.each(0, 4, quietly)
		cf.run(5 * hb)
		cf.wantGate("they are away again", "hold:mass-loss")
	}
	cf.each(0, 4, audibly)
	cf.run(10 * hb)
	cf.wantGate("most have come back to stay")
	cf.wantSent("two of six are lost for good", 20, 0)
}

func TestGateNamesTheLossesOnce(t *testing.T) {
	in := GateInput{Lead: Lead{Leader: true, Known: true}, NATSUp: true, ActualFresh: true, DesiredFresh: true, Holds: []raftfsm.Hold{
		{Name: HoldFirstPicture}, {Name: HoldMassLoss}, {Name: "mass-loss-2"}, {Name: "mass-loss-11"}, {Name: "mass-lossy"}, {Name: HoldPaused},
	}}
	if got, want := Gate(in, 1), []string{"hold:first-picture", "hold:mass-loss", "hold:mass-lossy", "paused"}; !slices.Equal(got, want) {
		t.Errorf("the gate's reasons are %v, want %v", got, want)
	}
	for name, is := range map[string]bool{
		"mass-loss": true, "mass-loss-2": true, "mass-loss-12": true,
		"": false, "mass-loss-": false, "mass-loss-1": false, "mass-loss-02": false, "mass-loss-+2": false, "mass-loss--2": false, "mass-loss2": false, "mass-loss-two": false,
	} {
		if isMassLoss(name) != is {
			t.Errorf("%q is the name of a hold on a loss: %v", name, !is)
		}
	}
}

// silence silences the first n DEAs at one time.
func silence(cf *simCF, n int) {
	cf.each(0, n, beating(cf.now+1))
	cf.run(hb / 20)
	cf.each(0, n, quietly)
}

// each does something to a range of DEAs.
func (cf *simCF) each(from, to int, do ...func(*simDEA)) {
	for n := from; n < to; n++ {
		for _, do := range do {
			do(cf.dea(n))
		}
	}
}

func (cf *simCF) dea(n int) *simDEA { return cf.deas[fmt.Sprintf("dea-%03d", n)] }

// everything is more than any DEA has.
const everything = 1 << 20

func quietly(d *simDEA) { d.quiet = true }

func audibly(d *simDEA) { d.quiet = false }

func closing(d *simDEA) { d.closed = true }

func emptied(d *simDEA) { d.list = nil }

func omitting(n int) func(*simDEA) { return func(d *simDEA) { d.omits = n } }

func beating(at app.Time) func(*simDEA) { return func(d *simDEA) { d.nextBeat = at } }

func turning(s actual.State) func(*simDEA) {
	return func(d *simDEA) {
		for i := range d.list {
			d.list[i].State = s
		}
	}
}

// rename restarts a DEA under another id.
func (cf *simCF) rename(d *simDEA) {
	delete(cf.deas, d.id)
	d.id = "new-" + d.id
	cf.deas[d.id] = d
}

// copyAll puts a second copy of what a range of DEAs has on the six empty DEAs.
func (cf *simCF) copyAll(from, to int) {
	n := 0
	cf.each(from, to, func(d *simDEA) {
		for _, i := range d.list {
			on := cf.dea(10 + n%6)
			on.list = append(on.list, cf.instance(i.App, i.Index, actual.Running))
			n++
		}
	})
}

// wantHolds requires that exactly these holds are set.
func (cf *simCF) wantHolds(what string, names ...string) {
	cf.t.Helper()
	var got []string
	for _, h := range cf.View().Holds() {
		got = append(got, h.Name)
	}
	if !slices.Equal(got, names) {
		cf.t.Fatalf("%s: the holds are %v, want %v", what, cf.View().Holds(), names)
	}
}
