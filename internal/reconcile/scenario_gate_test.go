package reconcile

import (
	"fmt"
	"testing"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

func TestR60MassLossHolds(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	for i := range 6 {
		cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
	}
	cf.run(8 * hb)
	cf.wantGate("6 of 10 DEAs silent", "hold:mass-loss")
	cf.wantSent("6 of 10 DEAs silent (W03)", 0, 0)
	t.Run("they return", func(t *testing.T) {
		for i := range 6 {
			cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = false
		}
		cf.run(20 * hb)
		cf.wantGate("they are back")
		cf.wantSent("they are back", 0, 0)
	})
	t.Run("they do not return", func(t *testing.T) {
		for i := range 6 {
			cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
		}
		cf.run(30 * hb)
		cf.wantSent("within mass_loss_hold", 0, 0)
		cf.run(30 * hb)
		cf.wantGate("after mass_loss_hold")
		if d := cf.drift(); len(d) > 0 || cf.live() != 100 {
			t.Errorf("%d live, want 100; drift %v", cf.live(), d)
		}
	})
}

func TestR44EverybodySilentIsNoAbsence(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	index := cf.index
	for _, d := range cf.deas {
		d.quiet = true
	}
	cf.run(50 * hb)
	cf.wantGate("nobody speaks", ReasonActualStale)
	if cf.index != index {
		t.Error("silence of everyone was recorded as a loss")
	}
	for _, d := range cf.deas {
		d.quiet = false
	}
	cf.run(10 * hb)
	cf.wantSent("everybody was silent for a while", 0, 0)
	cf.wantGate("everybody speaks again")
}

func TestGateClosesWhenItIsDue(t *testing.T) {
	t.Run("nobody speaks any more", func(t *testing.T) {
		cf := steadyFleet(t, 10, 25, testOptions())
		cf.run(time.Second)
		var due app.Time
		for _, d := range cf.deas {
			d.quiet = true
			due = max(due, d.nextBeat.Add(2*hb)) // it spoke last a period before its next turn
		}
		closesAt(t, cf, due, ReasonActualStale)
	})
	t.Run("reads fail", func(t *testing.T) {
		opts := testOptions()
		opts.DesiredTTL += 1234 * time.Millisecond
		cf := steadyFleet(t, 10, 25, opts)
		cf.readErr = errTest
		closesAt(t, cf, cf.core.reads.began.Add(cf.opts.DesiredTTL), ReasonDesiredStale)
	})
}

// closesAt requires that the gate is open until just before due, and closed at due.
func closesAt(t *testing.T, cf *simCF, due app.Time, reason string) {
	t.Helper()
	cf.run(due.Sub(cf.now) - time.Millisecond)
	cf.wantGate("not due yet")
	cf.run(time.Millisecond)
	cf.wantGate("due", reason)
}

func TestR58ShrunkenReadHolds(t *testing.T) {
	for _, c := range []struct {
		name string
		keep int
		hold bool
	}{{"empty (W04, R58)", 0, true}, {"a third is left", 10, true}, {"four fifths are left", 24, false}} {
		t.Run(c.name, func(t *testing.T) {
			opts := testOptions()
			opts.StopLimit = 20
			cf := steadyFleet(t, 10, 30, opts)
			all := cf.apps
			cf.apps = all[:c.keep]
			cf.run(10 * hb)
			if !c.hold {
				cf.wantSent("a small loss is acted on", 0, 4*(30-c.keep))
				return
			}
			cf.wantGate("after a shrunken read", "hold:desired-shrink")
			cf.wantSent("a shrunken read", 0, 0)
			cf.apps = all
			cf.run(10 * hb)
			cf.wantGate("the apps are back")
			cf.wantSent("the apps are back", 0, 0)
			cf.apps = all[:c.keep]
			cf.run(80 * hb)
			cf.wantGate("after confirm_reads reads that agree")
			cf.wantSent("after confirm_reads reads that agree", 0, 4*(30-c.keep))
		})
	}
}

func TestW04NothingDesiredAtFirstHolds(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(4)
	cf.desire(5, 4, true)
	cf.apps = nil
	cf.run(20 * hb)
	cf.wantSent("an empty first read while instances run", 0, 0)
	cf.wantGate("an empty first read while instances run", "hold:desired-shrink")
}

func TestW04WrongDatabaseAtFirstHolds(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(4)
	cf.desire(20, 4, true)
	mine := cf.apps
	cf.apps = mine[:5]
	cf.run(20 * hb)
	cf.wantGate("a first read that wants a quarter of what runs", "hold:desired-shrink")
	if _, err := cf.Propose(t.Context(), raftfsm.HoldReleased{Name: HoldDesiredShrink}); err != nil {
		t.Fatal(err)
	}
	cf.run(5 * hb)
	cf.wantSent("a person releases the hold", 0, 60)
}

// A guard whose hold cannot be recorded must not be passed by: the next step checks again before it acts.
func TestW04AHoldThatCannotBeRecordedAtFirstIsSetLater(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(4)
	cf.desire(20, 4, true)
	cf.apps = cf.apps[:5]
	cf.run(3*hb - time.Second)
	cf.wantGate("before the first picture is fresh", ReasonActualStale)
	cf.fail = errTest
	cf.run(2 * time.Second)
	cf.wantGate("the hold cannot be recorded", ReasonActualStale)
	cf.fail = nil
	cf.run(20 * hb)
	cf.wantGate("the hold can be recorded", "hold:desired-shrink")
	cf.wantSent("a first read that wants a quarter of what runs", 0, 0)
}

func TestShadowDecidesAndSendsNothing(t *testing.T) {
	opts := testOptions()
	opts.Policy.Shadow = true
	cf := newSimCF(t, opts)
	cf.addDEAs(4)
	cf.desire(5, 4, true)
	cf.run(5 * hb)
	cf.deas["dea-001"].list = nil
	cf.run(10 * hb)
	cf.wantGate("shadow", ReasonShadow)
	cf.wantSent("shadow", 0, 0)
	// What is due at once must not be decided over and over.
	cf.apps[0].State = desired.Stopped
	cf.run(10 * hb)
	index := cf.index
	cf.run(30 * hb)
	cf.wantSent("shadow", 0, 0)
	if wrote := cf.index - index; wrote > 150 {
		t.Errorf("%d entries in 30 heartbeats: shadow mode spins", wrote)
	}
}

func TestPausedHoldsAndResumes(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	set := func(r raftfsm.Record) {
		if _, err := cf.Propose(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		cf.wake = true
	}
	set(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: cf.now, Until: cf.now.Add(20 * hb)}})
	cf.deas["dea-001"].list = nil
	cf.run(15 * hb)
	cf.wantGate("paused", ReasonPaused)
	cf.wantSent("paused", 0, 0)
	cf.run(20 * hb)
	cf.wantGate("the pause is over")
	if len(cf.sent) == 0 {
		t.Error("nothing was sent after the pause")
	}
}

func TestW04ReadsThatKeepTheAppsAndTakeTheirInstancesHold(t *testing.T) {
	for name, change := range map[string]func(*desired.App){
		"no instances":  func(a *desired.App) { a.Instances = 0 },
		"other version": func(a *desired.App) { a.Key.Version = app.MustGUID("other") },
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 10, 30, testOptions())
			for i := range cf.apps[:20] {
				change(&cf.apps[i])
			}
			cf.run(20 * hb)
			cf.wantGate(name, "hold:desired-shrink")
			cf.wantSent(name, 0, 0)
			cf.run(60 * hb)
			cf.wantGate("after confirm_reads reads that agree")
		})
	}
}
