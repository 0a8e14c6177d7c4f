package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/internal/app"
	"hm/internal/journal"
)

// Journal has the history of this node: *journal.Journal.
type Journal interface {
	Events(ctx context.Context, q journal.Query) (events []journal.Event, more bool, err error)
	// Changed gives a channel that is closed when further events can be read.
	Changed() <-chan struct{}
	// AwaitStored waits until the events of all entries up to an index can be read.
	AwaitStored(ctx context.Context, index uint64) error
}

// Event is one thing that happened, in GET /v1/events. Fields that do not belong to its kind are left out.
type Event struct {
	ID       string           `json:"id"` // the same on every node, unless Node is set
	At       Timestamp        `json:"at"`
	Kind     string           `json:"kind"`           // SUBJECT.WHAT
	Node     string           `json:"node,omitempty"` // of a node's own event: only this node has it
	App      string           `json:"app,omitempty"`
	Version  string           `json:"version,omitempty"`
	Index    *int             `json:"index,omitempty"` // of the instance
	Instance string           `json:"instance,omitempty"`
	DEA      string           `json:"dea,omitempty"`
	Command  string           `json:"command,omitempty"` // id
	Action   string           `json:"action,omitempty"`  // start or stop
	Reason   string           `json:"reason,omitempty"`  // of a command: MISSING, CRASHED, ...; of a gate: its reasons, with ", " between
	Rule     string           `json:"rule,omitempty"`    // that asked for the command
	Due      Timestamp        `json:"due,omitzero"`      // of a command; of a hold: until when it lasts
	DelayMS  int64            `json:"delay_ms,omitempty"`
	By       string           `json:"by,omitempty"`     // who caused it: a person, or hm
	Name     string           `json:"name,omitempty"`   // of a hold, or of the node that leads
	Detail   string           `json:"detail,omitempty"` // for people
	Counts   map[string]int64 `json:"counts,omitempty"`
}

// EventOf gives an event of the journal.
func EventOf(e *journal.Event, wall Wall) Event {
	out := Event{
		ID: e.ID.String(), At: wall.Time(e.At), Kind: string(e.Kind), Node: e.ID.Node, App: e.App.Droplet.String(),
		Version: e.App.Version.String(), Instance: e.Instance.String(), DEA: e.DEA, Command: e.Command, Action: e.Action,
		Reason: e.Reason, Rule: e.Rule, Due: wall.Time(e.Due), DelayMS: e.DelayMS, By: e.By, Name: e.Name, Detail: e.Detail,
	}
	if e.Index >= 0 && !e.App.Droplet.IsZero() {
		out.Index = &e.Index
	}
	if len(e.Counts) > 0 {
		out.Counts = make(map[string]int64, len(e.Counts))
		for _, c := range e.Counts {
			out.Counts[c.Name] = c.N
		}
	}
	return out
}

// headerLastEvent has the id up to which an answer has the history: what comes later has a larger one.
const headerLastEvent = "X-Hm-Last-Event-Id"

// headerMore is "true" if the history has further events that were asked for.
const headerMore = "X-Hm-More"

// eventsQuery is what a request for events asks for.
type eventsQuery struct {
	journal.Query
	resumes bool // it has an id after which to begin
	follow  bool
	stream  bool // the answer is a stream of server-sent events, not a list
}

// events answers GET /v1/events?after=&since=&app=&dea=&kind=&follow=&limit=: the history, as server-sent events or,
// if the client accepts only JSON, as a list.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if s.opts.Journal == nil {
		return notFound("this node keeps no history")
	}
	n := s.snapshot()
	q, err := s.eventsQuery(r, n)
	if err != nil {
		return err
	}
	if q.stream {
		return s.streamEvents(w, r, n, q)
	}
	return s.listEvents(w, r, n, q)
}

// listEvents answers with the newest events, or with the first ones after an id.
func (s *Server) listEvents(w http.ResponseWriter, r *http.Request, n snapshot, q eventsQuery) error {
	last, err := s.lastEvent(r.Context())
	if err != nil {
		return err
	}
	q.Newest = !q.resumes
	found, more, err := s.opts.Journal.Events(r.Context(), q.Query)
	if err != nil {
		return historyProblem(err)
	}
	items := make([]Event, len(found))
	for i := range found {
		items[i] = EventOf(&found[i], n.wall)
	}
	if len(found) > 0 && (q.resumes && more || found[len(found)-1].ID.Compare(last) > 0) {
		last = found[len(found)-1].ID
	}
	if q.After.Compare(last) > 0 { // the client has read more from another node
		last = q.After
	}
	w.Header().Set(headerLastEvent, last.String())
	w.Header().Set(headerMore, strconv.FormatBool(more))
	return writeJSON(w, http.StatusOK, n.basis(n.view), items)
}

// lastEvent gives the id of the newest event; zero if there is none.
func (s *Server) lastEvent(ctx context.Context) (journal.ID, error) {
	newest, _, err := s.opts.Journal.Events(ctx, journal.Query{Newest: true, Limit: 1})
	if err != nil {
		return journal.ID{}, historyProblem(err)
	}
	if len(newest) == 0 {
		return journal.ID{}, nil
	}
	return newest[0].ID, nil
}

// historyProblem is the problem of an error of the journal.
func historyProblem(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errGone
	case errors.Is(err, journal.ErrUnavailable):
		return problem(http.StatusServiceUnavailable, "no-history", err.Error(), "ask another node: each keeps the history; hm goes on without it")
	}
	return fmt.Errorf("reading the history: %w", err)
}

// eventsQuery reads the parameters. Last-Event-ID counts more than after, since a client that reconnects repeats the
// parameters of its first request.
func (s *Server) eventsQuery(r *http.Request, n snapshot) (q eventsQuery, err error) {
	values := r.URL.Query()
	q.stream = !acceptsOnlyJSON(r.Header)
	q.follow = q.stream
	if text := values.Get("follow"); text != "" {
		if q.follow, err = strconv.ParseBool(text); err != nil {
			return q, badRequest("follow %.20q must be true or false", text)
		}
		if q.follow && !q.stream {
			return q, problem(http.StatusBadRequest, "bad-request", "follow=true needs a stream, and the request accepts only JSON", "ask with Accept: text/event-stream")
		}
	}
	for _, text := range []string{values.Get("after"), r.Header.Get("Last-Event-ID")} {
		if text == "" {
			continue
		}
		if q.After, err = journal.ParseID(text); err != nil {
			return q, badRequest("%v", err)
		}
		q.resumes = true
	}
	if text := values.Get("since"); text != "" {
		if q.Since, err = sinceOf(text, n); err != nil {
			return q, err
		}
	}
	q.Kinds = values["kind"]
	for _, text := range q.Kinds {
		if !journal.IsFilter(text) {
			return q, unknownKind(text)
		}
	}
	if len(q.Kinds) > maxKinds {
		return q, badRequest("%d kinds, at most %d are allowed", len(q.Kinds), maxKinds)
	}
	if text := values.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > maxPage {
			return q, badRequest("limit %.20q must be a number from 1 to %d", text, maxPage)
		}
		if q.follow && (q.resumes || q.Since != 0) {
			return q, problem(http.StatusBadRequest, "bad-request", "limit does not go together with follow and after or since: a stream leaves out nothing", "leave out limit")
		}
	} else if !q.follow {
		q.Limit = defaultPage
	}
	return q, s.narrow(r.Context(), n, &q.Query, values.Get("app"), values.Get("dea"))
}

// maxKinds is how many filters by kind a request may have.
const maxKinds = 64

// acceptsOnlyJSON reports whether a client accepts JSON and no server-sent events.
func acceptsOnlyJSON(h http.Header) bool {
	accept := strings.ToLower(strings.Join(h.Values("Accept"), ","))
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, eventStream)
}

// sinceOf reads a time, or a duration before now.
func sinceOf(text string, n snapshot) (app.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return max(1, n.hm.Add(-ago)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, badRequest("since %.40q must be a duration like 1h30m or a time like 2026-01-31T12:00:00Z", text)
	}
	return max(1, n.wall.HM(at)), nil
}

func unknownKind(text string) error {
	subjects := journal.Subjects()
	kinds := make([]string, 0, len(journal.Kinds()))
	subject, _, _ := strings.Cut(text, ".")
	for _, k := range journal.Kinds() {
		if s, _, _ := strings.Cut(string(k), "."); s == subject {
			kinds = append(kinds, string(k))
		}
	}
	hint := fmt.Sprintf("a kind is a subject, one of %s, or SUBJECT.WHAT", strings.Join(subjects, ", "))
	if slices.Contains(subjects, subject) {
		hint = fmt.Sprintf("the kinds of this subject are %s", strings.Join(kinds, ", "))
	}
	return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf("unknown kind of event %.60q", text), hint)
}

// narrow lets a query select one app or one DEA. Each may be named by the beginning of its id while it is recorded. What
// is not recorded any more has its history under its whole id.
func (s *Server) narrow(ctx context.Context, n snapshot, q *journal.Query, ofApp, ofDEA string) error {
	if ofApp != "" {
		keys, err := s.findApp(n, ofApp)
		if err == nil {
			q.App = keys[0].Droplet
		} else if q.App, _ = app.ParseGUID(ofApp); !s.hasHistory(ctx, err, journal.Query{App: q.App}) {
			return err
		}
	}
	if ofDEA != "" {
		d, err := findDEA(n.view, ofDEA)
		if q.DEA = d.ID; err != nil {
			if q.DEA = ofDEA; !s.hasHistory(ctx, err, journal.Query{DEA: q.DEA}) {
				return err
			}
		}
	}
	return nil
}

// hasHistory reports whether what is not recorded, as err says, has events nevertheless.
func (s *Server) hasHistory(ctx context.Context, err error, q journal.Query) bool {
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusNotFound {
		return false
	}
	q.Newest, q.Limit = true, 1
	found, _, err := s.opts.Journal.Events(ctx, q)
	return err == nil && len(found) > 0
}
