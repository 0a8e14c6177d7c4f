package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/journal"
	"hm/raftfsm"
)

// commandCursor names the last command of a page.
type commandCursor struct {
	App      app.GUID        `json:"a"`
	Version  app.GUID        `json:"v"`
	Index    uint32          `json:"i"`
	Action   commands.Action `json:"c"`
	Instance app.GUID        `json:"g"`
}

// commands answers GET /v1/commands?app=&history=&outstanding=&limit=&cursor=: the outstanding commands by app and
// index, and with history=N, after the last of them, the newest N that ended, newest first. outstanding=false leaves
// out the outstanding ones.
func (s *Server) commands(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r, "app", "history", "outstanding", "limit", "cursor"); err != nil {
		return err
	}
	q := r.URL.Query()
	var cursor commandCursor
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	history := 0
	if text := q.Get("history"); text != "" {
		if history, err = strconv.Atoi(text); err != nil || history < 0 || history > maxPage {
			return badRequest("history %.20q must be a number from 0 to %d", text, maxPage)
		}
	}
	outstanding := true
	if text := q.Get("outstanding"); text != "" {
		if outstanding, err = strconv.ParseBool(text); err != nil {
			return badRequest("outstanding %.20q must be true or false", text)
		}
	}
	n := s.snapshot()
	var droplet app.GUID // zero: all
	if text := q.Get("app"); text != "" {
		keys, err := s.findApp(n, text)
		if err != nil {
			return err
		}
		droplet = keys[0].Droplet
	}
	items := []Command{}
	more := false
	if outstanding {
		last := commands.Command{App: app.Key{Droplet: cursor.App, Version: cursor.Version}, Index: cursor.Index, Action: cursor.Action, Instance: cursor.Instance}
		var shown commands.Command
		waits := s.commandWaits(n)
		for c := range n.view.AllCommands() {
			if !droplet.IsZero() && c.App.Droplet != droplet || resumed && c.Compare(last) <= 0 {
				continue
			}
			if more = len(items) == limit; more {
				err := setNext(w, r, commandCursor{App: shown.App.Droplet, Version: shown.App.Version, Index: shown.Index, Action: shown.Action, Instance: shown.Instance})
				if err != nil {
					return err
				}
				break
			}
			items, shown = append(items, waits.command(c)), c
		}
	}
	if history > 0 && !more {
		ended, err := s.history(r.Context(), n, history, droplet)
		if err != nil {
			return err
		}
		items = append(items, ended...)
	}
	return writeJSON(w, http.StatusOK, n.basis(n.view), items)
}

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
