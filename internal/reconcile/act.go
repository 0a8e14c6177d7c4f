package reconcile

import (
	"context"
	"fmt"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// act evaluates the queued apps and sends what is due. It is called only while the gate is open.
// more reports that the next step should follow at once.
func (c *Core) act(ctx context.Context, now app.Time) (more bool, err error) {
	for range 4 { // a plan's records may make further commands due; what is left waits for the next step
		keys, left := c.queue.take(now, appsPerEvaluation)
		if len(keys) == 0 {
			c.noteFresh() // nothing waits
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
		c.noteDrained(now)
	}
	return more || claimed, err
}

// plan evaluates apps, and records the commands that it schedules and those that end.
func (c *Core) plan(ctx context.Context, now app.Time, keys []app.Key) error {
	view := c.log.View()
	know := c.deciding(now)
	var changes commandChanges
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
				changes.end(outcome, c.claims[op.End].rule)
			} else {
				changes.schedule(op.Schedule, op.Rule)
			}
		}
	}
	c.noteFresh()
	for i := range changes.entries {
		e := &changes.entries[i]
		if err := c.propose(ctx, e.notes.with(c, e.records()...)...); err != nil {
			return fmt.Errorf("recording %d scheduled and %d ended commands: %w",
				len(e.scheduled.Commands), len(e.ended.Outcomes), err)
		}
	}
	return nil
}

// commandsPerEntry is how many commands one proposal schedules and ends, so that it is one entry, together with the notes
// on its commands.
const commandsPerEntry = 2_500

// commandChanges are commands to schedule and to end, in the order of the plans.
type commandChanges struct{ entries []commandEntry }

type commandEntry struct {
	ended     raftfsm.CommandsResolved
	scheduled raftfsm.CommandsScheduled
	notes     commandNotes
}

// room gives an entry that takes one more.
func (p *commandChanges) room() *commandEntry {
	if n := len(p.entries); n > 0 {
		if e := &p.entries[n-1]; len(e.ended.Outcomes)+len(e.scheduled.Commands) < commandsPerEntry {
			return e
		}
	}
	p.entries = append(p.entries, commandEntry{})
	return &p.entries[len(p.entries)-1]
}

func (p *commandChanges) schedule(c commands.Command, rule string) {
	e := p.room()
	e.scheduled.Commands = append(e.scheduled.Commands, c)
	e.notes.rule("", rule, c.ID)
}

func (p *commandChanges) end(o raftfsm.Outcome, rule string) {
	e := p.room()
	e.ended.Outcomes = append(e.ended.Outcomes, o)
	e.notes.rule("", rule, o.ID)
}

// records gives the records of the entry: the old command of a target must end before its new one is scheduled.
func (e *commandEntry) records() (records []raftfsm.Record) {
	if len(e.ended.Outcomes) > 0 {
		records = append(records, e.ended)
	}
	if len(e.scheduled.Commands) > 0 {
		records = append(records, e.scheduled)
	}
	return records
}
