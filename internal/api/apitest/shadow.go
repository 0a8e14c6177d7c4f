package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/journal"
	"hm/internal/shadow"
)

// history is the journal of a fake node: Node.Events.
type history struct{ n *Node }

// Events gives those of Node.Events that the query's time and kinds select.
func (h history) Events(_ context.Context, q journal.Query) (out []journal.Event, more bool, err error) {
	h.n.Lock()
	defer h.n.Unlock()
	for i, e := range h.n.Events {
		e.ID.Index = uint64(i + 1)
		subject, _, _ := strings.Cut(string(e.Kind), ".")
		if e.At >= q.Since && e.ID.Index > q.After.Index && slices.Contains(q.Kinds, subject) {
			out = append(out, e)
		}
	}
	return out, false, nil
}

func (n *Node) compareOptions() api.CompareOptions {
	o := api.CompareOptions{Journal: history{n}, Kept: 100_000}
	if n.Hearing != (shadow.Hearing{}) {
		o.Hearing = func() shadow.Hearing { return n.Hearing }
		o.Messages = func() (heard, rejected uint64) { return 12, 3 }
	}
	return o
}

// Shadow returns a Fleet in shadow mode beside another health manager, two hours after the first entry. Each class of
// comparison is there.
func Shadow() *Node {
	n := Fleet()
	n.CloseGate("shadow")
	n.At = Start.Add(2 * time.Hour)
	at := func(minutes, seconds int) app.Time {
		return Start.Add(time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second)
	}
	n.Hearing = shadow.Hearing{Now: true, Since: at(10, 0)}
	own := func(c commands.Command, rule string, scheduled, due, decided app.Time, end journal.Kind, ended app.Time, detail string) {
		c = command(c, scheduled)
		e := journal.Event{
			At: scheduled, Kind: journal.CommandScheduled, App: c.App, Index: int(c.Index), Instance: c.Instance, Command: c.ID.String(),
			Action: c.Action.String(), Reason: c.Reason.String(), Rule: rule, Due: due,
		}
		n.Events = append(n.Events, e)
		e.Rule = ""
		if decided != 0 {
			e.At, e.Kind = decided, journal.CommandDecided
			n.Events = append(n.Events, e)
		}
		if end != "" {
			e.At, e.Kind, e.Detail = ended, end, detail
			n.Events = append(n.Events, e)
		}
	}
	other := func(at app.Time, k app.Key, index int, instance app.GUID, id string) {
		e := journal.Event{At: at, Kind: journal.OtherStart, App: k, Index: index, Instance: instance, Command: id, Action: "start"}
		if !instance.IsZero() {
			e.Kind, e.Action = journal.OtherStop, "stop"
		}
		n.Events = append(n.Events, e)
	}
	start := func(k app.Key, index uint32, reason commands.Reason) commands.Command {
		return commands.Command{Action: commands.Start, App: k, Index: index, Reason: reason}
	}
	const live = "an instance is live at the index"
	n.Events = append(n.Events, journal.Event{At: at(10, 0), Kind: journal.OtherListening, Index: -1})
	own(start(Steady, 0, commands.ReasonMissing), "R01", at(12, 0), at(12, 30), at(12, 30), journal.CommandConfirmed, at(13, 41), live)
	other(at(13, 40), Steady, 0, app.GUID{}, "m-1") // before the first window is over, and still told: both issued it
	own(start(Steady, 1, commands.ReasonMissing), "R01", at(30, 0), at(30, 30), at(30, 30), journal.CommandConfirmed, at(32, 11), live)
	other(at(31, 10), Steady, 1, app.GUID{}, "m-2")
	other(at(32, 10), Steady, 1, app.GUID{}, "m-3")
	own(start(Crashy, 1, commands.ReasonCrashed), "R07", at(35, 0), at(36, 0), 0, journal.CommandDropped, at(35, 41), live)
	other(at(35, 40), Crashy, 1, app.GUID{}, "m-4")
	own(commands.Command{Action: commands.Stop, App: Gone, Instance: guid('c', 13), Reason: commands.ReasonExtra}, "R16",
		at(40, 0), at(40, 0), at(40, 0), journal.CommandExpired, at(45, 0), "shadow mode did not send it, and no other health manager carried it out in time")
	n.Events = append(n.Events, journal.Event{At: at(50, 0), Kind: journal.HoldSet, Index: -1, Name: "mass-loss", By: "hm", Due: at(55, 0)})
	other(at(51, 0), Gappy, 0, app.GUID{}, "m-5")
	other(at(60, 0), Steady, 0, app.GUID{}, "m-6")
	other(at(61, 0), Double, 0, guid('c', 12), "m-7")
	own(start(Gappy, 2, commands.ReasonMissing), "R01", at(118, 0), at(118, 30), at(118, 30), "", 0, "")
	return n
}
