package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// publish commits claims and sends the granted ones, once (I2). A granted claim is never published
// again: it ends as sent, or as abandoned if it was certainly not sent. A command that the bus
// refuses stays claimed until its time is over, since the bus would refuse it again. One that was sent
// in vain counts as sent.
func (c *Core) publish(ctx context.Context, claims raftfsm.CommandsClaimed, cmds []claimedCommand) error {
	asked, suspended := c.log.Now(), c.log.Suspended()
	var decided commandNotes
	if c.opts.Policy.Shadow {
		for _, cmd := range cmds {
			decided.rule("command.decided", cmd.rule, cmd.ID)
		}
	}
	results, err := c.log.Propose(ctx, decided.with(c, claims)...)
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
	var allowed []app.Time // of each granted one
	for _, cmd := range cmds {
		if refused[cmd.ID] {
			c.queue.add(cmd.App) // something has changed: decide again
			continue
		}
		c.claims.claimed(cmd.ID, cmd.rule)
		granted = append(granted, cmd.Command)
		allowed = append(allowed, cmd.allowed)
	}
	if c.opts.Policy.Shadow {
		// They stay claimed. Each ends when its effect is heard, as somebody else sends commands,
		// or when it expires.
		for _, cmd := range granted {
			c.noteClaimed(cmd, commands.Claimed, "")
		}
		return nil
	}
	var outcomes raftfsm.CommandsResolved
	var why commandNotes
	for i, err := range c.send(ctx, asked, suspended, granted) {
		o := raftfsm.Outcome{ID: granted[i].ID, State: commands.Sent}
		switch {
		case errors.Is(err, ErrRefused):
			c.claims.refused(granted[i].ID, err, c.log.View())
			continue
		case errors.Is(err, ErrNotSent):
			o.State, o.Detail = commands.Abandoned, err.Error()
			retry := c.retryAt(asked) // not again and again in one step
			c.claimAt = [2]app.Time{max(c.claimAt[0], retry), max(c.claimAt[1], retry)}
		case errors.Is(err, ErrNoEffect):
			o.Detail = err.Error()
			c.claims.refused(o.ID, err, c.log.View())
			why.detail(o.Detail, o.ID)
		case err != nil:
			o.Detail = "it may not have been sent: " + err.Error()
			why.detail(o.Detail, o.ID)
		}
		why.rule("", c.claims[o.ID].rule, o.ID)
		if o.State == commands.Sent {
			c.noteClaimed(granted[i], commands.Sent, o.Detail)
			c.observePublished(granted[i], allowed[i], c.log.Now())
		}
		outcomes.Outcomes = append(outcomes.Outcomes, o)
	}
	if len(outcomes.Outcomes) == 0 {
		return nil
	}
	// What was sent is recorded, also if this node closes meanwhile: its successor would not know whether it was.
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.claimLease())
	defer cancel()
	if err := c.propose(record, why.with(c, outcomes)...); err != nil {
		return fmt.Errorf("recording that %d commands were sent: %w", len(outcomes.Outcomes), err)
	}
	return nil
}

// noteClaimed tells that a claimed command was sent, or was not because of shadow mode.
func (c *Core) noteClaimed(cmd commands.Command, state commands.State, detail string) {
	now := c.log.Now()
	c.drain.sent(cmd)
	cmd.State, cmd.ClaimedAt = state, now
	c.onCommand(CommandEvent{Command: cmd, Rule: c.claims[cmd.ID].rule, Detail: detail, At: now})
}

func (c *Core) onCommand(e CommandEvent) {
	if c.opts.OnCommand != nil {
		c.opts.OnCommand(e)
	}
}

// send publishes granted claims, unless this leader stalled since it asked for them, or may no
// longer act (I1): it computes the gate again, and asks a majority whether this node still leads.
// It asks again if so much time has passed since that another node may lead. It gives one error for
// each command.
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
	for {
		verifying, before := c.log.Now(), c.log.Suspended()
		if err := c.log.VerifyLease(verify, c.term); err != nil {
			return all(fmt.Errorf("%w: this node may not lead any more: %w", ErrNotSent, err))
		}
		now := c.log.Now()
		stalled := now.Sub(asked) + c.log.Suspended() - suspended
		if stalled >= c.claimLease() {
			c.logger.Warn("abandoning claims: this leader stalled",
				"commands", len(granted), "stalled", stalled, "commands.claim_lease", c.claimLease())
			return all(fmt.Errorf("%w: the leader stalled for %v after it asked for the claim", ErrNotSent, stalled))
		}
		lead := Lead{Leader: c.log.Leading(c.term), Term: c.term, Known: true}
		if reasons := c.reasons(now, lead, true); len(reasons) > 0 {
			return all(fmt.Errorf("%w: the gate has closed since: %s", ErrNotSent, strings.Join(reasons, ", ")))
		}
		age := c.log.Now().Sub(verifying) + c.log.Suspended() - before
		if c.opts.LeaseHolds == 0 || age < c.opts.LeaseHolds {
			return c.pub.Publish(ctx, c.epoch, granted)
		}
	}
}

// claimLease is commands.claim_lease, but at most half the time after which a successor takes a
// claim for lost and sends the command anew.
func (c *Core) claimLease() time.Duration {
	return min(c.opts.ClaimLease, c.opts.Policy.Grace/2)
}
