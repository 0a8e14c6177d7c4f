package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

const (
	yearDEAs = 8
	yearApps = 25
	day      = 24 * time.Hour
	week     = 7 // days
)

// TestYear lets HM_TEST_DAYS virtual days of a small Cloud Foundry pass (two, if that is not set; `make year` has 365), with
// three nodes. On six days of a week apps are scaled, updated, replaced, crash in loops, and DEAs are replaced, so that
// after a week no DEA and no app of before is left; the nodes run all the time. On the seventh everything else goes wrong:
// nodes, the log, NATS, the Cloud Controller; restarts, elections, snapshots. Every command is checked, as in TestChaos.
//
// At the end of each day, once what is remembered for a while is forgotten, the recorded state has what the fleet of that
// day needs and nothing more, and no map, slice or tree of a node's loop is larger than it was on the first days.
func TestYear(t *testing.T) {
	days := 2
	if n, err := strconv.Atoi(os.Getenv("HM_TEST_DAYS")); err == nil {
		days = n
	}
	y := newYear(t)
	defer y.end()
	began := time.Now()
	for d := range days {
		if bad := y.day(d, days > week); bad != "" {
			t.Fatalf("day %d: %s", d, bad)
		}
		if days > week && (d%30 == 29 || d == days-1) {
			fmt.Fprintln(os.Stderr, y.figures(d), time.Since(began).Round(time.Second))
		}
	}
	t.Log(y.figures(days - 1))
}

// year is a world that goes on for long.
type year struct {
	*simCF
	rnd     *rand.Rand
	nextApp int
	starts  int
	stops   int
	largest map[string]int // of each map and slice of the nodes' loops, at the end of the first days
	state   int            // bytes of the largest snapshot at the end of a day
	heap    uint64         // at the end of the newest day
}

func newYear(t *testing.T) *year {
	opts := testOptions()
	opts.Policy.BackoffMax = 12 * hb
	opts.Guard.MassLossHold, opts.Guard.ConfirmReads = 10*hb, 4
	opts.ReadsApps = true
	cf := steadyFleet(t, yearDEAs, yearApps, opts)
	cf.t = inSchedule{t}
	y := &year{simCF: cf, rnd: rand.New(rand.NewPCG(1, 1)), nextApp: yearApps, largest: map[string]int{}}
	cf.faults = &faults{rnd: rand.New(rand.NewPCG(1, 3)), calm: true}
	cf.beginCluster(3)
	cf.truth.changed(cf)
	return y
}

func (y *year) end() {
	for _, n := range y.nodes {
		if n.process != nil {
			n.process.kill()
		}
	}
}

// day lets a day pass, and says what was wrong; empty: nothing was. If whole is false the rest of the day is left out.
func (y *year) day(d int, whole bool) (bad string) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case violation:
			bad = fmt.Sprintf("at %v: %s; what was done: %v", y.now, string(p), y.told[max(0, len(y.told)-20):])
		default:
			panic(p)
		}
	}()
	midnight := y.now.Add(day)
	if d%week == week-1 || !whole && d == 0 {
		y.badDay(d)
	} else {
		y.usualDay()
	}
	heal(y.simCF)
	y.truth.changed(y.simCF)
	converge(y.simCF)
	y.keepSize()
	converge(y.simCF)
	y.run(3 * y.opts.Policy.CrashMemory())
	if whole {
		y.run(midnight.Sub(y.now))
	}
	y.check(d)
	y.forget()
	return ""
}

// badDay brings faults of every kind.
func (y *year) badDay(d int) {
	y.faults.calm, y.faults.losses = false, d%2 == 0
	y.onStart = func(i *actual.Instance) {
		if y.faults.rnd.IntN(10) == 0 {
			i.State = actual.Crashed
		}
	}
	disturb(y.simCF, schedule{seed: uint64(d), faults: allFaults()}, maxFaults)
	checkTwice(y.simCF)
}

// usualDay replaces a part of the fleet, and lets apps crash and change.
func (y *year) usualDay() {
	for _, key := range y.oldest(2) { // DEAs that die for good; other DEAs have come before
		y.addDEAs(1)
		y.say("%s dies", key)
		y.deas[key].quiet = true
		y.pass(25 * hb)
		delete(y.deas, key)
	}
	for range yearApps/(week-1) + 1 {
		old := y.apps[0]
		y.say("%s is deleted, and another app comes", old.Key)
		y.stopByCC(old.Key, 0)
		y.apps = append(slices.Clone(y.apps[1:]), desired.App{Key: testKey(y.nextApp, 1), Instances: uint32(1 + y.rnd.IntN(5)), State: desired.Started, Package: desired.Staged})
		y.nextApp++
		y.startByCC(y.apps[len(y.apps)-1], 0)
		y.pass(hb)
	}
	for n := range y.apps { // each index crashes, some of them in a loop
		loops := 1 + 4*y.rnd.IntN(2)
		for range loops {
			for _, key := range y.deaKeys() {
				d := y.deas[key]
				for k := range d.list {
					if i := &d.list[k]; i.App == y.apps[n].Key && i.State == actual.Running {
						i.State = actual.Crashed
						y.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
					}
				}
			}
			y.pass(hb)
		}
		for _, d := range y.deas {
			d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.State == actual.Crashed })
		}
	}
	for n := range y.apps {
		switch a := &y.apps[n]; y.rnd.IntN(4) {
		case 0:
			a.Instances = uint32(1 + y.rnd.IntN(5))
		case 1:
			old := a.Key
			a.Key.Version = app.MustGUID(fmt.Sprintf("v%d", y.rnd.IntN(1e6)))
			y.startByCC(*a, 0)
			y.stopByCC(old, 0)
		}
		y.pass(hb)
	}
	for _, n := range y.nodes {
		n.compact() // a snapshot
	}
}

func (y *year) pass(d time.Duration) {
	y.truth.changed(y.simCF)
	y.run(d)
	settleStarting(y.simCF)
	checkSettled(y.simCF)
}

// oldest gives the keys of the DEAs that were there first.
func (y *year) oldest(n int) []string {
	keys := y.deaKeys()
	return keys[:min(n, len(keys))]
}

// keepSize switches DEAs off until there are as many as in the beginning, and gives the apps the size and the state that
// they may have lost.
func (y *year) keepSize() {
	maps.DeleteFunc(y.deas, func(_ string, d *simDEA) bool { return len(d.list) == 0 && len(y.deas) > yearDEAs })
	for len(y.deas) > yearDEAs {
		key := y.oldest(1)[0]
		y.deas[key].quiet = true
		y.pass(25 * hb)
		delete(y.deas, key)
	}
	for _, d := range y.deas {
		d.closed, d.nameless = false, 0
	}
	for _, d := range y.deas { // as a DEA does in time
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.State == actual.Crashed })
	}
	y.reportPlainly(append(slices.Collect(maps.Keys(y.misreported)), y.unreadable)...)
	for n := range y.apps {
		a := &y.apps[n]
		a.State, a.Package, a.Instances = desired.Started, desired.Staged, cmp.Or(min(a.Instances, 5), 1)
	}
	y.pass(40 * hb)
}

// check requires that what is recorded and remembered is no more than the fleet needs.
func (y *year) check(d int) {
	for _, n := range y.nodes {
		if !n.down {
			n.compact()
		}
	}
	v := y.View()
	c := v.Counts()
	crashes := 0
	for range v.AllCrashes() {
		crashes++
	}
	listed := map[app.Key]bool{} // what a DEA lists is recorded, whatever its state
	for _, d := range y.deas {
		for _, i := range d.list {
			listed[i.App] = true
		}
	}
	for a := range v.Apps() {
		if y.row(a.Key.Droplet).Key != a.Key && !listed[a.Key] {
			y.t.Fatalf("at the end of the day %v is recorded, which nobody wants and no DEA lists: %+v, instances %+v", a.Key, a, v.Instances(nil, a.Key))
		}
	}
	y.state = max(y.state, len(snapshotOf(y.simCF, v)))
	if c.DEAs != len(y.deas) || c.GoneDEAs != 0 || crashes != 0 || c.PendingStarts+c.PendingStops != 0 || len(v.Holds()) > 0 {
		y.t.Fatalf("at the end of the day %d DEAs are recorded and %d gone ones, there are %d; %d crash records; %d starts and %d stops wait; holds %v",
			c.DEAs, c.GoneDEAs, len(y.deas), crashes, c.PendingStarts, c.PendingStops, v.Holds())
	}
	for _, n := range y.nodes {
		if n.View().Hash() != v.Hash() {
			y.t.Fatalf("I7: node %d has another state", n.id)
		}
		found := map[string]int{}
		lengths(found, "core", n.core)
		lengths(found, "intake", n.intake)
		lengths(found, "ended", n.endedCommands)
		for path, size := range found {
			if path == "core.ended.ring" || path == "ended.ring" {
				continue // it fills up to a limit of its own
			}
			if d < 2*week {
				y.largest[path] = max(y.largest[path], size)
			} else if allowed := 2*y.largest[path] + 32; size > allowed {
				y.t.Fatalf("%s of node %d has %d elements, it had at most %d in the first two weeks", path, n.id, size, y.largest[path])
			}
		}
	}
	for _, cmd := range y.sent {
		if cmd.Action == commands.Start {
			y.starts++
		} else {
			y.stops++
		}
	}
}

// forget drops what the checks of the past day needed.
func (y *year) forget() {
	tr := &y.truth
	there := map[app.GUID]bool{}
	for _, d := range y.deas {
		for _, i := range d.list {
			there[i.GUID] = true
		}
	}
	maps.DeleteFunc(tr.lives, func(g app.GUID, _ *life) bool { return !there[g] })
	for g := range tr.history {
		if row := y.row(g); row == (desired.App{}) {
			delete(tr.history, g)
			delete(tr.seen, g)
		} else {
			tr.history[g], tr.seen[g] = []desired.App{row}, 0
		}
	}
	clear(tr.claims)
	clear(tr.created)
	clear(tr.published)
	clear(tr.counted)
	clear(tr.unlisted)
	clear(y.readAt)
	y.sent, y.ended, y.notes, y.told = nil, nil, nil, nil
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	y.heap = m.HeapAlloc
}

func (y *year) figures(d int) string {
	return fmt.Sprintf("%d days: entry %d, term %d; %d starts and %d stops; %d apps and %d DEAs have been; snapshot at most %d bytes; heap of the three nodes and the world %d KiB", d+1,
		y.index, y.term, y.starts, y.stops, y.nextApp, y.nextDEA, y.state, y.heap>>10)
}
