package reconcile

import (
	"slices"
	"sync"

	"hm/actual"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// fleetPasses keeps the buffers of passes over the fleet for further ones that come soon. Those of a fleet with 500,000
// apps take 12 MB.
var fleetPasses = sync.Pool{New: func() any { return new(fleetPass) }}

// passFleet gives what a pass over the fleet finds.
func passFleet[T any](find func(*fleetPass) T) T {
	p := fleetPasses.Get().(*fleetPass)
	defer fleetPasses.Put(p)
	return find(p)
}

// fleetPass looks at every instance of the fleet.
type fleetPass struct {
	tallies []diff.Tally
	desired []bool
	found   []raftfsm.Handle
	known   []bool // by index of one app
}

// unsettled gives the keys of all apps that diff.App may find something about at now or that have
// outstanding commands, sorted, and from when on further apps may be among them although the record has not changed, 0 for
// never. It reads every instance once (I9: the anti-entropy pass).
func (p *fleetPass) unsettled(view *raftfsm.State, policy diff.Policy, now app.Time) (keys []app.Key, until app.Time) {
	p.tally(view)
	p.desired = slices.Grow(p.desired[:0], len(p.tallies))[:len(p.tallies)]
	clear(p.desired)
	found := p.found[:0]
	view.EachUnnamed(func(h raftfsm.Handle, d desired.App) bool {
		p.desired[h] = true
		t := &p.tallies[h]
		stuckAt := t.StuckAt(policy)
		switch {
		case !t.Settled(d) || stuckAt != 0 && stuckAt <= now:
			found = append(found, h)
		case stuckAt != 0 && (until == 0 || stuckAt < until):
			until = stuckAt
		}
		return true
	})
	for h := range p.tallies {
		if !p.desired[h] && !p.tallies[h].SettledUndesired() {
			found = append(found, raftfsm.Handle(h))
		}
	}
	p.found = found
	keys = make([]app.Key, 0, len(found)+view.Counts().PendingStarts+view.Counts().PendingStops)
	for _, h := range found {
		if k, ok := view.KeyOf(h); ok {
			keys = append(keys, k)
		}
	}
	for c := range view.AllCommands() {
		keys = append(keys, c.App)
	}
	slices.SortFunc(keys, app.Key.Compare)
	return slices.Compact(keys), until
}

// tally sums up the recorded instances of each app.
func (p *fleetPass) tally(view *raftfsm.State) {
	n := view.Handles()
	p.tallies = slices.Grow(p.tallies[:0], n)[:n]
	clear(p.tallies)
	view.EachInstance(func(h raftfsm.Handle, index uint32, s actual.State, heard app.Time) {
		p.tallies[h].Add(index, s, heard)
	})
}

// forget has known say nothing of so many indices.
func (p *fleetPass) forget(indices uint32) {
	p.known = slices.Grow(p.known[:0], int(indices))[:indices]
	clear(p.known)
}
