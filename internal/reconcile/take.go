package reconcile

import (
	"context"
	"fmt"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// take records what was heard before this step, and first, in a new leadership, what earlier
// leaders lost. It reports whether all that was heard is recorded.
func (c *Core) take(ctx context.Context, now app.Time) (all bool, err error) {
	if err := c.inheritLosses(ctx, now); err != nil {
		return false, err
	}
	if all, err := c.takeHeartbeats(ctx, now); !all || err != nil {
		return false, err
	}
	return true, c.takeExits(ctx)
}

// takeHeartbeats records what the newest heartbeats change.
func (c *Core) takeHeartbeats(ctx context.Context, now app.Time) (all bool, err error) {
	for range maxRounds {
		view := c.log.View()
		changes := c.intake.Changes(view, deasPerProposal)
		if len(changes) == 0 {
			return true, nil
		}
		records, recorded := c.guardLoss(view, now, changes)
		results, err := c.proposeAll(ctx, records...)
		if recorded(err); err != nil {
			return false, fmt.Errorf("recording the heartbeats of %d DEAs: %w", len(changes), err)
		}
		if !slices.ContainsFunc(results, func(r raftfsm.Result) bool { return len(r.Refused) > 0 }) {
			c.intake.Recorded(changes)
		}
		c.intake.Settle(c.log.View())
		if len(changes) < deasPerProposal {
			return true, nil // what came in meanwhile is for the next step
		}
	}
	return false, nil
}

// takeExits records the exits that change something.
func (c *Core) takeExits(ctx context.Context) error {
	view := c.log.View()
	var records []raftfsm.Record
	var heard []app.Time
	for _, e := range c.intake.TakeExits() {
		if isChange(view, e.Exit) {
			records = append(records, raftfsm.InstanceExited{Exit: e.Exit})
			heard = append(heard, e.at)
		}
	}
	if len(records) == 0 {
		return nil
	}
	if err := c.propose(ctx, records...); err != nil {
		return fmt.Errorf("recording %d exits: %w", len(records), err)
	}
	for now := c.intake.clock(); len(heard) > 0; heard = heard[1:] {
		observe(c.opts.Times.ExitRecorded, now.Sub(heard[0]))
	}
	return nil
}

// isChange reports whether an exit would change what is recorded (R33 to R36).
func isChange(view *raftfsm.State, e actual.Exit) bool {
	if e.Reason == actual.ExitStopped || e.Reason == actual.ExitOther {
		return false // the next heartbeat tells
	}
	a, known := view.App(e.App)
	if !known {
		return false
	}
	wanted := a.HasDesired && a.Desired.Wanted() && e.Index < a.Desired.Instances
	for _, inst := range view.Instances(nil, e.App) {
		if inst.GUID == e.Instance {
			return inst.State != actual.Stopping && inst.State.AfterExit(e.Reason) != inst.State
		}
		if inst.Index == e.Index && inst.State.Live() {
			wanted = false // an old crash is reported again: an instance runs at the index (W44)
		}
	}
	return wanted && e.Reason.Ends()
}

// propose proposes records with the notes that wait, and queues the apps that they touched for
// evaluation.
func (c *Core) propose(ctx context.Context, records ...raftfsm.Record) error {
	_, err := c.proposeAll(ctx, records...)
	return err
}

// proposeAll is propose. It also gives the results.
func (c *Core) proposeAll(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	results, err := c.log.Propose(ctx, c.withNotes(records)...)
	c.noted()
	view := c.log.View()
	for _, r := range results {
		c.touched(view, r.Touched)
		for _, e := range r.Ended {
			c.observeEnded(e.Command, e.At)
			c.onCommand(CommandEvent{Command: e.Command, Rule: c.claims.ended(e.ID), Detail: e.Detail, At: e.At})
		}
		for _, refused := range r.Refused {
			c.logger.Debug("the record refused a change", "error", refused.Err)
		}
	}
	return results, err
}

// touched queues apps that changed, and the other versions of their droplets that have commands: a
// stop of one version may wait for another version.
func (c *Core) touched(view *raftfsm.State, keys []app.Key) {
	c.queue.add(keys...)
	for _, k := range keys {
		for other := range view.OthersWithCommands(k) {
			c.queue.add(other)
		}
	}
}

// queueUnplaced queues apps whose unplaced entries have changed; the whole fleet if there are too
// many.
func (c *Core) queueUnplaced(keys []app.Key, all bool) {
	c.queue.add(keys...)
	c.queue.full = c.queue.full || all
}
