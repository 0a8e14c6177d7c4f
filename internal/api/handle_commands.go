package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/journal"
	"hm/raftfsm"
)

// history gives the newest commands that ended, newest first: of the app with a droplet, or of all if it is zero.
func (s *Server) history(ctx context.Context, n snapshot, limit int, droplet app.GUID) ([]Command, error) {
	if s.opts.Journal == nil {
		return nil, nil
	}
	soon, cancel := context.WithTimeout(ctx, storedWithin)
	_ = s.opts.Journal.AwaitStored(soon, n.view.Index()) // an error means that the newest are not shown yet
	cancel()
	found, _, err := s.opts.Journal.Events(ctx, journal.Query{App: droplet, Kinds: endKinds, Limit: limit, Newest: true})
	if err != nil {
		return nil, historyProblem(err)
	}
	items := make([]Command, len(found))
	for i := range found {
		items[len(found)-1-i] = endedCommandOf(&found[i], n.wall)
	}
	return items, nil
}

// storedWithin is how long an answer waits for the newest events to be stored.
const storedWithin = time.Second

// endKinds are the kinds of events with which a command ends. The part after the dot is its last state.
var endKinds = []string{
	string(journal.CommandConfirmed), string(journal.CommandExpired), string(journal.CommandDropped), string(journal.CommandAbandoned),
}

// endedCommandOf gives the command that ended with an event.
func endedCommandOf(e *journal.Event, wall Wall) Command {
	_, state, _ := strings.Cut(string(e.Kind), ".")
	return Command{
		ID: e.Command, Action: e.Action, App: e.App.Droplet.String(), Version: e.App.Version.String(), Index: uint32(max(e.Index, 0)),
		Instance: e.Instance.String(), Reason: e.Reason, Priority: e.Priority, CreatedAt: wall.Time(e.Created), DueAt: wall.Time(e.Due),
		State: state, SentAt: wall.Time(e.Sent), EndedAt: wall.Time(e.At), Detail: e.Detail,
	}
}

// cancelCommand answers DELETE /v1/commands/{id}: it drops a command that is not claimed yet. While the drift
// remains, hm schedules a new command with its full grace; only a hold keeps hm from acting.
func (s *Server) cancelCommand(w http.ResponseWriter, r *http.Request) error {
	id, err := commands.ParseID(r.PathValue("id"))
	if err != nil {
		return badRequest("%v", err)
	}
	c, ok := s.opts.Node.View().Command(id)
	if !ok {
		return problem(http.StatusNotFound, "not-found", "no command "+id.String()+" is outstanding", "see hm commands list and hm commands history")
	}
	if c.State != commands.Pending {
		return problem(http.StatusConflict, "too-late", fmt.Sprintf("command %s is %s already", id.String(), c.State), "")
	}
	by := s.requester(r, "")
	about(w, "%s %s/%d", c.Action, c.App.Droplet, c.Index)
	records := []raftfsm.Record{raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{
		ID: id, State: commands.Dropped, Detail: "cancelled by " + by,
	}}}}
	if s.opts.Node.Knows(raftfsm.KindNoted) {
		records = append(records, raftfsm.Noted{Notes: []raftfsm.Note{{By: by, Commands: []commands.ID{id}}}})
	}
	results, err := s.opts.Node.Propose(r.Context(), records...)
	if err != nil {
		return fmt.Errorf("cancelling command %s: %w", id.String(), err)
	}
	s.opts.Loop.Wake()
	n := s.snapshot()
	answer := n.command(c)
	for _, res := range results {
		for _, e := range res.Ended {
			if e.ID == id {
				s.opts.Loop.LogEnded(e)
				answer = n.ended(e)
			}
		}
	}
	return writeJSON(w, http.StatusOK, n.basis(n.view), answer)
}
