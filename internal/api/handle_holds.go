package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"slices"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// Bounds on a hold.
const (
	maxHoldMinutes = 366 * 24 * 60
	maxText        = 500 // bytes of a reason or a name
)

// setHold answers POST /v1/holds on the leader. It replaces a hold of the same name.
func (s *Server) setHold(w http.ResponseWriter, r *http.Request) error {
	var req HoldRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	n := s.snapshot()
	until, err := req.until(n)
	if err != nil {
		return err
	}
	if len(req.Reason) > maxText || len(req.By) > maxText {
		return badRequest("reason and by may have at most %d bytes", maxText)
	}
	about(w, "hold %s", req.Name)
	h := raftfsm.Hold{Name: req.Name, Reason: req.Reason, By: s.requester(r, req.By), SetAt: n.hm, Until: until}
	results, err := s.opts.Node.Propose(r.Context(), raftfsm.HoldSet{Hold: h})
	if err != nil {
		return fmt.Errorf("setting hold %.64q: %w", req.Name, err)
	}
	for _, res := range results {
		if len(res.Refused) > 0 {
			return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf("hold %.64q was refused: %v", req.Name, res.Refused[0].Err), "a name has 1 to 64 printable ASCII characters without spaces")
		}
	}
	s.waitForStep(r.Context())
	n = s.snapshot()
	return writeJSON(w, http.StatusCreated, n.basis(n.view), hold(n.wall, h))
}

// until is when the hold ends, in hm time; 0 if it has no end.
func (req HoldRequest) until(n snapshot) (app.Time, error) {
	switch {
	case req.Minutes != 0 && req.Until != nil:
		return 0, badRequest("give minutes or until, not both")
	case req.Until != nil:
		at := n.wall.HM(req.Until.Time)
		if at <= n.hm || at.Sub(n.hm) > maxHoldMinutes*time.Minute {
			return 0, badRequest("until %s is not within a year from now (%s by this node's clock)", req.Until, n.at)
		}
		return at, nil
	case math.IsNaN(req.Minutes) || req.Minutes < 0 || req.Minutes > maxHoldMinutes:
		return 0, badRequest("minutes must lie between 0 and %d", maxHoldMinutes)
	case req.Minutes > 0:
		return n.hm.Add(time.Duration(req.Minutes * float64(time.Minute))), nil
	}
	return 0, nil
}

// releaseHold answers DELETE /v1/holds/{name}?by= on the leader. The entry first sets the hold again in the name of the
// person who releases it: so the log shows that a person released it, not hm itself.
func (s *Server) releaseHold(w http.ResponseWriter, r *http.Request) error {
	name, by := r.PathValue("name"), r.URL.Query().Get("by")
	if len(by) > maxText {
		return badRequest("by may have at most %d bytes", maxText)
	}
	holds := s.snapshot().view.Holds()
	at := slices.IndexFunc(holds, func(h raftfsm.Hold) bool { return h.Name == name })
	if at < 0 {
		return problem(http.StatusNotFound, "no-hold", fmt.Sprintf("no hold %.64q is set", name), "hm status lists the holds")
	}
	hold := holds[at]
	about(w, "hold %s, which %s set: %s", name, hold.By, hold.Reason)
	hold.By = s.requester(r, by)
	results, err := s.opts.Node.Propose(r.Context(), raftfsm.HoldSet{Hold: hold}, raftfsm.HoldReleased{Name: name})
	if err != nil {
		return fmt.Errorf("releasing hold %.64q: %w", name, err)
	}
	for _, res := range results {
		if len(res.Refused) > 0 {
			return badRequest("hold %.64q was not released: %v", name, res.Refused[0].Err)
		}
	}
	s.waitForStep(r.Context())
	n := s.snapshot()
	n.basis(n.view).setHeaders(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// stepTimeout is how long a write waits for the loop to take it into account.
const stepTimeout = 500 * time.Millisecond

// waitForStep wakes the loop and waits until it has taken a step: a client that sets a hold and then asks for the
// status sees a closed gate.
func (s *Server) waitForStep(ctx context.Context) {
	asked := s.opts.Node.Now()
	s.opts.Loop.Wake()
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.opts.Loop.Overview().At <= asked {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.opts.Loop.Wake() // a step in the same millisecond as the write may have begun before it
		}
	}
}

// requester names who made a write: the principal, and by, which the client gives.
func (s *Server) requester(r *http.Request, by string) string {
	who := principalOf(r)
	user := who.Name
	if user == "" && by == "" {
		by = who.From
	}
	if user != "" && by != "" && by != user {
		return user + " (" + by + ")"
	}
	if user != "" {
		return user
	}
	return by
}

// readJSON reads a request's body strictly.
func readJSON(r *http.Request, v any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "media-type", "the body must be application/json", "set the Content-Type")
	}
	if err := decodeStrict(r.Body, v); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return badRequest("the body cannot be read: %v", err)
	}
	return nil
}
