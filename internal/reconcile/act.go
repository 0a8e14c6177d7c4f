package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// act evaluates what is queued and sends what is due. It is called behind an open gate only. more reports that
// there is work left for the next step at once.
func (c *Core) act(ctx context.Context, now app.Time) (more bool, err error) {
	for range 4 { // what a plan records is evaluated again, so that what it made due is found; more waits for the next step
		keys, left := c.queue.take(now, appsPerEvaluation)
		if len(keys) == 0 {
			break
		}
		if err := c.plan(ctx, now, keys); err != nil {
			c.queue.add(keys...)
			return false, err
		}
		more = left || c.queue.len() > 0
	}
	claimed, err := c.claim(ctx, now)
	return more || claimed, err
}

// plan evaluates apps, and records what is scheduled for them and what ends.
func (c *Core) plan(ctx context.Context, now app.Time, keys []app.Key) error {
	view := c.log.View()
	know := c.deciding(now)
	var scheduled raftfsm.CommandsScheduled
	var ended raftfsm.CommandsResolved
	for _, k := range keys {
		p := c.eval.Plan(view, k, know, now)
		c.queue.wake(k, p.Next)
		if p.WantsRead {
			if _, read := c.reads.apps[k.Droplet]; !read || p.NeedsRead { // else it was read by itself, after the newest complete read
				c.reads.wanted = true
			}
			c.queue.block(k)
		}
		for _, id := range p.Ready {
			c.ready.add(id, k)
		}
		for _, op := range p.Ops {
			if op.Schedule.ID.IsZero() {
				ended.Outcomes = append(ended.Outcomes, raftfsm.Outcome{ID: op.End, State: op.Outcome, Detail: c.refused.detail(op)})
			} else {
				scheduled.Commands = append(scheduled.Commands, op.Schedule)
			}
		}
	}
	// A target's old command ends before its new one is scheduled.
	var records []raftfsm.Record
	if len(ended.Outcomes) > 0 {
		records = append(records, ended)
	}
	if len(scheduled.Commands) > 0 {
		records = append(records, scheduled)
	}
	if len(records) == 0 {
		return nil
	}
	if err := c.propose(ctx, records...); err != nil {
		return fmt.Errorf("recording a plan of %d commands, %d ended: %w", len(scheduled.Commands), len(ended.Outcomes), err)
	}
	return nil
}

// place is an index of an app.
type place struct {
	key   app.Key
	index uint32
}

// claim claims and publishes what is due, within the throttle. Every command is verified against the state of
// this moment. At one index at most one command is claimed at a time: the claim of the next one needs a state
// that shows this one.
func (c *Core) claim(ctx context.Context, now app.Time) (again bool, err error) {
	if len(c.ready.apps) == 0 || now < c.claimAt[0] && now < c.claimAt[1] {
		return false, nil
	}
	view := c.log.View()
	c.throttle.StopLimit = c.stopLimit(view, now)
	c.queue.add(c.ready.update(view, c.opts.Policy.HeartbeatPeriod)...)
	taken := map[place]bool{}
	holds := map[app.Key][]commands.ID{} // what an app's plan has ready in view: made once, however much is due
	know := c.deciding(now)
	var claims raftfsm.CommandsClaimed
	var claimed []commands.Command
	for action := range c.ready.due {
		c.ready.walk(action, func(cmd commands.Command) (next walk) {
			at := place{cmd.App, cmd.Index}
			switch {
			case len(claims.Claims) == claimsPerEntry:
				again = true
				return walkStop
			case now < c.claimAt[action]:
				return walkStop
			case taken[at]:
				again = true
				return walkKeep
			}
			if pending, ok := view.Command(cmd.ID); !ok || pending.State != commands.Pending {
				c.queue.add(cmd.App) // somebody else ended it, as a person may: what it was for is still to be done
				return walkDrop
			}
			due, planned := holds[cmd.App]
			if !planned {
				due = c.verified(view, cmd.App, know, now)
				holds[cmd.App] = due
			}
			if _, still := slices.BinarySearchFunc(due, cmd.ID, compareIDs); !still {
				c.queue.add(cmd.App) // it is dropped, or waits for something: its plan says
				return walkDrop
			}
			if !c.throttle.Allow(cmd.Action, now) {
				c.claimAt[action] = c.throttle.Next(cmd.Action, now)
				return walkStop
			}
			taken[at] = true
			claims.Claims = append(claims.Claims, raftfsm.Claim{ID: cmd.ID, Term: c.term, Basis: view.Basis(cmd.App, cmd.Index)})
			claimed = append(claimed, cmd)
			return walkDrop
		})
	}
	if len(claimed) == 0 {
		return c.queue.len() > 0, nil
	}
	return again, c.publish(ctx, claims, claimed)
}

// verified gives those of an app's due commands that still hold, sorted (R53, R54).
func (c *Core) verified(view *raftfsm.State, k app.Key, know Knowledge, now app.Time) []commands.ID {
	ready := slices.Clone(c.eval.Plan(view, k, know, now).Ready)
	slices.SortFunc(ready, compareIDs)
	return ready
}

func compareIDs(a, b commands.ID) int { return bytes.Compare(a[:], b[:]) }

// publish has claims committed and sends what was granted, once (I2). Whatever happens, a granted claim is never
// published again: it ends as sent, or as abandoned if it surely was not. One that the bus refuses stays claimed until
// its time is over: to try it again at once would be refused again.
func (c *Core) publish(ctx context.Context, claims raftfsm.CommandsClaimed, cmds []commands.Command) error {
	asked, suspended := c.log.Now(), c.log.Suspended()
	results, err := c.log.Propose(ctx, claims)
	if err != nil {
		for _, cmd := range cmds {
			c.ready.add(cmd.ID, cmd.App) // those that were not claimed
		}
		return fmt.Errorf("claiming %d commands: %w", len(cmds), err)
	}
	refused := map[commands.ID]bool{}
	view := c.log.View()
	for _, r := range results {
		c.touched(view, r.Touched)
		for _, f := range r.Refused {
			refused[f.ID] = true
		}
	}
	var granted []commands.Command
	for _, cmd := range cmds {
		if refused[cmd.ID] {
			c.queue.add(cmd.App) // something changed since: decide again
			continue
		}
		granted = append(granted, cmd)
	}
	if c.opts.Shadow {
		// Left claimed: each ends when its effect is heard, because somebody else commands, or when it expires.
		c.logger.Info("shadow: decided, not published", "commands", len(granted))
		return nil
	}
	var outcomes raftfsm.CommandsResolved
	for i, err := range c.send(ctx, asked, suspended, granted) {
		o := raftfsm.Outcome{ID: granted[i].ID, State: commands.Sent}
		switch {
		case errors.Is(err, ErrRefused):
			c.refused.note(granted[i], err, c.log.View())
			continue
		case errors.Is(err, ErrNotSent):
			o.State, o.Detail = commands.Abandoned, err.Error()
			retry := asked.Add(c.opts.Policy.HeartbeatPeriod / 10) // not over and over in one step
			c.claimAt = [2]app.Time{max(c.claimAt[0], retry), max(c.claimAt[1], retry)}
		case err != nil:
			o.Detail = "it may not have been sent: " + err.Error()
		}
		outcomes.Outcomes = append(outcomes.Outcomes, o)
	}
	if len(outcomes.Outcomes) == 0 {
		return nil
	}
	if err := c.propose(ctx, outcomes); err != nil {
		return fmt.Errorf("recording that %d commands were sent: %w", len(outcomes.Outcomes), err)
	}
	return nil
}

// send publishes granted claims, unless this leader has stalled since it asked for them, or what the decision rested on
// holds no longer (I1): the gate is looked at again as a whole, and a majority is asked whether this node still leads.
func (c *Core) send(ctx context.Context, asked app.Time, suspended time.Duration, granted []commands.Command) []error {
	all := func(err error) []error {
		errs := make([]error, len(granted))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	if len(granted) == 0 {
		return nil
	}
	verify, cancel := context.WithTimeout(ctx, c.claimLease())
	defer cancel()
	if err := c.log.VerifyLease(verify, c.term); err != nil {
		return all(fmt.Errorf("%w: this node may not lead any more: %w", ErrNotSent, err))
	}
	now := c.log.Now()
	stalled := now.Sub(asked) + c.log.Suspended() - suspended
	if stalled >= c.claimLease() {
		c.logger.Warn("claims abandoned: this leader stalled", "commands", len(granted), "stalled", stalled, "commands.claim_lease", c.claimLease())
		return all(fmt.Errorf("%w: the leader stalled for %v after it asked for the claim", ErrNotSent, stalled))
	}
	lead := Lead{Leader: c.log.Leading(c.term), Term: c.term, Known: true}
	if reasons := c.reasons(now, lead, true); len(reasons) > 0 {
		return all(fmt.Errorf("%w: the gate has closed since: %s", ErrNotSent, strings.Join(reasons, ", ")))
	}
	return c.pub.Publish(ctx, c.epoch, granted)
}

// claimLease is commands.claim_lease, but well below the time after which a successor takes a claim for lost and
// sends anew.
func (c *Core) claimLease() time.Duration {
	return min(c.opts.ClaimLease, c.opts.Policy.Grace/2)
}
