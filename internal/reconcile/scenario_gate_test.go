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
	w := steady(t, 10, 25, testOptions())
	for i := range 6 {
		w.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
	}
	w.run(8 * hb)
	w.wantGate("6 of 10 DEAs silent", "hold:mass-loss")
	w.wantSent("6 of 10 DEAs silent (W03)", 0, 0)
	t.Run("they return", func(t *testing.T) {
		for i := range 6 {
			w.deas[fmt.Sprintf("dea-%03d", i)].quiet = false
		}
		w.run(20 * hb)
		w.wantGate("they are back")
		w.wantSent("they are back", 0, 0)
	})
	t.Run("they do not return", func(t *testing.T) {
		for i := range 6 {
			w.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
		}
		w.run(30 * hb)
		w.wantSent("within mass_loss_hold", 0, 0)
		w.run(30 * hb)
		w.wantGate("after mass_loss_hold")
		if d := w.drift(); len(d) > 0 || w.live() != 100 {
			t.Errorf("%d live, want 100; drift %v", w.live(), d)
		}
	})
}

func TestR44EverybodySilentIsNoAbsence(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	index := w.index
	for _, d := range w.deas {
		d.quiet = true
	}
	w.run(50 * hb)
	w.wantGate("nobody speaks", ReasonActualStale)
	if w.index != index {
		t.Error("silence of everyone was recorded as a loss")
	}
	for _, d := range w.deas {
		d.quiet = false
	}
	w.run(10 * hb)
	w.wantSent("everybody was silent for a while", 0, 0)
	w.wantGate("everybody speaks again")
}

func TestGateClosesWhenItIsDue(t *testing.T) {
	t.Run("nobody speaks any more", func(t *testing.T) {
		w := steady(t, 10, 25, testOptions())
		w.run(time.Second)
		var due app.Time
		for _, d := range w.deas {
			d.quiet = true
			due = max(due, d.beat.Add(2*hb)) // it spoke last a period before its next turn
		}
		closesAt(t, w, due, ReasonActualStale)
	})
	t.Run("reads fail", func(t *testing.T) {
		opts := testOptions()
		opts.DesiredTTL += 1234 * time.Millisecond
		w := steady(t, 10, 25, opts)
		w.readErr = errTest
		closesAt(t, w, w.core.reads.began.Add(w.opts.DesiredTTL), ReasonDesiredStale)
	})
}

func closesAt(t *testing.T, w *world, due app.Time, reason string) {
	t.Helper()
	w.run(due.Sub(w.now) - time.Millisecond)
	w.wantGate("not due yet")
	w.run(time.Millisecond)
	w.wantGate("due", reason)
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
			w := steady(t, 10, 30, opts)
			all := w.apps
			w.apps = all[:c.keep]
			w.run(10 * hb)
			if !c.hold {
				w.wantSent("a small loss is acted on", 0, 4*(30-c.keep))
				return
			}
			w.wantGate("after a shrunken read", "hold:desired-shrink")
			w.wantSent("a shrunken read", 0, 0)
			w.apps = all
			w.run(10 * hb)
			w.wantGate("the apps are back")
			w.wantSent("the apps are back", 0, 0)
			w.apps = all[:c.keep]
			w.run(80 * hb)
			w.wantGate("after confirm_reads reads that agree")
			w.wantSent("after confirm_reads reads that agree", 0, 4*(30-c.keep))
		})
	}
}

func TestW04NothingDesiredAtFirstHolds(t *testing.T) {
	w := newWorld(t, testOptions())
	w.addDEAs(4)
	w.desire(5, 4, true)
	w.apps = nil
	w.run(20 * hb)
	w.wantSent("an empty first read while instances run", 0, 0)
	w.wantGate("an empty first read while instances run", "hold:desired-shrink")
}

func TestW04WrongDatabaseAtFirstHolds(t *testing.T) {
	w := newWorld(t, testOptions())
	w.addDEAs(4)
	w.desire(20, 4, true)
	mine := w.apps
	w.apps = mine[:5]
	w.run(20 * hb)
	w.wantGate("a first read that wants a quarter of what runs", "hold:desired-shrink")
	if _, err := w.Propose(t.Context(), raftfsm.HoldReleased{Name: HoldDesiredShrink}); err != nil {
		t.Fatal(err)
	}
	w.run(5 * hb)
	w.wantSent("a person releases the hold", 0, 60)
}

func TestShadowDecidesAndSendsNothing(t *testing.T) {
	opts := testOptions()
	opts.Shadow = true
	w := newWorld(t, opts)
	w.addDEAs(4)
	w.desire(5, 4, true)
	w.run(5 * hb)
	w.deas["dea-001"].list = nil
	w.run(10 * hb)
	w.wantGate("shadow", ReasonShadow)
	w.wantSent("shadow", 0, 0)
	// What is due at once must not be decided over and over.
	w.apps[0].State = desired.Stopped
	w.run(10 * hb)
	index := w.index
	w.run(30 * hb)
	w.wantSent("shadow", 0, 0)
	if wrote := w.index - index; wrote > 150 {
		t.Errorf("%d entries in 30 heartbeats: shadow mode spins", wrote)
	}
}

func TestPausedHoldsAndResumes(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	set := func(r raftfsm.Record) {
		if _, err := w.Propose(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.wake = true
	}
	set(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: w.now, Until: w.now.Add(20 * hb)}})
	w.deas["dea-001"].list = nil
	w.run(15 * hb)
	w.wantGate("paused", ReasonPaused)
	w.wantSent("paused", 0, 0)
	w.run(20 * hb)
	w.wantGate("the pause is over")
	if len(w.sent) == 0 {
		t.Error("nothing was sent after the pause")
	}
}

func TestW04ReadsThatKeepTheAppsAndTakeTheirInstancesHold(t *testing.T) {
	for name, change := range map[string]func(*desired.App){
		"no instances":  func(a *desired.App) { a.Instances = 0 },
		"other version": func(a *desired.App) { a.Key.Version = app.MustGUID("other") },
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 10, 30, testOptions())
			for i := range w.apps[:20] {
				change(&w.apps[i])
			}
			w.run(20 * hb)
			w.wantGate(name, "hold:desired-shrink")
			w.wantSent(name, 0, 0)
			w.run(60 * hb)
			w.wantGate("after confirm_reads reads that agree")
		})
	}
}
