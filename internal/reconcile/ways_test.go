package reconcile

import "testing"

// TestI4AWayThatFailsIsNoLossOfDEAs: 4 of 10 DEAs fall silent, which is no mass loss. It is held if they are most of those
// that send their heartbeats over one way: then the way may be out of order.
func TestI4AWayThatFailsIsNoLossOfDEAs(t *testing.T) {
	for name, c := range map[string]struct {
		posting, silent int // how many of 10 DEAs send over HTTPS; how many of these fall silent, or, negative, of the others
		ways            bool
		held            bool
	}{
		"all over HTTPS":                         {4, 4, true, true},
		"three of four over HTTPS":               {4, 3, true, true},
		"all over NATS":                          {6, -4, true, true},
		"two of four over HTTPS":                 {4, 2, true, false},
		"three, who are too few for a mass loss": {3, 3, true, false},
		"all over HTTPS, and it does not matter": {4, 4, false, false},
		"four of ten, all over one way":          {10, 4, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			o.Guard.Ways = c.ways
			cf := steadyFleet(t, 10, 20, o)
			cf.each(0, c.posting, func(d *simDEA) { d.posts = true })
			cf.run(2 * hb)
			if c.silent > 0 {
				silence(cf, c.silent)
			} else {
				cf.each(c.posting, c.posting-c.silent, beating(cf.now+1))
				cf.run(hb / 20)
				cf.each(c.posting, c.posting-c.silent, quietly)
			}
			cf.run(9 * hb)
			if !c.held {
				if n := len(cf.sent); n == 0 {
					t.Error("nothing was started for the DEAs that are lost")
				}
				return
			}
			cf.wantGate("a way is out of order", "hold:mass-loss")
			cf.wantSent("a way is out of order", 0, 0)
			cf.run(40 * hb) // the hold ends: what is dead must be replaced
			if len(cf.sent) == 0 {
				t.Error("nothing was started after the hold")
			}
		})
	}
}

// TestI4AWayThatFailsSlowlyIsNoLossOfDEAs: the DEAs of one way fall silent one after another, each recorded by itself.
func TestI4AWayThatFailsSlowlyIsNoLossOfDEAs(t *testing.T) {
	o := testOptions()
	o.Guard.Ways = true
	cf := steadyFleet(t, 10, 20, o)
	cf.each(0, 4, func(d *simDEA) { d.posts = true })
	cf.run(2 * hb)
	for n := range 4 {
		cf.each(n, n+1, quietly)
		cf.run(hb / 4)
	}
	cf.run(9 * hb)
	cf.wantGate("a way is out of order", "hold:mass-loss")
	cf.wantSent("a way is out of order", 0, 0)
}

// TestTheWayIsThatOfTheNewestWord: a DEA that speaks both ways, one after the other, belongs to the newer one.
func TestTheWayIsThatOfTheNewestWord(t *testing.T) {
	cf := steadyFleet(t, 4, 4, testOptions())
	dea := cf.dea(0).id
	want := func(what string, over way) {
		t.Helper()
		if w := cf.intake.wayOf(dea); w != over {
			t.Errorf("%s: %d", what, w)
		}
	}
	want("over NATS", overNATS)
	digest := cf.intake.deas[dea].digest
	if !cf.intake.HTTPS().Unchanged(digest) {
		t.Fatal("a heartbeat that is equal counts as another one when it comes over HTTPS")
	}
	want("repeated over HTTPS", overHTTPS)
	if !cf.intake.Unchanged(digest) {
		t.Fatal("a heartbeat that is equal counts as another one when it comes over NATS")
	}
	want("repeated over NATS", overNATS)
	cf.intake.HTTPS().Garbled(dea, "it is cut off")
	want("cut off, over HTTPS", overHTTPS)
	dea = "stranger"
	want("never heard", unknownWay)
}
