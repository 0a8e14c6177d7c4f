package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"hm/internal/cluster"
)

// Problem is a problem document (RFC 9457), and the error that the client makes of one.
type Problem struct {
	// Type is urn:hm:problem:SLUG, with SLUG one of ambiguous, bad-cursor, bad-request, bad-snapshot, busy,
	// cross-origin, forbidden, foreign-name, foreign-snapshot, healing, internal, leader-unreachable, media-type,
	// method, no-history, no-hold, no-journal, no-keys, no-leader, not-forwarded, not-found, not-leader, not-ready,
	// other-cluster, outcome-unknown, query-too-long, refused, state-differs, store-damaged, too-large, too-late,
	// too-many-attempts, unauthorized.
	Type       string   `json:"type"`
	Title      string   `json:"title"`                // the HTTP status in words
	Status     int      `json:"status"`               // the HTTP status
	Detail     string   `json:"detail,omitempty"`     // what is wrong, for people
	Hint       string   `json:"hint,omitempty"`       // what to do about it
	Candidates []string `json:"candidates,omitempty"` // the first ids that an ambiguous beginning fits; "..." at the end: there are more

	retryAfter time.Duration // for the header Retry-After; 0: none
}

// problemType is the media type of problem documents.
const problemType = "application/problem+json"

// Error gives the detail, or else the title.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

func problem(status int, slug, detail, hint string) *Problem {
	return &Problem{Type: "urn:hm:problem:" + slug, Title: http.StatusText(status), Status: status, Detail: detail, Hint: hint}
}

func badRequest(format string, args ...any) *Problem {
	return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf(format, args...), "")
}

func notFound(format string, args ...any) *Problem {
	return problem(http.StatusNotFound, "not-found", fmt.Sprintf(format, args...), "")
}

// asProblem turns any error into the problem document for the client.
func asProblem(err error) *Problem {
	var p *Problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), "")
	case errors.Is(err, cluster.ErrNotLeader), errors.Is(err, cluster.ErrClosed):
		return problem(http.StatusServiceUnavailable, "not-leader", "this node does not lead, and the write was not made", "try again")
	case errors.Is(err, cluster.ErrLeadershipLost), errors.Is(err, cluster.ErrTimeout):
		return problem(http.StatusGatewayTimeout, "outcome-unknown", "the write may or may not have been made: "+err.Error(), "look at hm status, then try again")
	}
	return problem(http.StatusInternalServerError, "internal", err.Error(), "")
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil { // it holds only strings and a number
		http.Error(w, p.Title, p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // an error means that the client is gone
}
