package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// place is one index of an app.
type place struct {
	key   app.Key
	index uint32
}

// claim claims and publishes what is due, within the throttle. It verifies every command against
// the present state. It claims at most one command for one index at a time: the next claim needs a
// state that shows this one. again reports that more is due.
func (c *Core) claim(ctx context.Context, now app.Time) (again bool, err error) {
	if len(c.ready.apps) == 0 || now < c.claimAt[0] && now < c.claimAt[1] {
		return false, nil
	}
	atOnce := cmp.Or(c.opts.ClaimsAtOnce, claimsPerEntry)
	view := c.log.View()
	allowed := c.claimAt // before this call uses up the limit
	c.throttle.StopLimit = c.stopLimit(view, now)
	c.queue.add(c.ready.update(view, c.opts.Policy.HeartbeatPeriod)...)
	taken := map[place]bool{}
	holds := map[app.Key][]dueCommand{} // what the plan of each app has ready in view
	know := c.deciding(now)
	var claims raftfsm.CommandsClaimed
	var claimed []claimedCommand
	for action := range c.ready.due {
		c.ready.visit(action, func(cmd commands.Command) (next visited) {
			where := place{cmd.App, cmd.Index}
			switch {
			case len(claims.Claims) == atOnce:
				again = true
				return visitedEnds
			case now < c.claimAt[action]:
				return visitedEnds
			case taken[where]:
				again = true
				return visitedStays
			}
			if pending, ok := view.Command(cmd.ID); !ok || pending.State != commands.Pending {
				c.queue.add(cmd.App) // somebody else ended it, for example a person; decide anew
				return visitedLeaves
			}
			due, planned := holds[cmd.App]
			if !planned {
				due = c.verified(view, cmd.App, know, now)
				holds[cmd.App] = due
			}
			at, still := slices.BinarySearchFunc(due, cmd.ID, dueCommand.compare)
			if !still {
				c.queue.add(cmd.App) // it is no longer due; its plan says why
				return visitedLeaves
			}
			if !c.throttle.Allow(cmd.Action, now) {
				c.claimAt[action] = c.throttle.Next(cmd.Action, now)
				return visitedEnds
			}
			taken[where] = true
			basis := view.Basis(cmd.App, cmd.Index)
			claims.Claims = append(claims.Claims, raftfsm.Claim{ID: cmd.ID, Term: c.term, Basis: basis})
			claimed = append(claimed, claimedCommand{cmd, due[at].rule, allowed[action]})
			return visitedLeaves
		})
	}
	if len(claimed) == 0 {
		return c.queue.len() > 0, nil
	}
	return again, c.publish(ctx, claims, claimed)
}

// claimedCommand is a command that is to be published, and the rule that asks for it.
type claimedCommand struct {
	commands.Command
	rule    string
	allowed app.Time // when the limit allowed it; 0: the limit was not used up
}

// dueCommand is a command that may be claimed, and the rule that asks for it.
type dueCommand struct {
	id   commands.ID
	rule string
}

func (d dueCommand) compare(id commands.ID) int { return bytes.Compare(d.id[:], id[:]) }

// verified gives the commands of an app that may still be claimed, sorted by id (R53, R54).
func (c *Core) verified(view *raftfsm.State, k app.Key, know Knowledge, now app.Time) []dueCommand {
	ready := c.eval.Plan(view, k, know, now).Ready
	due := make([]dueCommand, 0, len(ready))
	for i := 0; len(due) < len(ready); i++ { // Ready is in the order of the findings
		if f := &c.eval.app.Findings[i]; f.Command == ready[len(due)] {
			due = append(due, dueCommand{f.Command, f.Rule})
		}
	}
	slices.SortFunc(due, func(a, b dueCommand) int { return a.compare(b.id) })
	return due
}

// seededThrottle is a new leader's throttle: it counts what earlier leaders claimed within one
// heartbeat period.
func (c *Core) seededThrottle(now app.Time) commands.Throttle {
	throttle := commands.Throttle{
		StartLimit: c.opts.StartLimit, StopLimit: c.stopLimit(c.log.View(), now),
		Period: c.opts.Policy.HeartbeatPeriod,
	}
	var claimed []commands.Command
	recent := func(cmd commands.Command) {
		if cmd.ClaimedAt != 0 && now.Sub(cmd.ClaimedAt) < c.opts.Policy.HeartbeatPeriod {
			claimed = append(claimed, cmd)
		}
	}
	for cmd := range c.log.View().AllCommands() {
		recent(cmd)
	}
	for _, e := range c.ended.Newest(EndedKept) {
		recent(e.Command)
	}
	slices.SortFunc(claimed, func(a, b commands.Command) int { return int(a.ClaimedAt - b.ClaimedAt) })
	for _, cmd := range claimed {
		throttle.Seed(cmd.Action, cmd.ClaimedAt)
	}
	return throttle
}

// stopLimit is how many stops may be sent in a heartbeat period, 0 if there is no limit.
func (c *Core) stopLimit(view *raftfsm.State, now app.Time) int {
	limit := c.opts.StopLimit
	for _, h := range view.Holds() {
		if n := int(h.StopLimit); n > 0 && h.InForce(now) && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}
