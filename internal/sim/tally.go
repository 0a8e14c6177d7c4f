package sim

import (
	"hm/actual"
	"hm/internal/app"
)

// tally counts desired against actual, for one droplet or for all. Instances on DEAs that cannot speak are in
// cutOff and nowhere else: no health manager can hear of them or stop them.
type tally struct {
	apps, wanted int // rows; rows of which instances may run
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

// at is what there is at one index.
type at struct{ starting, running, evacuating int }

// count compares a droplet's row, if there is one, with its instances. scratch is reused between calls.
func count(row Row, known bool, instances []*instance, scratch *[]at) tally {
	var t tally
	n := 0
	if known {
		t.apps = 1
		if row.Wanted() {
			t.wanted, n = 1, row.Instances
		}
	}
	if cap(*scratch) < n {
		*scratch = make([]at, n)
	}
	indices := (*scratch)[:n]
	clear(indices)
	for _, in := range instances {
		if !in.dea.speaks() {
			t.cutOff++
			continue
		}
		var here at
		switch in.state {
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
		if in.version != row.Version || int(in.index) >= n {
			t.undesired++
			continue
		}
		i := &indices[in.index]
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
		case at{running: 1}:
			t.settled++
		case at{}:
			t.missing++
		}
	}
	return t
}

// recount brings the totals up to date. lookup finds a droplet's row.
func (f *fleet) recount(lookup func(app.GUID) (Row, bool)) tally {
	var scratch []at
	for _, p := range f.dirty {
		row, known := lookup(p.droplet)
		f.totals.add(p.counted, -1)
		p.counted = count(row, known, p.instances, &scratch)
		f.totals.add(p.counted, 1)
		p.dirty = false
		if !known && len(p.instances) == 0 {
			delete(f.apps, p.droplet)
		}
	}
	clear(f.dirty)
	f.dirty = f.dirty[:0]
	return f.totals
}
