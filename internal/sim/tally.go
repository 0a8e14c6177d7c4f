package sim

import (
	"iter"
	"sync"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

// tally counts desired against actual, for one droplet or for all. Instances on DEAs that are cut off count in cutOff
// and nowhere else: no health manager can know of them or stop them.
type tally struct {
	apps, wanted int // rows; rows whose instances may run
	desired      int // indices that should run
	settled      int // of these, those with exactly one live instance, RUNNING, and none evacuating
	missing      int // of these, those with neither a live nor an evacuating instance
	duplicate    int // live instances beyond the first at a wanted index
	undesired    int // live and evacuating instances that no row wants
	starting     int
	running      int
	crashed      int
	evacuating   int
	cutOff       int
}

func (t *tally) add(o tally, sign int) {
	t.apps += sign * o.apps
	t.wanted += sign * o.wanted
	t.desired += sign * o.desired
	t.settled += sign * o.settled
	t.missing += sign * o.missing
	t.duplicate += sign * o.duplicate
	t.undesired += sign * o.undesired
	t.starting += sign * o.starting
	t.running += sign * o.running
	t.crashed += sign * o.crashed
	t.evacuating += sign * o.evacuating
	t.cutOff += sign * o.cutOff
}

// converged reports whether everything that should run runs once, and nothing else.
func (t *tally) converged() bool { return t.settled == t.desired && t.undesired == 0 }

// indexTally counts the instances at one index.
type indexTally struct{ starting, running, evacuating int }

// count compares a droplet's row, if there is one, with its instances. scratch is reused between calls.
func count(row cc.Row, known bool, instances iter.Seq[fleet.Instance], scratch *[]indexTally) tally {
	var t tally
	n := 0
	if known {
		t.apps = 1
		if row.Wanted() {
			t.wanted, n = 1, row.Instances
		}
	}
	if cap(*scratch) < n {
		*scratch = make([]indexTally, n)
	}
	indices := (*scratch)[:n]
	clear(indices)
	for in := range instances {
		if in.CutOff {
			t.cutOff++
			continue
		}
		var here indexTally
		switch in.State {
		case actual.Starting:
			here.starting = 1
		case actual.Running:
			here.running = 1
		case actual.Evacuating:
			here.evacuating = 1
		default:
			t.crashed++
			continue
		}
		t.starting += here.starting
		t.running += here.running
		t.evacuating += here.evacuating
		if in.App.Version != row.Version || int(in.Index) >= n {
			t.undesired++
			continue
		}
		i := &indices[in.Index]
		i.starting += here.starting
		i.running += here.running
		i.evacuating += here.evacuating
	}
	for _, i := range indices {
		t.duplicate += max(0, i.starting+i.running-1)
		if !row.Startable() {
			continue
		}
		t.desired++
		switch i {
		case indexTally{running: 1}:
			t.settled++
		case indexTally{}:
			t.missing++
		}
	}
	return t
}

// totals keeps the tally of every droplet and their sum, so that only droplets that changed are counted again.
type totals struct {
	mu      sync.Mutex
	sum     tally
	counted map[app.GUID]tally
	scratch []indexTally
}

func newTotals() totals { return totals{counted: map[app.GUID]tally{}} }

// recount brings the totals up to date.
func (t *totals) recount(f *fleet.Fleet, v cc.View) (tally, fleet.DEATotals) {
	t.mu.Lock()
	defer t.mu.Unlock()
	deas := f.Recount(func(droplet app.GUID, instances iter.Seq[fleet.Instance]) bool {
		row, known := v.App(droplet)
		t.sum.add(t.counted[droplet], -1)
		now := count(row, known, instances, &t.scratch)
		t.sum.add(now, 1)
		if now == (tally{}) {
			delete(t.counted, droplet)
		} else {
			t.counted[droplet] = now
		}
		return known
	})
	return t.sum, deas
}
