package reconcile

import (
	"context"
	"fmt"

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
		c.queue.evaluateAt(k, p.Next)
		if p.WantsRead {
			if _, read := c.reads.apps[k.Droplet]; !read || p.NeedsRead { // else it was read by itself, after the newest complete read
				c.reads.wanted = true
			}
			c.queue.waitForRead(k)
		}
		for _, id := range p.Ready {
			c.ready.add(id, k)
		}
		for _, op := range p.Ops {
			if op.Schedule.ID.IsZero() {
				ended.Outcomes = append(ended.Outcomes, raftfsm.Outcome{ID: op.End, State: op.Outcome, Detail: c.claims.detail(op)})
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
