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

// evacuate has a DEA report everything that it runs as EVACUATING from its next heartbeat on, which is now.
func (w *world) evacuate(d *simDEA) int {
	d.closed, d.beat = true, w.now+1
	for i := range d.list {
		d.list[i].State = actual.Evacuating
	}
	return len(d.list)
}

// TestW15EveryEvacuationIsAnswered: the limit is a rate, not an allowance for the life of a process.
func TestW15EveryEvacuationIsAnswered(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 10
	w := steady(t, 6, 30, opts)
	moved := 0
	for _, id := range []string{"dea-001", "dea-002", "dea-003", "dea-004"} {
		moved += w.evacuate(w.deas[id])
		w.run(12 * hb)
		w.deas[id].closed = false
	}
	w.wantSent("four evacuations of more than 60 instances in all", moved, moved)
	if moved <= 60 || w.live() != 120 {
		t.Errorf("%d instances were moved, %d are live", moved, w.live())
	}
}

// TestW16EvacuationThatCouldNotBeAnsweredAtOnce: the answer waits behind the gate, and goes out when it opens.
func TestW16EvacuationThatCouldNotBeAnsweredAtOnce(t *testing.T) {
	for name, c := range map[string]struct{ shut, open func(*world) }{
		"paused": {func(w *world) { w.pause(10 * hb) }, func(*world) {}},
		"the desired state is stale": {
			func(w *world) { w.readErr = errTest; w.run(13 * hb) },
			func(w *world) { w.readErr = nil },
		},
		"nothing can be published": {func(w *world) { w.pubErr = ErrNotSent }, func(w *world) { w.pubErr = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 6, 10, testOptions())
			w.onStart = func(i *actual.Instance) { i.State = actual.Starting }
			c.shut(w)
			n := w.evacuate(w.deas["dea-002"])
			w.run(9 * hb)
			w.wantSent("before", 0, 0)
			c.open(w)
			w.run(2 * hb)
			w.wantSent("after", n, 0)
		})
	}
}

// TestW17EvacuationThatNobodyAnswers: a start that has no effect expires and is sent anew while it is called for, no
// oftener than once a grace, and holds up nothing else.
func TestW17EvacuationThatNobodyAnswers(t *testing.T) {
	w := steady(t, 6, 10, testOptions())
	w.deaf = true
	n := w.evacuate(w.deas["dea-002"])
	w.run(9*hb + time.Second)
	if got := len(w.sent); got < 2*n || got > 4*n {
		t.Errorf("%d starts for %d evacuating instances in 9 heartbeats, want one a grace for each", got, n)
	}
	w.apps, w.deaf = nil, false // a person deletes it all
	w.opts.Guard.DesiredShrink = 0
	w.core.opts = w.opts
	w.intake.Updated(app.GUID{})
	w.run(2 * hb)
	starts := func() (n int) {
		for _, c := range w.sent {
			if c.Action == commands.Start {
				n++
			}
		}
		return n
	}
	before := starts()
	w.run(30 * hb)
	if after := starts(); after != before {
		t.Errorf("%d starts of deleted apps", after-before)
	}
	if n := w.live(); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

// TestW18EvacuationIsDecidedLikeAnythingElse: by what is desired and what is live, once, whoever tells of it.
func TestW18EvacuationIsDecidedLikeAnythingElse(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(w *world, evacuating actual.Instance)
		starts, stops int
	}{
		{"wanted", func(*world, actual.Instance) {}, 1, 1},
		{"told by droplet.exited as well", func(w *world, i actual.Instance) {
			for range 3 {
				w.intake.Exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitEvacuation})
			}
		}, 1, 1},
		{"another instance runs at the index", func(w *world, i actual.Instance) {
			d := w.deas["dea-004"]
			d.list = append(d.list, w.instance(i.App, i.Index, actual.Running))
		}, 0, 1},
		{"the app is stopped", func(w *world, i actual.Instance) { w.change(i.App, func(a *desired.App) { a.State = desired.Stopped }) }, 0, 4},
		{"the index is not desired", func(w *world, i actual.Instance) { w.change(i.App, func(a *desired.App) { a.Instances = i.Index }) }, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := steady(t, 6, 30, testOptions())
			d := w.deas["dea-002"]
			evacuating := d.list[0]
			w.pause(8 * hb) // so that all of it is known when it is decided
			c.change(w, evacuating)
			if i := slices.IndexFunc(d.list, func(i actual.Instance) bool { return i.GUID == evacuating.GUID }); i >= 0 {
				d.list[i].State = actual.Evacuating
			}
			w.run(30 * hb)
			if c.name == "the index is not desired" {
				c.stops = int(4 - evacuating.Index)
			}
			w.wantSent(c.name, c.starts, c.stops)
		})
	}
}

func (w *world) change(k app.Key, f func(*desired.App)) {
	f(&w.apps[slices.IndexFunc(w.apps, func(a desired.App) bool { return a.Key == k })])
}

// TestW61ProcessThatDiesWhileItEvacuates goes on being reported EVACUATING. Its replacement does not wait for it.
func TestW61ProcessThatDiesWhileItEvacuates(t *testing.T) {
	w := steady(t, 6, 10, testOptions())
	began := w.now
	w.deaf = true
	n := w.evacuate(w.deas["dea-002"]) // dead or alive, it is all the same
	w.run(2 * time.Second)
	w.wantSent("evacuating", n, 0)
	for _, c := range w.sent {
		if c.at.Sub(began) > time.Second {
			t.Errorf("index %d was replaced %v after it was heard evacuating", c.Index, c.at.Sub(began))
		}
	}
}
