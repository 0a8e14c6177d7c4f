package journal

import (
	"hm/commands"
	"hm/raftfsm"
)

// EventsOf gives the events of the cluster that follow from an applied entry, in their order and without their IDs. It
// is the same on every node.
func EventsOf(a raftfsm.Applied) (events []Event) {
	for i := range a.Result.Sent {
		c := &a.Result.Sent[i]
		e := commandEvent(CommandSent, c)
		e.At, e.DelayMS = c.SentAt, c.SentAt.Sub(c.DueAt).Milliseconds()
		events = append(events, e)
	}
	for i := range a.Result.Ended {
		c := &a.Result.Ended[i]
		e := commandEvent(outcomes[c.State], &c.Command)
		e.At, e.Detail = c.At, c.Detail
		if c.SentAt != 0 {
			e.DelayMS = c.At.Sub(c.SentAt).Milliseconds()
		}
		events = append(events, e)
	}
	return events
}

// outcomes has the kind of event for each outcome of a command.
var outcomes = map[commands.State]Kind{
	commands.Confirmed: CommandConfirmed, commands.Expired: CommandExpired,
	commands.Dropped: CommandDropped, commands.Abandoned: CommandAbandoned,
}

func commandEvent(kind Kind, c *commands.Command) Event {
	return Event{
		Kind: kind, App: c.App, Index: int(c.Index), Instance: c.Instance,
		Command: c.ID.String(), Action: c.Action.String(), Reason: c.Reason.String(), Due: c.DueAt,
	}
}
