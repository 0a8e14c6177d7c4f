package reconcile

import (
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
	"hm/internal/app"
	"hm/raftfsm"
)

// TestChaos runs schedules of faults, each from a seed: faults of the nodes, of their log, of the
// connections between them, of NATS, the DEAs and the Cloud Controller. Then it heals them. It checks
// every publish against the real state (I1, I2, I3), that the recorded desired state never goes back
// (I6), and that all nodes have the same state at the same entry (I7). In the end everything runs as
// desired (I9). HM_TEST_SEEDS sets the number of seeds and HM_TEST_FROM the first, HM_TEST_SEED runs one
// alone, and HM_TEST_FAULTS only the faults of it with these numbers, such as "3,17". In some of the
// schedules, or in all with HM_TEST_CELL=1, the nodes are those of a cell, and apps of another cell are
// on the same bus: nothing is ever sent for them (R65).
func TestChaos(t *testing.T) {
	first, seeds := uint64(0), uint64(40)
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_SEEDS"), 10, 32); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_FROM"), 10, 32); err == nil {
		first = n
	}
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	only := os.Getenv("HM_TEST_FAULTS")
	cell := os.Getenv("HM_TEST_CELL") != ""
	var mu sync.Mutex
	total, failed := map[string]int{}, 0
	t.Cleanup(func() { t.Logf("%d seeds, %d failed: %v", seeds, failed, total) })
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := schedule{seed: seed, faults: allFaults(), cell: cell || seed%cellEvery == cellEvery-1}
			if only != "" {
				s.faults = parseFaults(t, only)
			}
			r := s.run(t)
			mu.Lock()
			defer mu.Unlock()
			for what, n := range r.counts {
				total[what] += n
			}
			if r.violation != "" {
				failed++
				t.Error(s.report(t, r, failed <= maxShrunk && only == ""))
			}
		})
	}
}

// cellEvery is in how many schedules of TestChaos one is that of a cell.
const cellEvery = 4

// TestJunkChangesNoCommand: entries that cannot be read and name nothing that is known do not
// change any command, whatever else happens.
func TestJunkChangesNoCommand(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			plain := schedule{seed: seed, faults: allFaults(), unnoted: true}.run(t)
			junk := schedule{seed: seed, faults: allFaults(), unnoted: true, junk: true}.run(t)
			if plain.violation+junk.violation != "" {
				t.Fatal(plain.violation, junk.violation)
			}
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

// maxFaults is how many faults a schedule has.
const maxFaults = 60

// chaos makes the world of a schedule, brings its faults into it, and heals them.
func chaos(cf *simCF, s schedule) {
	rnd := rand.New(rand.NewPCG(s.seed, 2))
	if s.cell {
		cf.addForeign(12, 3)
	}
	cf.run(2 * hb)
	cf.faults = &faults{rnd: rand.New(rand.NewPCG(s.seed, 3)), losses: rnd.IntN(3) == 0}
	cf.beginCluster(3)
	cf.onStart = func(i *actual.Instance) {
		switch cf.faults.rnd.IntN(10) {
		case 0:
			i.State = actual.Crashed
		case 1, 2:
			i.State = actual.Starting
		}
	}
	cf.truth.changed(cf)
	cf.run(time.Duration(rnd.Int64N(int64(4 * hb))))
	disturb(cf, s, maxFaults)
	checkTwice(cf)
	heal(cf)
	cf.truth.changed(cf)
	converge(cf)
	if cf.opts.ReadsApps {
		thereAndBack(cf)
		converge(cf)
	}
}

// thereAndBack scales an app and, as soon as that has been read alone, scales it back. The next complete read is like the
// one before, but what is recorded is not.
func thereAndBack(cf *simCF) {
	i := slices.IndexFunc(cf.apps, func(a desired.App) bool { return a.Wanted() && cf.isOurs(a.Key.Droplet) })
	if i < 0 {
		return
	}
	before := cf.apps[i].Instances
	cf.say("%s is scaled, and scaled back", cf.apps[i].Key)
	scale := func(instances uint32) {
		cf.apps = slices.Clone(cf.apps) // a read under way has the list
		cf.apps[i].Instances = instances
		cf.truth.changed(cf)
	}
	scale(before + 1)
	cf.post("updated", func(in *Intake) { in.Updated(cf.apps[i].Key.Droplet) })
	for range 20 {
		if cf.run(100 * time.Millisecond); cf.recordedRow(cf.apps[i].Key.Droplet).Instances == before+1 {
			cf.faults.count("apps scaled back")
			break
		}
	}
	scale(before)
}

// disturb brings the first n faults of a schedule into the world, one after the other.
func disturb(cf *simCF, s schedule, n int) {
	busy, wrongUntil := false, app.Time(0)
	for i := range n {
		// Each fault has randomness of its own, so that it stays the same without the others.
		rnd := rand.New(rand.NewPCG(s.seed, uint64(10+i)))
		pause := time.Duration(rnd.Int64N(int64(2 * hb)))
		if s.has(i) {
			cf.number = i
			switch k := rnd.IntN(36); {
			case k == 20:
				cf.say("the Cloud Controller announces changes without end, or no more")
				busy = !busy
			case k == 21:
				if cf.answer == nil && !held(cf.View(), HoldDesiredShrink) { // else several short ones make a long one
					cf.say("the Cloud Controller's answers lack most apps for %v", cf.opts.PollInterval*2)
					cf.answer, wrongUntil = cf.tooLittle, cf.now.Add(cf.opts.PollInterval*2)
				}
			case k >= 24:
				nodeFault(cf, rnd)
			default:
				fault(cf, rnd)
			}
		}
		if s.cell && s.has(i) {
			cellFault(cf, rand.New(rand.NewPCG(s.seed, uint64(1000+i))))
		}
		cf.truth.changed(cf)
		for end := cf.now.Add(pause); cf.now < end; {
			if busy {
				cf.post("updated", func(in *Intake) { in.Updated(app.MustGUID("some-app")) })
			}
			cf.run(min(hb/2, end.Sub(cf.now)))
			if cf.now >= wrongUntil {
				cf.answer = nil
			}
		}
		settleStarting(cf)
		checkSettled(cf)
	}
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
	cf.mendCuts()
	for _, n := range cf.nodes {
		if n.notHeard = nil; n.linkDown {
			n.setNATS(true)
		}
		if n.down {
			n.boot()
			cf.networkChanged()
		}
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
func converge(cf *simCF) {
	cf.t.Helper()
	want := 0
	for _, a := range cf.apps {
		if a.Wanted() && a.Startable() && cf.isOurs(a.Key.Droplet) {
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
		cf.t.Fatalf("I9: after healing %d instances live, want %d; gate %v; drift %v; %+v", cf.live(), want, cf.core.gate, cf.drift(), cf.View().Counts())
	}
	for k, at := range cf.liveAtEach() {
		for index, n := range at {
			if cf.isOurs(k.Droplet) && (n != 1 || !cf.wanted(k, index)) {
				cf.t.Errorf("I9: %d live instances of %s/%d, wanted: %v", n, k, index, cf.wanted(k, index))
			}
		}
	}
	sent := len(cf.sent)
	cf.run(10 * hb)
	if len(cf.sent) != sent {
		cf.t.Errorf("I9: %d commands were sent at rest", len(cf.sent)-sent)
	}
}

// checkSettled requires that a full evaluation of every app that counts as settled has the plan that
// it is taken to have without one.
func checkSettled(cf *simCF) {
	cf.t.Helper()
	if n := cf.simNode; !n.runs() || n.process.busy || !n.lead().Leader {
		return
	}
	view, now := cf.simNode.View(), cf.simNode.Now()
	for a := range view.Apps() {
		if !Settled(view, a.Key) || view.HasCommands(a.Key) {
			continue
		}
		short := cf.core.eval.Plan(view, a.Key, cf.core.deciding(now), now)
		if p := cf.core.eval.App(view, a.Key, cf.core.deciding(now), now).Plan(); !reflect.DeepEqual(p, short) {
			cf.t.Fatalf("%v is taken for settled with the plan %+v, and its plan is %+v", a.Key, short, p)
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
		cf.say("%s falls silent, or is heard again", dea.id)
		dea.quiet = !dea.quiet
	case 1:
		cf.say("NATS goes down, or comes back")
		cf.setLink(!cf.linkUp)
	case 2:
		cf.say("the links of all nodes have a gap")
		cf.spell(true)
	case 3:
		to := cf.nodes[rnd.IntN(len(cf.nodes))]
		cf.say("node %d hands over to node %d", cf.id, to.id)
		if to != cf.simNode && cf.runs() {
			cf.handOver(to)
		}
	case 4:
		cf.say("node %d, which leads, is killed and started again", cf.id)
		cf.restartNode()
	case 5:
		cf.say("an instance on %s crashes", dea.id)
		if i := some(); i.State.Live() {
			i.State = actual.Crashed
			cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
		}
	case 6:
		cf.say("an instance on %s crashes, and nothing is said of it", dea.id)
		some().State = actual.Crashed
	case 7:
		cf.say("%s forgets some instances", dea.id)
		dea.list = slices.DeleteFunc(dea.list, func(i actual.Instance) bool { return i.State == actual.Crashed || rnd.IntN(5) == 0 })
	case 8:
		cf.say("%s evacuates", dea.id)
		for i := range dea.list {
			if dea.list[i].State.Live() {
				dea.list[i].State = actual.Evacuating
			}
		}
	case 9:
		cf.say("%s is scaled", a.Key)
		a.Instances = uint32(rnd.IntN(7))
	case 10:
		cf.say("%s is stopped or started", a.Key)
		a.State = desired.RunState(1 + rnd.IntN(2))
	case 11:
		cf.say("the staging of %s changes", a.Key)
		a.Package = desired.PackageState(1 + rnd.IntN(3))
	case 12:
		cf.say("%s gets another version", a.Key)
		a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(3)))
	case 13:
		cf.say("reads of the desired state fail, or work again")
		if cf.readErr = nil; rnd.IntN(2) == 0 {
			cf.readErr = errTest
		}
	case 14:
		cf.say("proposals fail, or work again")
		if cf.fail = nil; rnd.IntN(2) == 0 {
			cf.fail = errTest
		}
	case 15:
		cf.say("publishing fails, or works again")
		cf.pubErr = []error{nil, ErrNotSent, ErrRefused, errTest}[rnd.IntN(4)]
	case 16:
		cf.say("nobody obeys commands, or all do again")
		cf.nobodyObeys = !cf.nobodyObeys
	case 17: // somebody else starts a copy
		cf.say("somebody else starts a copy on %s", dea.id)
		if i := some(); i.State.Live() {
			dea.list = append(dea.list, cf.instance(i.App, i.Index, actual.Running))
		}
	case 18: // the Cloud Controller updates an app, starts its new instances and stops the old ones
		cf.say("the Cloud Controller updates %s", a.Key)
		old := a.Key
		a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(1000)))
		cf.startByCC(*a, 0)
		cf.stopByCC(old, 0)
	case 19: // the Cloud Controller scales an app
		cf.say("the Cloud Controller scales %s", a.Key)
		if n := uint32(rnd.IntN(7)); n > a.Instances {
			from := a.Instances
			a.Instances = n
			cf.startByCC(*a, from)
		} else {
			a.Instances = n
			cf.stopByCC(a.Key, n)
		}
	case 20, 21:
		cf.say("entries of %s cannot be read and name nothing, or can be read", dea.id)
		dea.nameless = rnd.IntN(3)
	case 22:
		cf.say("the entry of an instance on %s cannot be read, or all can be read", dea.id)
		if cf.reportPlainly(cf.unreadable); rnd.IntN(2) == 0 {
			cf.unreadable, cf.unreadableSince = some().GUID, cf.now
		}
	case 23: // a node that comes back from a snapshot
		n := cf.nodes[rnd.IntN(len(cf.nodes))]
		cf.say("node %d is killed and started again from a snapshot", n.id)
		n.compact()
		n.restartNode()
	case 24:
		cf.say("an old exit of %s comes", a.Key)
		// an exit at an index that nobody wants, or of long ago
		cf.exit(actual.Exit{App: a.Key, Instance: app.MustGUID(fmt.Sprintf("old-%d", rnd.IntN(1e9))), Index: uint32(rnd.IntN(8)), Reason: actual.ExitCrashed})
	case 25: // a crash of which the exit and the next heartbeat come in any order
		cf.say("an instance on %s crashes just after a heartbeat", dea.id)
		if i := some(); i.State.Live() {
			cf.heartbeat(dea)
			i.State = actual.Crashed
			cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
		}
	case 26:
		cf.say("a zone is lost, or returns")
		cf.zone(rnd, func(d *simDEA) { d.quiet = true }, func(d *simDEA) { d.quiet = false })
	case 27:
		cf.say("many DEAs tell empty lists, or nearly empty ones, or what they have")
		few := rnd.IntN(2)
		cf.zone(rnd, func(d *simDEA) { d.omits = max(len(d.list)-few, 1) }, func(d *simDEA) { d.omits = 0 })
	case 28:
		cf.say("the fleet is made larger by DEAs that take nothing")
		if len(cf.deas) < 24 {
			before := cf.nextDEA
			cf.addDEAs(6)
			cf.each(before, cf.nextDEA, closing)
		}
	case 29:
		cf.say("DEAs that have nothing are switched off")
		maps.DeleteFunc(cf.deas, func(_ string, d *simDEA) bool { return len(d.list) == 0 && len(cf.deas) > 6 })
	case 30:
		cf.say("a person releases a hold on a loss")
		if holds := massLosses(cf.View()); len(holds) > 0 && cf.runs() {
			cf.byAPerson(raftfsm.HoldReleased{Name: holds[rnd.IntN(len(holds))].Name})
		}
	case 31:
		cf.say("nobody is heard, and no link tells of it")
		cf.faults.count("silences")
		cf.silentUntil = cf.now.Add(4*hb + time.Duration(rnd.Int64N(int64(4*hb)))) // what was said before may still be under way
	case 32, 33:
		cf.say("links are late")
		cf.faults.count("slow links")
		factor, d := int64(2+rnd.IntN(9)), time.Duration(rnd.Int64N(int64(15*hb)))
		for _, n := range cf.nodes {
			if n == cf.simNode || rnd.IntN(3) == 0 {
				cf.slowDown(n, factor, d)
			}
		}
	case 34, 35:
		n := cf.nodes[rnd.IntN(len(cf.nodes))]
		cf.say("node %d does not hear some of the DEAs, or hears them again", n.id)
		cf.faults.count("deaf nodes")
		cf.makePartlyDeaf(rnd, n, float64(rnd.IntN(3))/4)
	case 36:
		cf.say("every node hears all DEAs again")
		for _, n := range cf.nodes {
			n.notHeard = nil
		}
	case 37:
		cf.say("%s tells an unknown state of an instance, or tells it plainly", dea.id)
		cf.setMisreported(some().GUID, unknownState)
	case 38:
		cf.say("%s tells no index of an instance, or tells it plainly", dea.id)
		cf.setMisreported(some().GUID, []misreportKind{noIndex, noIndexNoGUID}[rnd.IntN(2)])
	case 39, 40:
		cf.say("%s sends what cannot be decoded, or ceases to", dea.id)
		cf.garble(dea)
	case 41:
		cf.say("%s shares its id with another DEA, or ceases to", dea.id)
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
func checkTwice(cf *simCF) {
	type place struct {
		k     app.Key
		index uint32
	}
	last := map[place]sentCommand{}
	ids := map[string]bool{}
	for _, c := range cf.sent {
		if id := fmt.Sprintf("%x", c.ID); ids[id] {
			cf.t.Errorf("I2: command %s was published twice", id)
		} else {
			ids[id] = true
		}
		if c.Action != commands.Start {
			continue
		}
		p := place{c.App, c.Index}
		if before, ok := last[p]; ok && c.at.Sub(before.at) < testPolicy.Grace-cf.slack()-cf.opts.ClaimLease && !cf.confirmed(before) {
			cf.t.Errorf("I2: %s/%d was started at %v and again at %v", c.App, c.Index, before.at, c.at)
		}
		last[p] = c
	}
}

// confirmed reports whether the record says that a command's effect was heard.
func (cf *simCF) confirmed(c sentCommand) bool {
	return slices.ContainsFunc(cf.ended, func(id [16]byte) bool { return id == c.ID })
}
