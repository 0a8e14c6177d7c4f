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

// picture is what a leader knows of its first picture: what it has heard when it may first act on it, at the beginning of
// a leadership and after nobody was heard.
type firstPicture struct {
	judged   bool // it has been judged since what is heard became fresh
	holding  bool // hold:first-picture was seen set
	accepted bool // it ended before the picture was judged
}

// follow takes note of the gate's reasons and of the hold, which a person may release at any time.
func (p *firstPicture) follow(view *raftfsm.State, reasons []string) {
	set := held(view, HoldFirstPicture)
	p.accepted = p.accepted || p.holding && !set
	p.holding = set
	unheard := slices.Contains(reasons, ReasonActualStale) || slices.Contains(reasons, ReasonNATSDown)
	if unheard && p.judged {
		p.judged, p.accepted = false, false
	}
}

// due reports whether the picture is to be judged: what is heard and read is fresh, whatever is held.
func (p *firstPicture) due(reasons []string) bool { return !p.judged && onlyHeld(reasons) }

// checkFirstPicture holds all commands if most of what is desired has not been heard of. unsettled are the apps that
// Evaluator.Unsettled gives.
func (c *Core) checkFirstPicture(ctx context.Context, now app.Time, unsettled []app.Key) error {
	view := c.log.View()
	if c.firstPicture.holding || c.firstPicture.accepted || len(massLosses(view)) > 0 { // it is held, or known, or recorded as lost
		c.firstPicture.judged = true
		return nil
	}
	unheard := c.eval.fleet.unheard(view, unsettled, func(commands.Command) bool { return true })
	if why := c.opts.Guard.Unheard(view, unheard); why != "" {
		hold := raftfsm.Hold{
			Name: HoldFirstPicture, Reason: why, By: holdBy, SetAt: now, Until: now.Add(c.opts.Guard.MassLossHold), Lost: raftfsm.NewPlaces(unheard),
		}
		c.logger.Warn("holding all commands: most of what is desired was not heard of", "why", why, "until", hold.Until)
		if err := c.propose(ctx, raftfsm.HoldSet{Hold: hold}); err != nil {
			return fmt.Errorf("holding all commands: %w", err)
		}
		c.firstPicture.holding = true
	}
	c.firstPicture.judged = true
	return nil
}

// unheard gives the places of the given apps that hm would start and of which nothing is known: no instance is recorded
// there, in whatever state or version, and no start is outstanding for which known holds. Its time is in proportion to
// what the apps have.
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
