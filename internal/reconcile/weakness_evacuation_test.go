package reconcile

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// evacuate makes a DEA report all its instances as EVACUATING, and send a heartbeat now.
func (cf *simCF) evacuate(d *simDEA) int {
	d.closed, d.nextBeat = true, cf.now+1
	for i := range d.list {
		d.list[i].State = actual.Evacuating
	}
	return len(d.list)
}

// TestW15EveryEvacuationIsAnswered: the limit is a rate, not a total for the life of a process.
func TestW15EveryEvacuationIsAnswered(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 10
	cf := steadyFleet(t, 6, 30, opts)
	moved := 0
	for _, id := range []string{"dea-001", "dea-002", "dea-003", "dea-004"} {
		moved += cf.evacuate(cf.deas[id])
		cf.run(12 * hb)
		cf.deas[id].closed = false
	}
	cf.wantSent("four evacuations of more than 60 instances in all", moved, moved)
	if moved <= 60 || cf.live() != 120 {
		t.Errorf("%d instances were moved, %d are live", moved, cf.live())
	}
}

// TestW16EvacuationThatCouldNotBeAnsweredAtOnce: the starts wait for the gate, and go out when it
// opens.
func TestW16EvacuationThatCouldNotBeAnsweredAtOnce(t *testing.T) {
	for name, c := range map[string]struct{ shut, open func(*simCF) }{
		"paused": {func(cf *simCF) { cf.pause(10 * hb) }, func(*simCF) {}},
		"the desired state is stale": {
			func(cf *simCF) { cf.readErr = errTest; cf.run(13 * hb) },
			func(cf *simCF) { cf.readErr = nil },
		},
		"nothing can be published": {func(cf *simCF) { cf.pubErr = ErrNotSent }, func(cf *simCF) { cf.pubErr = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 6, 10, testOptions())
			cf.onStart = func(i *actual.Instance) { i.State = actual.Starting }
			c.shut(cf)
			n := cf.evacuate(cf.deas["dea-002"])
			cf.run(9 * hb)
			cf.wantSent("before", 0, 0)
			c.open(cf)
			cf.run(2 * hb)
			cf.wantSent("after", n, 0)
		})
	}
}

// TestW17EvacuationThatNobodyAnswers: a start without effect expires and is sent anew as long as it
// is needed, at most once a grace. It delays nothing else.
func TestW17EvacuationThatNobodyAnswers(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	cf.nobodyObeys = true
	n := cf.evacuate(cf.deas["dea-002"])
	cf.run(9*hb + time.Second)
	if got := len(cf.sent); got < 2*n || got > 4*n {
		t.Errorf("%d starts for %d evacuating instances in 9 heartbeats, want one a grace for each", got, n)
	}
	cf.apps, cf.nobodyObeys = nil, false // a person deletes it all
	cf.opts.Guard.DesiredShrink = 0
	cf.core.opts = cf.opts
	cf.intake.Updated(app.GUID{})
	cf.run(2 * hb)
	starts := func() (n int) {
		for _, c := range cf.sent {
			if c.Action == commands.Start {
				n++
			}
		}
		return n
	}
	before := starts()
	cf.run(30 * hb)
	if after := starts(); after != before {
		t.Errorf("%d starts of deleted apps", after-before)
	}
	if n := cf.live(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

// TestW18EvacuationIsDecidedLikeAnythingElse: by what is desired and what is live, once, whichever
// message tells of it.
func TestW18EvacuationIsDecidedLikeAnythingElse(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(cf *simCF, evacuating actual.Instance)
		starts, stops int
	}{
		{"wanted", func(*simCF, actual.Instance) {}, 1, 1},
		{"told by droplet.exited as well", func(cf *simCF, i actual.Instance) {
			for range 3 {
				cf.intake.Exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitEvacuation})
			}
		}, 1, 1},
		{"another instance runs at the index", func(cf *simCF, i actual.Instance) {
			d := cf.deas["dea-004"]
			d.list = append(d.list, cf.instance(i.App, i.Index, actual.Running))
		}, 0, 1},
		{"the app is stopped", func(cf *simCF, i actual.Instance) {
			cf.change(i.App, func(a *desired.App) { a.State = desired.Stopped })
		}, 0, 4},
		{"the index is not desired", func(cf *simCF, i actual.Instance) { cf.change(i.App, func(a *desired.App) { a.Instances = i.Index }) }, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := steadyFleet(t, 6, 30, testOptions())
			d := cf.deas["dea-002"]
			evacuating := d.list[0]
			cf.pause(8 * hb) // so that all of it is known when it is decided
			c.change(cf, evacuating)
			if i := slices.IndexFunc(d.list, func(i actual.Instance) bool { return i.GUID == evacuating.GUID }); i >= 0 {
				d.list[i].State = actual.Evacuating
			}
			cf.run(30 * hb)
			if c.name == "the index is not desired" {
				c.stops = int(4 - evacuating.Index)
			}
			cf.wantSent(c.name, c.starts, c.stops)
		})
	}
}

func (cf *simCF) change(k app.Key, f func(*desired.App)) {
	f(&cf.apps[slices.IndexFunc(cf.apps, func(a desired.App) bool { return a.Key == k })])
}

// TestW61ProcessThatDiesWhileItEvacuates: a dead process is still reported EVACUATING. Its
// replacement does not wait for it.
func TestW61ProcessThatDiesWhileItEvacuates(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	began := cf.now
	cf.nobodyObeys = true
	n := cf.evacuate(cf.deas["dea-002"]) // dead or alive, it is all the same
	cf.run(2 * time.Second)
	cf.wantSent("evacuating", n, 0)
	for _, c := range cf.sent {
		if c.at.Sub(began) > time.Second {
			t.Errorf("index %d was replaced %v after it was heard evacuating", c.Index, c.at.Sub(began))
		}
	}
}
