package reconcile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// TestChaos throws every fault at a world, by seed, then heals it: no stop may take the last instance of a desired
// index (I3, checked as each is published), no start may be sent while an earlier one for the index is outstanding
// (I2), and in the end everything runs as desired (I9).
func TestChaos(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func chaos(t *testing.T, rnd *rand.Rand) {
	opts := testOptions()
	opts.StartLimit = []int{0, 5, 60}[rnd.IntN(3)]
	w := steady(t, 6+rnd.IntN(8), 25, opts)
	w.onStart = func(i *actual.Instance) {
		switch rnd.IntN(10) {
		case 0:
			i.State = actual.Crashed
		case 1, 2:
			i.State = actual.Starting
		}
	}
	for range 60 {
		fault(w, rnd)
		w.run(time.Duration(rnd.Int64N(int64(2 * hb))))
		settleStarting(w)
		checkSettled(t, w)
	}
	checkTwice(t, w)

	// Heal, and require convergence.
	w.setLink(true)
	w.readErr, w.fail, w.pubErr, w.onStart, w.deaf = nil, nil, nil, nil, false
	for _, d := range w.deas {
		d.quiet = false
	}
	w.addDEAs(1)
	for i := range w.apps {
		if w.apps[i].Package == desired.Pending {
			w.apps[i].Package = desired.Staged
		}
	}
	w.run(150 * hb) // the longest back-off is 96 heartbeats, a held loss 30
	settleStarting(w)
	w.run(150 * hb)
	want := 0
	for _, a := range w.apps {
		if a.Wanted() && a.Startable() {
			want += int(a.Instances)
		}
	}
	if d := w.drift(); len(d) > 0 || w.live() != want {
		t.Fatalf("after healing %d instances live, want %d; gate %v; drift %v", w.live(), want, w.core.gate, d)
	}
	if c := w.View().Counts(); c.PendingStarts+c.PendingStops > 0 {
		t.Errorf("%d commands are outstanding at rest", c.PendingStarts+c.PendingStops)
	}
	sent := len(w.sent)
	w.run(50 * hb)
	if len(w.sent) != sent {
		t.Errorf("%d commands were sent at rest", len(w.sent)-sent)
	}
}

// checkSettled has apps about which nothing is found out of hand be looked at in full.
func checkSettled(t *testing.T, w *world) {
	t.Helper()
	view := w.View()
	for a := range view.Apps() {
		if !Settled(view, a.Key) || view.HasCommands(a.Key) {
			continue
		}
		if p := w.core.decide(view, a.Key, Knowledge{Reads: w.core.reads.known()}, w.now); !reflect.DeepEqual(p, commands.Plan{}) {
			t.Fatalf("%v is taken for settled, and its plan is %+v", a.Key, p)
		}
	}
}

func fault(w *world, rnd *rand.Rand) {
	ids := slices.Sorted(maps.Keys(w.deas))
	dea := w.deas[ids[rnd.IntN(len(ids))]]
	some := func() *actual.Instance {
		if len(dea.list) == 0 {
			return &actual.Instance{}
		}
		return &dea.list[rnd.IntN(len(dea.list))]
	}
	a := &w.apps[rnd.IntN(len(w.apps))]
	switch rnd.IntN(18) {
	case 0:
		dea.quiet = !dea.quiet
	case 1:
		w.setLink(!w.linkUp)
	case 2:
		w.setLink(true)
	case 3:
		w.failover()
	case 4:
		w.restart()
	case 5:
		if i := some(); i.State.Live() {
			i.State = actual.Crashed
			w.intake.Exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
		}
	case 6:
		some().State = actual.Crashed
	case 7:
		dea.list = slices.DeleteFunc(dea.list, func(i actual.Instance) bool { return i.State == actual.Crashed || rnd.IntN(5) == 0 })
	case 8:
		for i := range dea.list {
			if dea.list[i].State.Live() {
				dea.list[i].State = actual.Evacuating
			}
		}
	case 9:
		a.Instances = uint32(rnd.IntN(7))
	case 10:
		a.State = desired.RunState(1 + rnd.IntN(2))
	case 11:
		a.Package = desired.PackageState(1 + rnd.IntN(3))
	case 12:
		a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(3)))
	case 13:
		if w.readErr = nil; rnd.IntN(2) == 0 {
			w.readErr = errTest
		}
	case 14:
		if w.fail = nil; rnd.IntN(2) == 0 {
			w.fail = errTest
		}
	case 15:
		w.pubErr = []error{nil, ErrNotSent, errTest}[rnd.IntN(3)]
	case 16:
		w.deaf = !w.deaf
	case 17: // somebody else starts a copy
		if i := some(); i.State.Live() {
			dea.list = append(dea.list, w.instance(i.App, i.Index, actual.Running))
		}
	}
}

// settleStarting lets what is starting run.
func settleStarting(w *world) {
	for _, d := range w.deas {
		for i := range d.list {
			if d.list[i].State == actual.Starting {
				d.list[i].State = actual.Running
			}
		}
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App.Droplet.IsZero() })
	}
}

// checkTwice holds the published starts against I2: two for one index, the first of which was not seen to work or
// to fail, lie at least a grace apart.
func checkTwice(t *testing.T, w *world) {
	type place struct {
		k     app.Key
		index uint32
	}
	last := map[place]sentCommand{}
	ids := map[string]bool{}
	for _, c := range w.sent {
		if id := fmt.Sprintf("%x", c.ID); ids[id] {
			t.Errorf("command %s was published twice", id)
		} else {
			ids[id] = true
		}
		if c.Action != diff.Start {
			continue
		}
		p := place{c.App, c.Index}
		if before, ok := last[p]; ok && c.at.Sub(before.at) < testPolicy.Grace && !w.confirmed(before) {
			t.Errorf("%s/%d was started at %v and again at %v", c.App, c.Index, before.at, c.at)
		}
		last[p] = c
	}
}

// confirmed reports whether the journal says that a command's effect was heard.
func (w *world) confirmed(c sentCommand) bool {
	return slices.ContainsFunc(w.ended, func(id [16]byte) bool { return id == c.ID })
}
