package reconcile

import (
	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// surplus counts the live instances that are no measure for a loss: copies beside others, and
// instances that are not desired.
type surplus struct {
	n  int
	at app.Time // when it was counted; 0: never
}

// livePlaces gives how many desired places have a live copy, or more where the loss is clearly
// small. Counting takes a pass over the fleet: it is done when a loss comes near to a mass loss, at
// most once in a heartbeat period, and before the loss is judged as one.
func (c *Core) livePlaces(view *raftfsm.State, now app.Time, lost int) int {
	counts := view.Counts()
	live := counts.Starting + counts.Running
	g := c.opts.Guard
	if !g.much(2*lost, min(live, counts.DesiredInstances)) {
		return min(live, counts.DesiredInstances)
	}
	old := c.surplus.at == 0 || now.Sub(c.surplus.at) >= c.opts.Policy.HeartbeatPeriod
	if old || g.much(lost, live-c.surplus.n) {
		c.surplus = surplus{live - passFleet(func(p *fleetPass) int { return p.live(view) }), now}
	}
	return min(live-c.surplus.n, counts.DesiredInstances)
}

// live counts the desired places that have a live copy of any version.
func (p *fleetPass) live(view *raftfsm.State) (live int) {
	p.tally(view)
	view.EachDesired(func(h raftfsm.Handle, d desired.App) bool {
		switch {
		case !d.Startable():
		case p.tallies[h].Settled(d):
			live += int(d.Instances)
		default:
			p.forget(d.Instances)
			view.EachCopy(d.Key.Droplet, func(string) bool { return true }, func(_ string, i *actual.Instance) {
				if i.State.Live() && i.Index < d.Instances && !p.known[i.Index] {
					p.known[i.Index] = true
					live++
				}
			})
		}
		return true
	})
	return live
}
