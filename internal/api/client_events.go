package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// EventQuery selects events. Empty fields select all.
type EventQuery struct {
	Since string // RFC 3339, or a duration before now like 1h30m
	App   string // a guid, or the beginning of one
	DEA   string
	Kinds []string // kinds, or subjects of kinds
}

func (q EventQuery) values() url.Values {
	v := nonEmpty("since", q.Since, "app", q.App, "dea", q.DEA)
	for _, k := range q.Kinds {
		v.Add("kind", k)
	}
	return v
}

// EventList is a list of events.
type EventList struct {
	Listing[Event]
	LastID string // up to here the list has the history; FollowEvents goes on after it
}

// Events asks for the newest events, at most limit (1 to 10,000), in the order in which they happened.
func (c *Client) Events(ctx context.Context, q EventQuery, limit int) (EventList, error) {
	query := q.values()
	query.Set("limit", strconv.Itoa(limit))
	a, err := c.do(ctx, http.MethodGet, "/v1/events", query, nil)
	if err != nil {
		return EventList{}, err
	}
	out := EventList{Listing: Listing[Event]{
		Items: []Event{}, Basis: basisOf(a.header), Total: -1, More: a.header.Get(headerMore) == "true",
	}, LastID: a.header.Get(headerLastEvent)}
	if err := json.Unmarshal(a.body, &out.Items); err != nil {
		return out, fmt.Errorf("the answer of %s to /v1/events cannot be read: %w", c.base, err)
	}
	return out, nil
}

// maxEventLine is the longest line of a stream of events, in bytes.
const maxEventLine = 256 << 10

// errSilent says that nothing came on a stream for longer than a node may be silent.
var errSilent = errors.New("nothing was heard for too long")

// FollowEvents calls fn with each event after an id as it happens, until ctx ends or the connection does. It gives the id
// up to which fn has the events, with which another node goes on. The error is never nil; it is that of fn if fn fails.
func (c *Client) FollowEvents(ctx context.Context, q EventQuery, after string, fn func(Event) error) (string, error) {
	query := q.values()
	if after != "" {
		query.Set("after", after)
		query.Del("since")
	}
	u := *c.base
	u.Path, u.RawQuery = "/v1/events", query.Encode()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return after, fmt.Errorf("asking %s: %w", c.base, err)
	}
	req.Header.Set("Accept", eventStream)
	c.authenticate(req)
	endless := *c.http
	endless.Timeout = 0
	silence := time.AfterFunc(c.http.Timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	failed := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &Unreachable{Addr: c.base.String(), Err: err}
	}
	resp, err := endless.Do(req)
	if err != nil {
		return after, failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return after, failed(err)
		}
		return after, problemOf(resp, raw)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), eventStream) {
		return after, problemOf(resp, nil)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEventLine)
	var id, data string
	for lines.Scan() {
		silence.Reset(max(c.http.Timeout, 2*eventHeartbeat))
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if lines.Text() != "" {
				continue // a comment
			}
			if data != "" {
				var e Event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					return after, fmt.Errorf("an event of %s cannot be read: %w", c.base, err)
				}
				if err := fn(e); err != nil {
					return after, err
				}
			}
			if id != "" {
				after = id
			}
			id, data = "", ""
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return after, failed(err)
}
