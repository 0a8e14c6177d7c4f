package reconcile

import (
	"context"
	"fmt"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// firstPicture is about what a leader has heard when it first may act: at the begin of its
// leadership, and after a time in which it heard no DEA. If most of what is desired is missing from
// it, the hold first-picture is set.
type firstPicture struct {
	judged   bool // since what is heard became fresh
	holding  bool // the hold was seen
	accepted bool // the hold was seen and ended
}

// follow updates p by the gate's reasons and the hold, which a person may release at any time.
func (p *firstPicture) follow(view *raftfsm.State, reasons []string) {
	set := held(view, HoldFirstPicture)
	p.accepted = p.accepted || p.holding && !set
	p.holding = set
	unheard := slices.Contains(reasons, ReasonActualStale) || slices.Contains(reasons, ReasonNATSDown)
	if unheard && p.judged {
		p.judged, p.accepted = false, false
	}
}

// due reports whether the first picture is to be judged: what was heard and read is fresh. Holds do
// not matter.
func (p *firstPicture) due(reasons []string) bool { return !p.judged && onlyHeld(reasons) }

// checkFirstPicture holds all commands if nothing was heard of most desired instances. unsettled
// are the apps that Evaluator.Unsettled gives.
func (c *Core) checkFirstPicture(ctx context.Context, now app.Time, unsettled []app.Key) error {
	view := c.log.View()
	p := &c.firstPicture
	if p.holding || p.accepted || len(massLosses(view)) > 0 { // held, accepted by a person, or recorded as lost
		p.judged = true
		return nil
	}
	unheard := unheard(view, unsettled, func(commands.Command) bool { return true })
	if why := c.opts.Guard.Unheard(view, unheard); why != "" {
		hold := raftfsm.Hold{
			Name: HoldFirstPicture, Reason: why, By: holdBy, SetAt: now, Until: now.Add(c.opts.Guard.MassLossHold),
			Lost: raftfsm.NewPlaces(unheard),
		}
		c.logger.Warn("holding all commands: nothing was heard of most desired instances", "why", why, "until", hold.Until)
		if err := c.propose(ctx, raftfsm.HoldSet{Hold: hold}); err != nil {
			return fmt.Errorf("holding all commands: %w", err)
		}
		p.holding = true
	}
	p.judged = true
	return nil
}

// unheard gives the places of the given apps that hm would start and that it knows nothing about: no
// instance of any state or version is recorded there, and known is true for no outstanding start
// there. Its time is in proportion to the number of instances.
func unheard(view *raftfsm.State, keys []app.Key, known func(commands.Command) bool) []raftfsm.Place {
	return passFleet(func(p *fleetPass) []raftfsm.Place { return p.unheard(view, keys, known) })
}

func (p *fleetPass) unheard(view *raftfsm.State, keys []app.Key, known func(commands.Command) bool) []raftfsm.Place {
	var unheard []raftfsm.Place
	for _, k := range keys {
		a, ok := view.App(k)
		if !ok || !a.HasDesired || !a.Desired.Startable() {
			continue
		}
		p.forget(a.Desired.Instances)
		know := func(index uint32) {
			if index < a.Desired.Instances {
				p.known[index] = true
			}
		}
		view.EachCopy(k.Droplet, func(string) bool { return true }, func(_ string, i *actual.Instance) { know(i.Index) })
		for _, cmd := range view.Commands(k) {
			if cmd.Action == commands.Start && known(cmd) {
				know(cmd.Index)
			}
		}
		for index, is := range p.known {
			if !is {
				unheard = append(unheard, raftfsm.Place{App: k, Index: uint32(index)})
			}
		}
	}
	return unheard
}
