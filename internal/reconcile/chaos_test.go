package reconcile

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestChaos throws every fault at a world, by seed, then heals it. Every publish is held against what really is (I1, I2,
// I3), what is recorded of the desired state never goes back, and in the end everything runs as desired (I9).
// HM_TEST_SEEDS says how many seeds are tried, HM_TEST_SEED which one alone.
func TestChaos(t *testing.T) {
	first, seeds := uint64(0), uint64(100)
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_SEEDS"), 10, 32); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	var mu sync.Mutex
	total := map[string]int{}
	t.Cleanup(func() { t.Logf("%d seeds: %v", seeds, total) })
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := chaos(t, rand.New(rand.NewPCG(seed, 1)), false)
			mu.Lock()
			defer mu.Unlock()
			for what, n := range w.faults.counts {
				total[what] += n
			}
			total["commands sent"] += len(w.sent)
		})
	}
}

// TestJunkChangesNoCommand: entries that cannot be read, and name nothing that is known, change nothing that is sent,
// whatever happens beside them.
func TestJunkChangesNoCommand(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			plain := chaos(t, rand.New(rand.NewPCG(seed, 1)), false)
			junk := chaos(t, rand.New(rand.NewPCG(seed, 1)), true)
			same := func(a, b sentCommand) bool {
				return a.at == b.at && a.Action == b.Action && a.App == b.App && a.Index == b.Index && a.Instance == b.Instance && a.Reason == b.Reason
			}
			if !slices.EqualFunc(plain.sent, junk.sent, same) {
				n := 0
				for n < min(len(plain.sent), len(junk.sent)) && same(plain.sent[n], junk.sent[n]) {
					n++
				}
				t.Errorf("%d commands, with junk %d; the first %d are the same", len(plain.sent), len(junk.sent), n)
			}
		})
	}
}

func chaos(t *testing.T, rnd *rand.Rand, junk bool) *world {
	opts := testOptions()
	opts.StartLimit = []int{0, 5, 60}[rnd.IntN(3)]
	opts.ReadsApps = rnd.IntN(2) == 0
	opts.Policy.BackoffMax = 12 * hb
	opts.Guard.MassLossHold, opts.Guard.ConfirmReads = 10*hb, 4
	opts.partBytes = 300
	w := steady(t, 6+rnd.IntN(8), 25, opts)
	w.junk = junk
	w.run(2 * hb)
	other := &simNode{}
	w.open(other)
	w.nodes = append(w.nodes, other)
	w.faults = &faults{rnd: rnd, losses: rnd.IntN(3) == 0}
	w.onStart = func(i *actual.Instance) {
		switch rnd.IntN(10) {
		case 0:
			i.State = actual.Crashed
		case 1, 2:
			i.State = actual.Starting
		}
	}
	w.truth.changed(w)
	busy, wrongUntil := false, app.Time(0)
	for range 60 {
		switch n := rnd.IntN(24); n {
		case 20:
			busy = !busy
		case 21:
			if w.answer == nil && !held(w.View(), HoldDesiredShrink) { // else several short ones make a long one
				w.answer, wrongUntil = w.tooLittle, w.now.Add(opts.PollInterval*2)
			}
		default:
			fault(w, rnd)
		}
		w.truth.changed(w)
		for end := w.now.Add(time.Duration(rnd.Int64N(int64(2 * hb)))); w.now < end; {
			if busy {
				w.post("updated", func(in *Intake) { in.Updated(app.MustGUID("some-app")) })
			}
			w.run(min(hb/2, end.Sub(w.now)))
			if w.now >= wrongUntil {
				w.answer = nil
			}
		}
		settleStarting(w)
		checkSettled(t, w)
	}
	checkTwice(t, w)
	heal(w)
	w.truth.changed(w)
	converge(t, w, rnd)
	return w
}

// tooLittle is a Cloud Controller's answer that lacks most apps by error, if there are enough of them for the guard to
// notice.
func (w *world) tooLittle(apps []desired.App) []desired.App {
	if w.View().DesiredMeta().Apps < w.opts.Guard.MinApps {
		return apps
	}
	return apps[:min(5, len(apps))]
}

// heal ends every fault. What the DEAs list that nobody can read stays.
func heal(w *world) {
	w.setLink(true)
	w.readErr, w.fail, w.pubErr, w.onStart, w.deaf, w.answer = nil, nil, nil, nil, false, nil
	w.faults.calm = true
	for _, n := range w.nodes {
		n.earless = nil
	}
	w.plainAgain(append(slices.Collect(maps.Keys(w.odd)), w.garbled)...)
	for _, key := range w.deaKeys() {
		d := w.deas[key]
		d.quiet, d.hides = false, 0
		if d.garbles {
			w.garble(d)
		}
		if len(w.sharers(d)) > 0 {
			w.share(nil, d)
		}
	}
	w.addDEAs(1)
	for i := range w.apps {
		if w.apps[i].Package == desired.Pending {
			w.apps[i].Package = desired.Staged
		}
	}
}

// converge requires that everything comes to run as desired, and that nothing is sent then (I9).
func converge(t *testing.T, w *world, rnd *rand.Rand) {
	want := 0
	for _, a := range w.apps {
		if a.Wanted() && a.Startable() {
			want += int(a.Instances)
		}
	}
	converged := func() bool {
		settleStarting(w)
		c := w.View().Counts()
		return len(w.core.gate) == 0 && len(w.drift()) == 0 && w.live() == want && c.PendingStarts+c.PendingStops == 0
	}
	for range 30 { // the longest back-off is 12 heartbeats, a held loss 10, a held read 24, stops that are slowed 60
		if w.run(10 * hb); converged() {
			break
		}
	}
	if !converged() {
		t.Fatalf("after healing %d instances live, want %d; gate %v; drift %v; %+v", w.live(), want, w.core.gate, w.drift(), w.View().Counts())
	}
	for k, at := range w.liveAtEach() {
		for index, n := range at {
			if n != 1 || !w.wanted(k, index) {
				t.Errorf("%d live instances of %s/%d, wanted: %v", n, k, index, w.wanted(k, index))
			}
		}
	}
	sent := len(w.sent)
	w.run(10 * hb)
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
		if p := w.core.eval.App(view, a.Key, w.core.deciding(w.now), w.now).Plan(); !reflect.DeepEqual(p, diff.Plan{}) {
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
	n := rnd.IntN(37)
	if w.faults.losses {
		n = rnd.IntN(42)
	} else if n >= 26 {
		n += 5
	}
	switch n {
	case 0:
		dea.quiet = !dea.quiet
	case 1:
		w.setLink(!w.linkUp)
	case 2:
		w.spell(true)
	case 3:
		w.faults.elect(w)
	case 4:
		w.restart()
	case 5:
		if i := some(); i.State.Live() {
			i.State = actual.Crashed
			w.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
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
		w.pubErr = []error{nil, ErrNotSent, ErrRefused, errTest}[rnd.IntN(4)]
	case 16:
		w.deaf = !w.deaf
	case 17: // somebody else starts a copy
		if i := some(); i.State.Live() {
			dea.list = append(dea.list, w.instance(i.App, i.Index, actual.Running))
		}
	case 18: // the Cloud Controller updates an app, starts its new instances and stops the old ones
		old := a.Key
		a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(1000)))
		w.startByCC(*a, 0)
		w.stopByCC(old, 0)
	case 19: // the Cloud Controller scales an app
		if n := uint32(rnd.IntN(7)); n > a.Instances {
			from := a.Instances
			a.Instances = n
			w.startByCC(*a, from)
		} else {
			a.Instances = n
			w.stopByCC(a.Key, n)
		}
	case 20, 21:
		dea.nameless = rnd.IntN(3)
	case 22:
		if w.plainAgain(w.garbled); rnd.IntN(2) == 0 {
			w.garbled = some().GUID
		}
	case 23: // a node that comes back from a snapshot
		w.restore()
	case 24: // an exit at an index that nobody wants, or of long ago
		w.exit(actual.Exit{App: a.Key, Instance: app.MustGUID(fmt.Sprintf("old-%d", rnd.IntN(1e9))), Index: uint32(rnd.IntN(8)), Reason: actual.ExitCrashed})
	case 25: // a crash of which the exit and the next heartbeat come in any order
		if i := some(); i.State.Live() {
			w.heartbeat(dea)
			i.State = actual.Crashed
			w.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
		}
	case 26: // a zone is lost, or returns
		w.zone(rnd, func(d *simDEA) { d.quiet = true }, func(d *simDEA) { d.quiet = false })
	case 27: // many DEAs tell empty lists, or nearly empty ones, or what they have
		few := rnd.IntN(2)
		w.zone(rnd, func(d *simDEA) { d.hides = max(len(d.list)-few, 1) }, func(d *simDEA) { d.hides = 0 })
	case 28: // the fleet is made larger by DEAs that take nothing
		if len(w.deas) < 24 {
			before := w.nextDEA
			w.addDEAs(6)
			w.each(before, w.nextDEA, closing)
		}
	case 29: // DEAs that have nothing are switched off
		maps.DeleteFunc(w.deas, func(_ string, d *simDEA) bool { return len(d.list) == 0 && len(w.deas) > 6 })
	case 30: // a person releases a hold on a loss
		if holds := massLosses(w.View()); len(holds) > 0 {
			clear(w.losses.of) // what is recorded as lost is to be started
			w.released = true
			_, _ = w.apply(w.term, []raftfsm.Record{raftfsm.HoldReleased{Name: holds[rnd.IntN(len(holds))].Name}})
			w.released = false
		}
	case 31: // nobody is heard, and no link tells of it
		w.faults.count("silences")
		w.hush = w.now.Add(4*hb + time.Duration(rnd.Int64N(int64(4*hb)))) // what was said before may still be under way
	case 32, 33: // the link of one node, or of all, is late
		w.faults.count("slow links")
		factor, d := int64(2+rnd.IntN(9)), time.Duration(rnd.Int64N(int64(15*hb)))
		for _, n := range w.nodes {
			if n == w.simNode || rnd.IntN(3) == 0 {
				w.slowDown(n, factor, d)
			}
		}
	case 34, 35: // one node does not hear some of the DEAs, or hears them again
		w.faults.count("deaf nodes")
		w.deafen(w.nodes[rnd.IntN(len(w.nodes))], float64(rnd.IntN(3))/4)
	case 36:
		for _, n := range w.nodes {
			n.earless = nil
		}
	case 37: // an instance whose DEA says a word that hm does not know, or no index
		w.makeOdd(some().GUID, oddWord)
	case 38:
		w.makeOdd(some().GUID, []oddKind{oddIndex, oddNameless}[rnd.IntN(2)])
	case 39, 40:
		w.garble(dea)
	case 41:
		w.share(rnd, dea)
	}
}

// startByCC has the Cloud Controller start the wanted instances of an app from an index on, as it does when somebody
// changes the app. It tells of the change as well.
func (w *world) startByCC(a desired.App, from uint32) {
	if a.Startable() && w.linkUp {
		for index := from; index < a.Instances; index++ {
			if l := w.obey(commands.Command{Action: commands.Start, App: a.Key, Index: index}); l != nil {
				l.byCC = true
			}
		}
		w.post("updated", func(in *Intake) { in.Updated(a.Key.Droplet) })
	}
}

// stopByCC has the Cloud Controller stop the instances of an app from an index on.
func (w *world) stopByCC(k app.Key, from uint32) {
	if !w.linkUp {
		return
	}
	for _, d := range w.deas {
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool {
			return i.App == k && i.Index >= from && i.State != actual.Crashed && !d.quiet
		})
	}
}

// restore replaces the record by what a snapshot of it says.
func (w *world) restore() {
	var b bytes.Buffer
	if err := w.View().WriteSnapshot(&b); err != nil {
		w.t.Fatal(err)
	}
	hash := w.View().Hash()
	state, err := raftfsm.RestoreState(&b)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.state, w.view = state, nil; w.View().Hash() != hash {
		w.t.Fatalf("I7: the restored state's hash is %s, not %s", w.View().Hash(), hash)
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
		if c.Action != commands.Start {
			continue
		}
		p := place{c.App, c.Index}
		if before, ok := last[p]; ok && c.at.Sub(before.at) < testPolicy.Grace && !w.confirmed(before) {
			t.Errorf("%s/%d was started at %v and again at %v", c.App, c.Index, before.at, c.at)
		}
		last[p] = c
	}
}

// confirmed reports whether the record says that a command's effect was heard.
func (w *world) confirmed(c sentCommand) bool {
	return slices.ContainsFunc(w.ended, func(id [16]byte) bool { return id == c.ID })
}
