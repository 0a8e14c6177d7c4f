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

// TestChaos puts every kind of fault into a simulation, by seed, then heals it. It checks every
// publish against the real state (I1, I2, I3), and that the recorded desired state never goes back.
// In the end everything runs as desired (I9). HM_TEST_SEEDS sets the number of seeds, HM_TEST_SEED
// runs one alone.
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
			cf := chaos(t, rand.New(rand.NewPCG(seed, 1)), false)
			mu.Lock()
			defer mu.Unlock()
			for what, n := range cf.faults.counts {
				total[what] += n
			}
			total["commands sent"] += len(cf.sent)
		})
	}
}

// TestJunkChangesNoCommand: entries that cannot be read and name nothing that is known do not
// change any command, whatever else happens.
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

func chaos(t *testing.T, rnd *rand.Rand, junk bool) *simCF {
	opts := testOptions()
	opts.StartLimit = []int{0, 5, 60}[rnd.IntN(3)]
	opts.ReadsApps = rnd.IntN(2) == 0
	opts.Policy.BackoffMax = 12 * hb
	opts.Guard.MassLossHold, opts.Guard.ConfirmReads = 10*hb, 4
	opts.partBytes = 300
	cf := steadyFleet(t, 6+rnd.IntN(8), 25, opts)
	cf.junk = junk
	cf.run(2 * hb)
	other := &simNode{}
	cf.open(other)
	cf.nodes = append(cf.nodes, other)
	cf.faults = &faults{rnd: rnd, losses: rnd.IntN(3) == 0}
	cf.onStart = func(i *actual.Instance) {
		switch rnd.IntN(10) {
		case 0:
			i.State = actual.Crashed
		case 1, 2:
			i.State = actual.Starting
		}
	}
	cf.truth.changed(cf)
	busy, wrongUntil := false, app.Time(0)
	for range 60 {
		switch n := rnd.IntN(24); n {
		case 20:
			busy = !busy
		case 21:
			if cf.answer == nil && !held(cf.View(), HoldDesiredShrink) { // else several short ones make a long one
				cf.answer, wrongUntil = cf.tooLittle, cf.now.Add(opts.PollInterval*2)
			}
		default:
			fault(cf, rnd)
		}
		cf.truth.changed(cf)
		for end := cf.now.Add(time.Duration(rnd.Int64N(int64(2 * hb)))); cf.now < end; {
			if busy {
				cf.post("updated", func(in *Intake) { in.Updated(app.MustGUID("some-app")) })
			}
			cf.run(min(hb/2, end.Sub(cf.now)))
			if cf.now >= wrongUntil {
				cf.answer = nil
			}
		}
		settleStarting(cf)
		checkSettled(t, cf)
	}
	checkTwice(t, cf)
	heal(cf)
	cf.truth.changed(cf)
	converge(t, cf, rnd)
	return cf
}

// tooLittle is a wrong answer of the Cloud Controller that lacks most apps, if there are enough
// apps for the guard to notice.
func (cf *simCF) tooLittle(apps []desired.App) []desired.App {
	if cf.View().DesiredMeta().Apps < cf.opts.Guard.MinApps {
		return apps
	}
	return apps[:min(5, len(apps))]
}

// heal ends every fault. Entries that cannot be read remain.
func heal(cf *simCF) {
	cf.setLink(true)
	cf.readErr, cf.fail, cf.pubErr, cf.onStart, cf.nobodyObeys, cf.answer = nil, nil, nil, nil, false, nil
	cf.faults.calm = true
	for _, n := range cf.nodes {
		n.notHeard = nil
	}
	cf.reportPlainly(append(slices.Collect(maps.Keys(cf.misreported)), cf.unreadable)...)
	for _, key := range cf.deaKeys() {
		d := cf.deas[key]
		d.quiet, d.omits = false, 0
		if d.garbles {
			cf.garble(d)
		}
		if len(cf.sharers(d)) > 0 {
			cf.share(nil, d)
		}
	}
	cf.addDEAs(1)
	for i := range cf.apps {
		if cf.apps[i].Package == desired.Pending {
			cf.apps[i].Package = desired.Staged
		}
	}
}

// converge requires that everything comes to run as desired, and that no command is sent afterwards
// (I9).
func converge(t *testing.T, cf *simCF, rnd *rand.Rand) {
	want := 0
	for _, a := range cf.apps {
		if a.Wanted() && a.Startable() {
			want += int(a.Instances)
		}
	}
	converged := func() bool {
		settleStarting(cf)
		c := cf.View().Counts()
		return len(cf.core.gate) == 0 && len(cf.drift()) == 0 && cf.live() == want && c.PendingStarts+c.PendingStops == 0
	}
	for range 30 { // the longest back-off is 12 heartbeats, a held loss 10, a held read 24, stops that are slowed 60
		if cf.run(10 * hb); converged() {
			break
		}
	}
	if !converged() {
		t.Fatalf("after healing %d instances live, want %d; gate %v; drift %v; %+v", cf.live(), want, cf.core.gate, cf.drift(), cf.View().Counts())
	}
	for k, at := range cf.liveAtEach() {
		for index, n := range at {
			if n != 1 || !cf.wanted(k, index) {
				t.Errorf("%d live instances of %s/%d, wanted: %v", n, k, index, cf.wanted(k, index))
			}
		}
	}
	sent := len(cf.sent)
	cf.run(10 * hb)
	if len(cf.sent) != sent {
		t.Errorf("%d commands were sent at rest", len(cf.sent)-sent)
	}
}

// checkSettled requires that a full evaluation of every app that counts as settled has an empty
// plan.
func checkSettled(t *testing.T, cf *simCF) {
	t.Helper()
	view := cf.View()
	for a := range view.Apps() {
		if !Settled(view, a.Key) || view.HasCommands(a.Key) {
			continue
		}
		if p := cf.core.eval.App(view, a.Key, cf.core.deciding(cf.now), cf.now).Plan(); !reflect.DeepEqual(p, diff.Plan{}) {
			t.Fatalf("%v is taken for settled, and its plan is %+v", a.Key, p)
		}
	}
}

func fault(cf *simCF, rnd *rand.Rand) {
	ids := slices.Sorted(maps.Keys(cf.deas))
	dea := cf.deas[ids[rnd.IntN(len(ids))]]
	some := func() *actual.Instance {
		if len(dea.list) == 0 {
			return &actual.Instance{}
		}
		return &dea.list[rnd.IntN(len(dea.list))]
	}
	a := &cf.apps[rnd.IntN(len(cf.apps))]
	n := rnd.IntN(37)
	if cf.faults.losses {
		n = rnd.IntN(42)
	} else if n >= 26 {
		n += 5
	}
	switch n {
	case 0:
		dea.quiet = !dea.quiet
	case 1:
		cf.setLink(!cf.linkUp)
	case 2:
		cf.spell(true)
	case 3:
		cf.faults.elect(cf)
	case 4:
		cf.restart()
	case 5:
		if i := some(); i.State.Live() {
			i.State = actual.Crashed
			cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
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
		if cf.readErr = nil; rnd.IntN(2) == 0 {
			cf.readErr = errTest
		}
	case 14:
		if cf.fail = nil; rnd.IntN(2) == 0 {
			cf.fail = errTest
		}
	case 15:
		cf.pubErr = []error{nil, ErrNotSent, ErrRefused, errTest}[rnd.IntN(4)]
	case 16:
		cf.nobodyObeys = !cf.nobodyObeys
	case 17: // somebody else starts a copy
		if i := some(); i.State.Live() {
			dea.list = append(dea.list, cf.instance(i.App, i.Index, actual.Running))
		}
	case 18: // the Cloud Controller updates an app, starts its new instances and stops the old ones
		old := a.Key
		a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(1000)))
		cf.startByCC(*a, 0)
		cf.stopByCC(old, 0)
	case 19: // the Cloud Controller scales an app
		if n := uint32(rnd.IntN(7)); n > a.Instances {
			from := a.Instances
			a.Instances = n
			cf.startByCC(*a, from)
		} else {
			a.Instances = n
			cf.stopByCC(a.Key, n)
		}
	case 20, 21:
		dea.nameless = rnd.IntN(3)
	case 22:
		if cf.reportPlainly(cf.unreadable); rnd.IntN(2) == 0 {
			cf.unreadable = some().GUID
		}
	case 23: // a node that comes back from a snapshot
		cf.restore()
	case 24: // an exit at an index that nobody wants, or of long ago
		cf.exit(actual.Exit{App: a.Key, Instance: app.MustGUID(fmt.Sprintf("old-%d", rnd.IntN(1e9))), Index: uint32(rnd.IntN(8)), Reason: actual.ExitCrashed})
	case 25: // a crash of which the exit and the next heartbeat come in any order
		if i := some(); i.State.Live() {
			cf.heartbeat(dea)
			i.State = actual.Crashed
			cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
		}
	case 26: // a zone is lost, or returns
		cf.zone(rnd, func(d *simDEA) { d.quiet = true }, func(d *simDEA) { d.quiet = false })
	case 27: // many DEAs tell empty lists, or nearly empty ones, or what they have
		few := rnd.IntN(2)
		cf.zone(rnd, func(d *simDEA) { d.omits = max(len(d.list)-few, 1) }, func(d *simDEA) { d.omits = 0 })
	case 28: // the fleet is made larger by DEAs that take nothing
		if len(cf.deas) < 24 {
			before := cf.nextDEA
			cf.addDEAs(6)
			cf.each(before, cf.nextDEA, closing)
		}
	case 29: // DEAs that have nothing are switched off
		maps.DeleteFunc(cf.deas, func(_ string, d *simDEA) bool { return len(d.list) == 0 && len(cf.deas) > 6 })
	case 30: // a person releases a hold on a loss
		if holds := massLosses(cf.View()); len(holds) > 0 {
			clear(cf.losses.of) // what is recorded as lost is to be started
			cf.released = true
			_, _ = cf.apply(cf.term, []raftfsm.Record{raftfsm.HoldReleased{Name: holds[rnd.IntN(len(holds))].Name}})
			cf.released = false
		}
	case 31: // nobody is heard, and no link tells of it
		cf.faults.count("silences")
		cf.silentUntil = cf.now.Add(4*hb + time.Duration(rnd.Int64N(int64(4*hb)))) // what was said before may still be under way
	case 32, 33: // the link of one node, or of all, is late
		cf.faults.count("slow links")
		factor, d := int64(2+rnd.IntN(9)), time.Duration(rnd.Int64N(int64(15*hb)))
		for _, n := range cf.nodes {
			if n == cf.simNode || rnd.IntN(3) == 0 {
				cf.slowDown(n, factor, d)
			}
		}
	case 34, 35: // one node does not hear some of the DEAs, or hears them again
		cf.faults.count("deaf nodes")
		cf.makePartlyDeaf(cf.nodes[rnd.IntN(len(cf.nodes))], float64(rnd.IntN(3))/4)
	case 36:
		for _, n := range cf.nodes {
			n.notHeard = nil
		}
	case 37: // an instance whose DEA says a word that hm does not know, or no index
		cf.setMisreported(some().GUID, unknownState)
	case 38:
		cf.setMisreported(some().GUID, []misreportKind{noIndex, noIndexNoGUID}[rnd.IntN(2)])
	case 39, 40:
		cf.garble(dea)
	case 41:
		cf.share(rnd, dea)
	}
}

// startByCC makes the Cloud Controller start the wanted instances of an app from an index on, as it
// does when a person changes the app. It announces the change, too.
func (cf *simCF) startByCC(a desired.App, from uint32) {
	if a.Startable() && cf.linkUp {
		for index := from; index < a.Instances; index++ {
			if l := cf.obey(commands.Command{Action: commands.Start, App: a.Key, Index: index}); l != nil {
				l.byCC = true
			}
		}
		cf.post("updated", func(in *Intake) { in.Updated(a.Key.Droplet) })
	}
}

// stopByCC makes the Cloud Controller stop the instances of an app from an index on.
func (cf *simCF) stopByCC(k app.Key, from uint32) {
	if !cf.linkUp {
		return
	}
	for _, d := range cf.deas {
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool {
			return i.App == k && i.Index >= from && i.State != actual.Crashed && !d.quiet
		})
	}
}

// restore replaces the state by one that was restored from its snapshot.
func (cf *simCF) restore() {
	var b bytes.Buffer
	if err := cf.View().WriteSnapshot(&b); err != nil {
		cf.t.Fatal(err)
	}
	hash := cf.View().Hash()
	state, err := raftfsm.RestoreState(&b)
	if err != nil {
		cf.t.Fatal(err)
	}
	if cf.state, cf.view = state, nil; cf.View().Hash() != hash {
		cf.t.Fatalf("I7: the restored state's hash is %s, not %s", cf.View().Hash(), hash)
	}
}

// settleStarting makes all starting instances run.
func settleStarting(cf *simCF) {
	for _, d := range cf.deas {
		for i := range d.list {
			if d.list[i].State == actual.Starting {
				d.list[i].State = actual.Running
			}
		}
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.App.Droplet.IsZero() })
	}
}

// checkTwice requires that two starts of one index lie at least a grace apart, unless the effect of
// the first was heard (I2).
func checkTwice(t *testing.T, cf *simCF) {
	type place struct {
		k     app.Key
		index uint32
	}
	last := map[place]sentCommand{}
	ids := map[string]bool{}
	for _, c := range cf.sent {
		if id := fmt.Sprintf("%x", c.ID); ids[id] {
			t.Errorf("command %s was published twice", id)
		} else {
			ids[id] = true
		}
		if c.Action != commands.Start {
			continue
		}
		p := place{c.App, c.Index}
		if before, ok := last[p]; ok && c.at.Sub(before.at) < testPolicy.Grace && !cf.confirmed(before) {
			t.Errorf("%s/%d was started at %v and again at %v", c.App, c.Index, before.at, c.at)
		}
		last[p] = c
	}
}

// confirmed reports whether the record says that a command's effect was heard.
func (cf *simCF) confirmed(c sentCommand) bool {
	return slices.ContainsFunc(cf.ended, func(id [16]byte) bool { return id == c.ID })
}
