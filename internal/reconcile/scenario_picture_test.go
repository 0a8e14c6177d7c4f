package reconcile

import (
	"testing"

	"hm/actual"
	"hm/raftfsm"
)

// newcomer is a simulation of twelve DEAs with a hundred instances. A node without a record hears
// the first few.
func newcomer(t *testing.T, heard int) *simCF {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(12)
	cf.desire(25, 4, true)
	cf.each(heard, 12, quietly)
	return cf
}

// TestR60TheFirstPicture: a node without a record hears a third of the DEAs.
func TestR60TheFirstPicture(t *testing.T) {
	holds := func(t *testing.T) *simCF {
		cf := newcomer(t, 4)
		cf.run(10 * hb)
		cf.wantGate("a third is heard", "hold:first-picture")
		cf.wantSent("a third is heard", 0, 0)
		return cf
	}
	t.Run("the others come late", func(t *testing.T) {
		cf := holds(t)
		want := "64 of 100 desired instances were not heard of in a whole freshness window, and are not recorded as lost: " +
			"16 apps (app-001, app-002, app-004 and 13 more); 4 DEAs are heard"
		if why := cf.View().Holds()[0].Reason; why != want {
			t.Errorf("the reason is %q, want %q", why, want)
		}
		cf.each(4, 12, audibly)
		cf.run(2 * hb)
		cf.wantGate("all are heard")
		cf.run(20 * hb)
		cf.wantSent("all are heard", 0, 0)
	})
	t.Run("some of the others come late", func(t *testing.T) {
		cf := holds(t)
		cf.each(4, 11, audibly)
		cf.run(2 * hb)
		cf.wantGate("more may come", "hold:first-picture")
		cf.run(3 * hb)
		cf.wantGate("nobody has come for a time to live")
		cf.run(5 * hb)
		cf.wantSent("one DEA is missing", 8, 0)
	})
	t.Run("the others never come", func(t *testing.T) {
		cf := holds(t)
		cf.run(20 * hb)
		cf.wantSent("within mass_loss_hold", 0, 0)
		cf.run(30 * hb)
		cf.wantGate("after mass_loss_hold")
		cf.wantSent("after mass_loss_hold", 64, 0)
	})
	t.Run("a person releases it", func(t *testing.T) {
		cf := holds(t)
		cf.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		cf.run(10 * hb)
		cf.wantGate("a person released it")
		cf.wantSent("a person released it", 64, 0)
	})
	t.Run("a person releases it while NATS is away", func(t *testing.T) {
		cf := holds(t)
		cf.setLink(false)
		cf.run(5 * hb)
		cf.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		cf.run(5 * hb)
		cf.setLink(true)
		cf.run(15 * hb)
		cf.wantGate("a person released it")
		cf.wantSent("a person released it", 64, 0)
	})
	t.Run("another leader", func(t *testing.T) {
		cf := holds(t)
		until := cf.View().Holds()[0].Until
		cf.failover()
		cf.run(2 * hb)
		cf.restart()
		cf.run(5 * hb)
		cf.wantGate("another leader", "hold:first-picture")
		if now := cf.View().Holds()[0].Until; now != until {
			t.Errorf("the hold ends at %v, and did at %v before", now, until)
		}
		cf.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		cf.run(10 * hb)
		cf.wantGate("a person released it")
		cf.wantSent("a person released it", 64, 0)
	})
	t.Run("another leader while the rest is started", func(t *testing.T) {
		cf := holds(t)
		cf.opts.StartLimit, cf.core.opts.StartLimit = 1, 1
		cf.failover()
		cf.run(hb)
		cf.must(raftfsm.HoldReleased{Name: HoldFirstPicture})
		cf.run(10 * hb)
		cf.failover()
		cf.run(2 * hb)
		cf.wantGate("another leader goes on")
		cf.restart()
		cf.run(5 * hb)
		cf.wantGate("another node goes on")
	})
}

func TestR60WhatIsNoFirstPicture(t *testing.T) {
	t.Run("two thirds are heard", func(t *testing.T) {
		cf := newcomer(t, 8)
		cf.run(10 * hb)
		cf.wantGate("two thirds are heard")
		cf.wantSent("two thirds are heard", 32, 0)
	})
	t.Run("most has crashed", func(t *testing.T) {
		cf := newcomer(t, 12)
		cf.each(0, 8, turning(actual.Crashed))
		cf.run(10 * hb)
		cf.wantGate("most has crashed")
		cf.wantSent("most has crashed", 68, 0)
	})
	t.Run("a small fleet", func(t *testing.T) {
		cf := newSimCF(t, testOptions())
		cf.addDEAs(5)
		cf.desire(1, 3, false)
		cf.run(10 * hb)
		cf.wantSent("less than min_deas instances are desired", 3, 0)
	})
	t.Run("what was lost when NATS went away", func(t *testing.T) {
		cf := steadyFleet(t, 10, 25, testOptions())
		cf.each(0, 6, omitting(everything), closing)
		cf.run(10 * hb)
		cf.wantHolds("a loss", HoldMassLoss)
		cf.spell(true)
		cf.run(10 * hb)
		cf.wantHolds("a loss that is known", HoldMassLoss)
		cf.run(25 * hb)
		cf.wantGate("after mass_loss_hold")
		cf.run(5 * hb)
		cf.wantSent("after mass_loss_hold", 60, 0)
	})
	t.Run("what hm is about to start", func(t *testing.T) {
		opts := testOptions()
		opts.StartLimit = 1
		cf := steadyFleet(t, 10, 25, opts)
		cf.each(0, 6, quietly)
		cf.run(45 * hb)
		cf.wantGate("after mass_loss_hold")
		for range 3 {
			cf.spell(true)
			cf.run(5 * hb)
			cf.wantGate("NATS was away")
			cf.restart()
			cf.run(5 * hb)
			cf.wantGate("another node leads")
		}
	})
}

// TestR60SilenceEnds: no DEA is heard for a long time, and then a third of them.
func TestR60SilenceEnds(t *testing.T) {
	t.Run("nothing is recorded", func(t *testing.T) {
		cf := newcomer(t, 0)
		cf.run(30 * hb)
		cf.each(0, 4, audibly)
		cf.run(10 * hb)
		cf.wantGate("a third is heard", "hold:first-picture")
		cf.wantSent("a third is heard", 0, 0)
		cf.each(4, 12, audibly)
		cf.run(10 * hb)
		cf.wantGate("all are heard")
		cf.wantSent("all are heard", 0, 0)
	})
	t.Run("all is recorded", func(t *testing.T) {
		cf := steadyFleet(t, 12, 25, testOptions())
		cf.each(0, 12, quietly)
		cf.run(30 * hb)
		cf.each(0, 4, audibly)
		cf.run(10 * hb)
		cf.wantGate("a third is heard", "hold:mass-loss")
		cf.wantSent("a third is heard", 0, 0)
		cf.each(4, 12, audibly)
		cf.run(10 * hb)
		cf.wantGate("all are heard")
		cf.wantSent("all are heard", 0, 0)
	})
}
