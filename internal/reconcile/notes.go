package reconcile

import (
	"context"
	"fmt"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// What only the leader knows goes into the log as notes, so that each node's history has it. A note waits for the next
// proposal of this leader, and for the end of the step at the latest. The rules of commands travel in the entry of the
// commands. A fleet in which nothing happens has no notes.

// Limits on notes, so that no flapping DEA fills the log.
const (
	maxWaitingNotes = 200
	notesPerPeriod  = 100 // in a heartbeat period, the notes on commands apart
)

// notes are the notes that wait, and how many there were of late.
type notes struct {
	waiting []raftfsm.Note
	until   app.Time // end of the period
	left    int      // notes that the period has left
	dropped int      // since the last note that was accepted
}

// tell tells the history something that only this leader knows, in the next entry of this node. It does nothing while
// this node does not lead, while some voter does not know notes, and if there are too many of late.
func (c *Core) tell(now app.Time, n raftfsm.Note) {
	if c.term == 0 || !c.takesNotes() {
		return
	}
	w := &c.notes
	if now >= w.until {
		w.until, w.left = now.Add(max(c.opts.Policy.HeartbeatPeriod, time.Millisecond)), notesPerPeriod
	}
	if w.left <= 0 || len(w.waiting) >= maxWaitingNotes {
		w.dropped++
		return
	}
	if w.dropped > 0 {
		c.logger.Warn("the history lacks notes: there were too many of late", "notes", w.dropped)
		w.dropped = 0
	}
	w.left--
	w.waiting = append(w.waiting, n)
}

// takesNotes reports whether notes can be proposed.
func (c *Core) takesNotes() bool { return c.opts.Notes == nil || c.opts.Notes() }

// withNotes adds the notes that wait to records that are about to be proposed. The caller must call noted with the
// outcome.
func (c *Core) withNotes(records []raftfsm.Record) []raftfsm.Record {
	if len(c.notes.waiting) == 0 {
		return records
	}
	return append(records[:len(records):len(records)], raftfsm.Noted{Notes: c.notes.waiting})
}

// noted drops the notes that were proposed. A proposal that failed may have been recorded: its notes are not repeated,
// since a history with a note too few is better than one with a note twice.
func (c *Core) noted() { c.notes.waiting = nil }

// proposeNotes proposes the notes that no other proposal of the step has taken along.
func (c *Core) proposeNotes(ctx context.Context) error {
	if len(c.notes.waiting) == 0 {
		return nil
	}
	n := len(c.notes.waiting)
	if err := c.propose(ctx); err != nil {
		return fmt.Errorf("recording %d notes for the history: %w", n, err)
	}
	return nil
}

// noteLeader notes once that this node leads.
func (c *Core) noteLeader(now app.Time) {
	if c.opts.Node == "" {
		return
	}
	n := raftfsm.Note{Event: "leader.changed", Name: c.opts.Node}
	if c.opts.WhyLead != nil {
		n.Detail = c.opts.WhyLead()
	}
	c.tell(now, n)
}

// commandNotes are notes on the commands of one entry.
type commandNotes []raftfsm.Note

// rule notes the rule that asked for a command. event is "command.decided" if the command is not sent, because of shadow
// mode, and empty otherwise.
func (n *commandNotes) rule(event, rule string, id commands.ID) {
	if rule == "" && event == "" {
		return
	}
	for i := len(*n) - 1; i >= 0; i-- {
		if o := &(*n)[i]; o.Event == event && o.Rule == rule && o.Detail == "" {
			o.Commands = append(o.Commands, id)
			return
		}
	}
	*n = append(*n, raftfsm.Note{Event: event, Rule: rule, Commands: []commands.ID{id}})
}

// detail notes something about one command.
func (n *commandNotes) detail(detail string, id commands.ID) {
	*n = append(*n, raftfsm.Note{Detail: detail, Commands: []commands.ID{id}})
}

// with adds the notes to the records of the commands, if notes can be proposed.
func (n commandNotes) with(c *Core, records ...raftfsm.Record) []raftfsm.Record {
	if len(n) == 0 || !c.takesNotes() {
		return records
	}
	return append(records, raftfsm.Noted{Notes: n})
}
