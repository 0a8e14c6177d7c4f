package api

import (
	"context"
	"net/http"
	"time"
)

// maxRecordings is how many recordings may be taken of a node at a time.
const maxRecordings = 4

// recordingIdle is how long a client of a recording may take nothing before it is cut off.
const recordingIdle = 30 * time.Second

// recording answers GET /v1/recording: a recording of what this node hears, as JSON lines (docs/recording-format.md), until the
// client goes away or the node goes down. Empty lines come when there is nothing to tell.
func (s *Server) recording(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r); err != nil {
		return err
	}
	if s.opts.Record == nil {
		return notFound("this node offers no recordings")
	}
	n := s.snapshot()
	if why := s.unready(n); why != "" { // its record is not what the cluster's is, nor is its time
		return problem(http.StatusServiceUnavailable, "not-ready", "this node cannot be recorded yet: "+why, "try again in a moment")
	}
	select {
	case s.recordings <- struct{}{}:
		defer func() { <-s.recordings }()
	default:
		return problem(http.StatusTooManyRequests, "busy", "this node is being recorded by as many as may do so at a time", "record from another node")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil { // the request is read, and to find the client gone must not be taken for a late one
		return err
	}
	n.basis(n.view).setHeaders(w.Header())
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := &slowClientWriter{w: w, control: control}
	if err := s.opts.Record(ctx, out, control.Flush); err != nil {
		if ctx.Err() == nil {
			s.opts.Logger.Info("a recording of this node has ended", "remote", r.RemoteAddr, "error", err)
		}
		return errGone // what has been sent cannot be taken back: the connection is cut
	}
	return nil
}

// recordingState answers POST /v1/recording/{id}/state: the recording with the id that its header tells has what is recorded
// now in its place among what happens, so that whoever takes it down can begin another part with it.
func (s *Server) recordingState(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r); err != nil {
		return err
	}
	if id := r.PathValue("id"); s.opts.RecordState == nil || !s.opts.RecordState(id) {
		return notFound("this node has no recording %.40q under way that can take the state", id)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// slowClientWriter gives a client that takes what it is sent all the time it wants.
type slowClientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (p *slowClientWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(recordingIdle)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
