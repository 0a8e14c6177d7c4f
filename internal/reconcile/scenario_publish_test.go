package reconcile

import (
	"testing"
	"time"

	"hm/commands"
	"hm/raftfsm"
)

// TestI1TheGateIsLookedAtAgainBeforeThePublish: what closes the gate between the decision and the publish keeps the
// command back. Afterwards it is sent, once.
func TestI1TheGateIsLookedAtAgainBeforeThePublish(t *testing.T) {
	for name, c := range map[string]struct {
		meddle func(w *world)
		after  func(w *world)
	}{
		"a pause is recorded before the claim": {
			func(w *world) { w.pause(10 * hb) },
			func(w *world) { w.run(10 * hb) },
		},
		"the link has a gap":   {func(w *world) { w.spell(true) }, func(*world) {}},
		"the link goes down":   {func(w *world) { w.spell(false) }, func(w *world) { w.spell(true) }},
		"the lease is gone":    {func(w *world) { w.lease = errTest }, func(w *world) { w.lease = nil }},
		"the read grows old":   {func(w *world) { w.core.reads.began = w.now.Add(-w.opts.DesiredTTL) }, func(*world) {}},
		"nobody speaks at all": {func(w *world) { w.intake.live.Link(true, w.now.Add(-time.Hour)) }, func(w *world) { w.spell(true) }},
		"the machine is suspended": {
			func(w *world) { w.suspended += time.Hour }, func(*world) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 10, testOptions())
			m := &meddler{world: w, before: func() { c.meddle(w) }}
			w.core = NewCore(w.opts, m, w, w.intake, w.endedCommands)
			w.core.Learn(w.now, w.now)
			w.lose(1)
			for i := 0; m.before != nil; i++ {
				if w.run(time.Second); i == 100 {
					t.Fatal("nothing was claimed")
				}
			}
			if name != "the machine is suspended" {
				w.wantSent(name, 0, 0)
			}
			c.after(w)
			w.run(15 * hb)
			w.wantSent("afterwards", 1, 0)
		})
	}
}

// TestI2ASuspensionAbandonsTheClaim: hm time stands still while the machine is suspended, and so does a stall measured
// by it.
func TestI2ASuspensionAbandonsTheClaim(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	l := suspendedAtClaim{w}
	w.core = NewCore(w.opts, l, w, w.intake, w.endedCommands)
	w.core.Learn(w.now, w.now)
	w.lose(1)
	w.run(6 * hb) // checkCommand holds each publish against its claim's age
	w.wantSent("every claim is followed by a suspension", 0, 0)
}

// suspendedAtClaim is a world whose machine is suspended whenever a claim was committed.
type suspendedAtClaim struct{ *world }

func (l suspendedAtClaim) Suspended() time.Duration {
	l.suspended += time.Minute
	return l.suspended
}

// TestACancelledCommandIsDecidedAnew: a person cancels a command that is due and waits for the limit. What it was for is
// still to be done.
func TestACancelledCommandIsDecidedAnew(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 1
	w := steady(t, 8, 10, opts)
	w.lose(1)
	w.lose(2)
	w.lose(3)
	for len(w.sent) == 0 || len(w.core.ready.apps) == 0 {
		w.run(time.Second)
	}
	cancelled := 0
	for c := range w.View().AllCommands() {
		if _, ready := w.core.ready.apps[c.ID]; ready {
			w.must(raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: c.ID, State: commands.Dropped}}})
			cancelled++
		}
	}
	if cancelled == 0 {
		t.Fatal("no command waits for the limit")
	}
	w.run(10 * hb)
	w.wantSent("commands were cancelled", 3, 0)
}
