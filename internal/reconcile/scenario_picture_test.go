package reconcile

import (
	"testing"

	"hm/actual"
	"hm/raftfsm"
)

// newcomer is a world of twelve DEAs with a hundred instances, of which a node without a record hears the first few.
func newcomer(t *testing.T, heard int) *world {
	w := newWorld(t, testOptions())
	w.addDEAs(12)
	w.desire(25, 4, true)
	w.each(heard, 12, quietly)
	return w
}

// TestR60TheFirstPicture: a node without a record hears a third of the DEAs.
func TestR60TheFirstPicture(t *testing.T) {
	holds := func(t *testing.T) *world {
		w := newcomer(t, 4)
		w.run(10 * hb)
		w.wantGate("a third is heard", "hold:first-picture")
		w.wantSent("a third is heard", 0, 0)
		return w
	}
	t.Run("the others come late", func(t *testing.T) {
		w := holds(t)
		want := "64 of 100 desired instances were not heard of in a whole freshness window, and are not recorded as lost: " +
			"16 apps (app-001, app-002, app-004 and 13 more); 4 DEAs are heard"
		if why := w.View().Holds()[0].Reason; why != want {
			t.Errorf("the reason is %q, want %q", why, want)
		}
		w.each(4, 12, loudly)
		w.run(2 * hb)
		w.wantGate("all are heard")
		w.run(20 * hb)
		w.wantSent("all are heard", 0, 0)
	})
	t.Run("some of the others come late", func(t *testing.T) {
		w := holds(t)
		w.each(4, 11, loudly)
		w.run(2 * hb)
		w.wantGate("more may come", "hold:first-picture")
		w.run(3 * hb)
		w.wantGate("nobody has come for a time to live")
		w.run(5 * hb)
		w.wantSent("one DEA is missing", 8, 0)
	})
	t.Run("the others never come", func(t *testing.T) {
		w := holds(t)
		w.run(20 * hb)
		w.wantSent("within mass_loss_hold", 0, 0)
		w.run(30 * hb)
		w.wantGate("after mass_loss_hold")
		w.wantSent("after mass_loss_hold", 64, 0)
	})
	t.Run("a person releases it", func(t *testing.T) {
		w := holds(t)
		w.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		w.run(10 * hb)
		w.wantGate("a person released it")
		w.wantSent("a person released it", 64, 0)
	})
	t.Run("a person releases it while NATS is away", func(t *testing.T) {
		w := holds(t)
		w.setLink(false)
		w.run(5 * hb)
		w.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		w.run(5 * hb)
		w.setLink(true)
		w.run(15 * hb)
		w.wantGate("a person released it")
		w.wantSent("a person released it", 64, 0)
	})
	t.Run("another leader", func(t *testing.T) {
		w := holds(t)
		until := w.View().Holds()[0].Until
		w.failover()
		w.run(2 * hb)
		w.restart()
		w.run(5 * hb)
		w.wantGate("another leader", "hold:first-picture")
		if now := w.View().Holds()[0].Until; now != until {
			t.Errorf("the hold ends at %v, and did at %v before", now, until)
		}
		w.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		w.run(10 * hb)
		w.wantGate("a person released it")
		w.wantSent("a person released it", 64, 0)
	})
	t.Run("another leader while the rest is started", func(t *testing.T) {
		w := holds(t)
		w.opts.StartLimit, w.core.opts.StartLimit = 1, 1
		w.failover()
		w.run(hb)
		w.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		w.run(10 * hb)
		w.failover()
		w.run(2 * hb)
		w.wantGate("another leader goes on")
		w.restart()
		w.run(5 * hb)
		w.wantGate("another node goes on")
	})
}

func TestR60WhatIsNoFirstPicture(t *testing.T) {
	t.Run("two thirds are heard", func(t *testing.T) {
		w := newcomer(t, 8)
		w.run(10 * hb)
		w.wantGate("two thirds are heard")
		w.wantSent("two thirds are heard", 32, 0)
	})
	t.Run("most has crashed", func(t *testing.T) {
		w := newcomer(t, 12)
		w.each(0, 8, turning(actual.Crashed))
		w.run(10 * hb)
		w.wantGate("most has crashed")
		w.wantSent("most has crashed", 68, 0)
	})
	t.Run("a small fleet", func(t *testing.T) {
		w := newWorld(t, testOptions())
		w.addDEAs(5)
		w.desire(1, 3, false)
		w.run(10 * hb)
		w.wantSent("less than min_deas instances are desired", 3, 0)
	})
	t.Run("what was lost when NATS went away", func(t *testing.T) {
		w := steady(t, 10, 25, testOptions())
		w.each(0, 6, hiding(everything), closing)
		w.run(10 * hb)
		w.wantHolds("a loss", HoldMassLoss)
		w.spell(true)
		w.run(10 * hb)
		w.wantHolds("a loss that is known", HoldMassLoss)
		w.run(25 * hb)
		w.wantGate("after mass_loss_hold")
		w.run(5 * hb)
		w.wantSent("after mass_loss_hold", 60, 0)
	})
	t.Run("what hm is about to start", func(t *testing.T) {
		opts := testOptions()
		opts.StartLimit = 1
		w := steady(t, 10, 25, opts)
		w.each(0, 6, quietly)
		w.run(45 * hb)
		w.wantGate("after mass_loss_hold")
		for range 3 {
			w.spell(true)
			w.run(5 * hb)
			w.wantGate("NATS was away")
			w.restart()
			w.run(5 * hb)
			w.wantGate("another node leads")
		}
	})
}

// TestR60SilenceEnds: nobody is heard for long, and then a third.
func TestR60SilenceEnds(t *testing.T) {
	t.Run("nothing is recorded", func(t *testing.T) {
		w := newcomer(t, 0)
		w.run(30 * hb)
		w.each(0, 4, loudly)
		w.run(10 * hb)
		w.wantGate("a third is heard", "hold:first-picture")
		w.wantSent("a third is heard", 0, 0)
		w.each(4, 12, loudly)
		w.run(10 * hb)
		w.wantGate("all are heard")
		w.wantSent("all are heard", 0, 0)
	})
	t.Run("all is recorded", func(t *testing.T) {
		w := steady(t, 12, 25, testOptions())
		w.each(0, 12, quietly)
		w.run(30 * hb)
		w.each(0, 4, loudly)
		w.run(10 * hb)
		w.wantGate("a third is heard", "hold:mass-loss")
		w.wantSent("a third is heard", 0, 0)
		w.each(4, 12, loudly)
		w.run(10 * hb)
		w.wantGate("all are heard")
		w.wantSent("all are heard", 0, 0)
	})
}
