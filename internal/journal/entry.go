package journal

import (
	"cmp"
	"slices"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// EventsOf gives the events of the cluster that follow from the facts of an entry with this time, in their order and
// without their IDs. They are the same on every node.
func EventsOf(facts []raftfsm.Fact, at app.Time) []Event {
	notes := notesOf(facts)
	events := make([]Event, 0, len(facts))
	for i, f := range facts {
		e := Event{At: at, Index: -1}
		switch f := f.(type) {
		case raftfsm.CommandFact:
			if !e.command(f.Command, notes[f.ID]) {
				continue
			}
		case raftfsm.EndedFact:
			e.ended(f.EndedCommand, notes[f.ID])
		case raftfsm.CrashFact:
			e.Kind, e.App, e.Index, e.Instance, e.DEA = InstanceCrashed, f.App, int(f.Index), f.Instance, f.DEA
		case raftfsm.DEAFact:
			e.changedDEA(f)
		case raftfsm.ReadFact:
			e.Kind, e.Detail = DesiredRead, f.Source
			e.Counts = counts("added", f.Added, "apps", f.Apps, "changed", f.Changed, "instances", f.Instances, "removed", f.Removed)
		case raftfsm.HoldFact:
			if !f.Released && releases(facts[i+1:], f.Hold.Name) {
				continue // it names the person who releases the hold
			}
			e.hold(facts[:i], f)
		case raftfsm.NoteFact:
			if f.Event == "" || f.Event == string(CommandDecided) {
				continue // it adds to the events of commands
			}
			e.note(f.Note)
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

// commandNote is what notes add to the events of a command.
type commandNote struct {
	rule, by, detail string
	decided          bool
}

func notesOf(facts []raftfsm.Fact) map[commands.ID]commandNote {
	var notes map[commands.ID]commandNote
	for _, f := range facts {
		n, ok := f.(raftfsm.NoteFact)
		if !ok || n.Event != "" && n.Event != string(CommandDecided) {
			continue
		}
		if notes == nil {
			notes = map[commands.ID]commandNote{}
		}
		for _, id := range n.Commands {
			old := notes[id]
			notes[id] = commandNote{
				cmp.Or(n.Rule, old.rule), cmp.Or(n.By, old.by), cmp.Or(n.Detail, old.detail), old.decided || n.Event != "",
			}
		}
	}
	return notes
}

// command reports whether there is an event: a claim is none, unless it is all that happens to the command, as in shadow
// mode.
func (e *Event) command(c *commands.Command, n commandNote) bool {
	e.target(c, n)
	switch {
	case c.State == commands.Pending:
		e.Kind = CommandScheduled
	case c.State == commands.Sent:
		e.Kind, e.DelayMS = CommandSent, c.SentAt.Sub(c.DueAt).Milliseconds()
	case c.State == commands.Claimed && n.decided:
		e.Kind, e.DelayMS = CommandDecided, c.ClaimedAt.Sub(c.DueAt).Milliseconds()
	default:
		return false
	}
	return true
}

func (e *Event) ended(c *raftfsm.EndedCommand, n commandNote) {
	e.target(&c.Command, n)
	e.Kind, e.Detail = outcomes[c.State], cmp.Or(c.Detail, n.detail)
	e.Created, e.Sent, e.Priority = c.CreatedAt, c.SentAt, c.Priority
	if sent := cmp.Or(c.SentAt, c.ClaimedAt); sent != 0 {
		e.DelayMS = c.At.Sub(sent).Milliseconds()
	}
}

// outcomes has the kind of event for each outcome of a command.
var outcomes = map[commands.State]Kind{
	commands.Confirmed: CommandConfirmed, commands.Expired: CommandExpired,
	commands.Dropped: CommandDropped, commands.Abandoned: CommandAbandoned,
}

func (e *Event) target(c *commands.Command, n commandNote) {
	e.App, e.Index, e.Instance, e.Due, e.Rule, e.By, e.Detail = c.App, int(c.Index), c.Instance, c.DueAt, n.rule, n.by, n.detail
	e.Command, e.Action, e.Reason = c.ID.String(), c.Action.String(), c.Reason.String()
}

func (e *Event) changedDEA(f raftfsm.DEAFact) {
	e.Kind, e.DEA = deaKinds[f.Change], f.DEA
	e.Counts = counts("evacuating", f.Evacuating, "instances", f.Instances, "live", f.Live)
	if f.Since != 0 {
		e.DelayMS = e.At.Sub(f.Since).Milliseconds()
	}
}

var deaKinds = map[raftfsm.DEAChange]Kind{
	raftfsm.DEAHeard: DEANew, raftfsm.DEABack: DEABack, raftfsm.DEALost: DEALost,
	raftfsm.DEAForgotten: DEAForgotten, raftfsm.DEAEvacuating: DEAEvacuating,
}

// releases reports whether the next fact is the release of the hold.
func releases(next []raftfsm.Fact, name string) bool {
	if len(next) == 0 {
		return false
	}
	r, ok := next[0].(raftfsm.HoldFact)
	return ok && r.Released && r.Hold.Name == name
}

// hold takes in that a hold was set or released. A person who releases a hold sets it again in the same entry: so the log
// names the person. hm itself does not.
func (e *Event) hold(before []raftfsm.Fact, f raftfsm.HoldFact) {
	e.Kind, e.Name, e.By, e.Detail, e.Due = HoldSet, f.Hold.Name, f.Hold.By, f.Hold.Reason, f.Hold.Until
	if !f.Released {
		return
	}
	e.Kind, e.By, e.Due = HoldReleased, "hm", 0
	if n := len(before); n > 0 {
		if set, ok := before[n-1].(raftfsm.HoldFact); ok && !set.Released && set.Hold.Name == f.Hold.Name {
			e.By = set.Hold.By
		}
	}
}

func (e *Event) note(n raftfsm.Note) {
	e.Kind, e.App, e.DEA, e.Rule, e.Name, e.By = Kind(n.Event), n.App, n.DEA, n.Rule, n.Name, n.By
	e.Reason, e.Detail, e.DelayMS = n.Reason, n.Detail, n.DelayMS
	if len(n.Commands) > 0 {
		e.Command = n.Commands[0].String()
	}
	for _, c := range n.Counts {
		e.Counts = append(e.Counts, Count{c.Name, c.N})
	}
	slices.SortStableFunc(e.Counts, func(a, b Count) int { return cmp.Compare(a.Name, b.Name) })
}

// counts makes counts of names and numbers, and leaves out those that are 0.
func counts(pairs ...any) (out []Count) {
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int); n != 0 {
			out = append(out, Count{pairs[i].(string), int64(n)})
		}
	}
	return out
}
