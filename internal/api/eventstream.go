package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"hm/internal/journal"
)

// eventStream is the media type of server-sent events.
const eventStream = "text/event-stream"

// Limits of streams.
const (
	maxFollowers    = 64 // streams of a node at a time
	eventsPerWrite  = 500
	eventRetryAfter = time.Second // after which a client should connect again
)

// How patient streams are. Tests make them less so.
var (
	eventIdle      = 10 * time.Second // for how long a client may read nothing before its connection is closed
	eventHeartbeat = 15 * time.Second // how often something is sent when there is nothing to tell
)

// eventWriter writes server-sent events to one client.
type eventWriter struct {
	s    *Server
	out  slowClientWriter
	buf  bytes.Buffer
	wall Wall
}

// streamEvents answers with server-sent events. A stream that follows ends when the client goes away or reads too
// slowly, when the history cannot be read, and when the node goes down.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request, n snapshot, q eventsQuery) error {
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		return problem(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d clients follow the events of this node, as many as are allowed", maxFollowers), "follow another node")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	last, err := s.lastEvent(ctx) // before anything is sent, so that an error can be told
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil { // the whole request is read; without this the server would end it as late
		return err
	}
	n.basis(n.view).setHeaders(w.Header())
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	e := &eventWriter{s: s, out: slowClientWriter{w: w, control: control, idle: eventIdle}, wall: n.wall}
	fmt.Fprintf(&e.buf, "retry: %d\n\n", eventRetryAfter.Milliseconds())
	if !q.follow {
		return e.once(ctx, q)
	}
	return e.follow(ctx, q, last)
}

// once sends the events that there are.
func (e *eventWriter) once(ctx context.Context, q eventsQuery) error {
	q.Newest = !q.resumes
	found, _, err := e.s.opts.Journal.Events(ctx, q.Query)
	if err != nil {
		return errGone
	}
	e.add(found)
	return e.flush()
}

// follow sends events until ctx ends. last is the id of the newest event.
func (e *eventWriter) follow(ctx context.Context, q eventsQuery, last journal.ID) error {
	if q.Limit > 0 {
		q.Newest = true
		found, _, err := e.s.opts.Journal.Events(ctx, q.Query)
		if err != nil {
			return errGone
		}
		e.add(found)
		if n := len(found); n > 0 && found[n-1].ID.Compare(last) > 0 {
			last = found[n-1].ID
		}
		q.Newest = false
	}
	if !q.resumes && q.Since == 0 {
		q.After = last
	}
	q.Limit = eventsPerWrite
	begun := false
	heartbeat := time.NewTicker(eventHeartbeat)
	defer heartbeat.Stop()
	for {
		changed := e.s.opts.Journal.Changed()
		for more := true; more; {
			if last, err := e.s.lastEvent(ctx); err != nil {
				return errGone
			} else if q.After, more, err = e.next(ctx, q, last); err != nil {
				return errGone
			}
			if e.buf.Len() > 0 {
				if err := e.flush(); err != nil {
					return err
				}
			}
		}
		if !begun {
			begun = true
			if err := e.reached(q.After); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-heartbeat.C:
			if err := e.reached(q.After); err != nil {
				return err
			}
		}
	}
}

// reached tells the client up to which id it has the history, so that it goes on from there although nothing was sent of
// what it asked for.
func (e *eventWriter) reached(id journal.ID) error {
	fmt.Fprintf(&e.buf, ": nothing new\nid: %s\n\n", id)
	return e.flush()
}

// next adds the next events after q.After, and gives the id up to which the history has been looked at. last is the id
// of an event that was there before.
func (e *eventWriter) next(ctx context.Context, q eventsQuery, last journal.ID) (after journal.ID, more bool, err error) {
	found, more, err := e.s.opts.Journal.Events(ctx, q.Query)
	if err != nil {
		return q.After, false, err
	}
	e.add(found)
	after = q.After
	if n := len(found); n > 0 {
		after = found[n-1].ID
	}
	if !more && last.Compare(after) > 0 {
		after = last
	}
	return after, more, nil
}

// add adds events to what is sent next.
func (e *eventWriter) add(found []journal.Event) {
	e.wall = e.s.wall.at(e.s.opts.Clock(), e.s.opts.Node.Now())
	for i := range found {
		item := EventOf(&found[i], e.wall)
		raw, err := json.Marshal(item)
		if err != nil { // it has only texts and numbers
			continue
		}
		fmt.Fprintf(&e.buf, "id: %s\nevent: %s\ndata: %s\n\n", item.ID, item.Kind, raw)
	}
}

// flush sends what was added.
func (e *eventWriter) flush() error {
	if _, err := e.buf.WriteTo(&e.out); err != nil {
		return errGone
	}
	if err := e.out.control.Flush(); err != nil {
		return errGone
	}
	return nil
}
