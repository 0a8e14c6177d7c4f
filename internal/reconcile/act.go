package reconcile

import (
	"context"
	"fmt"

	"hm/internal/app"
	"hm/raftfsm"
)

// act evaluates the queued apps and sends what is due. It is called only while the gate is open.
// more reports that the next step should follow at once.
func (c *Core) act(ctx context.Context, now app.Time) (more bool, err error) {
	for range 4 { // a plan's records may make further commands due; what is left waits for the next step
		keys, left := c.queue.take(now, appsPerEvaluation)
		if len(keys) == 0 {
			c.noteFresh(ctx) // nothing waits
			break
		}
		if err := c.plan(ctx, now, keys); err != nil {
			c.queue.add(keys...)
			return false, err
		}
		more = left || c.queue.len() > 0
	}
	claimed, err := c.claim(ctx, now)
	if err == nil {
		c.noteDrained(ctx, now)
	}
	return more || claimed, err
}

// plan evaluates apps, and records the commands that it schedules and those that end.
func (c *Core) plan(ctx context.Context, now app.Time, keys []app.Key) error {
	view := c.log.View()
	know := c.deciding(now)
	var scheduled raftfsm.CommandsScheduled
	var ended raftfsm.CommandsResolved
	for _, k := range keys {
		p := c.eval.Plan(view, k, know, now)
		c.drain.evaluated(view, k, c.eval.app.Findings)
		c.queue.evaluateAt(k, p.Next)
		if p.WantsRead {
			// An app that was read alone since the newest complete read needs no new one, unless the plan says so.
			if _, read := c.reads.apps[k.Droplet]; !read || p.NeedsRead {
				c.reads.wanted = true
			}
			c.queue.waitForRead(k)
		}
		for _, id := range p.Ready {
			c.ready.add(id, k)
		}
		for _, op := range p.Ops {
			if op.Schedule.ID.IsZero() {
				outcome := raftfsm.Outcome{ID: op.End, State: op.Outcome, Detail: c.claims.detail(op)}
				ended.Outcomes = append(ended.Outcomes, outcome)
			} else {
				scheduled.Commands = append(scheduled.Commands, op.Schedule)
			}
		}
	}
	c.noteFresh(ctx)
	// The old command of a target must end before its new one is scheduled.
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
		return fmt.Errorf("recording %d scheduled and %d ended commands: %w",
			len(scheduled.Commands), len(ended.Outcomes), err)
	}
	return nil
}
