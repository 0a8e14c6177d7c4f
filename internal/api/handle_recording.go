package api

import (
	"context"
	"net/http"
	"time"
)

// maxRecordings is how many recordings of a node may be under way at a time.
const maxRecordings = 4

// recordingIdle is how long a client of a recording may read nothing before its connection is closed.
const recordingIdle = 30 * time.Second

// recording answers GET /v1/recording: a recording of what this node hears, as JSON lines (docs/recording-format.md),
// until the client goes away or the node goes down. Empty lines come when there is nothing to tell.
func (s *Server) recording(w http.ResponseWriter, r *http.Request) error {
	if s.opts.Record == nil {
		return notFound("this node offers no recordings")
	}
	n := s.snapshot()
	if why := s.unready(n); why != "" { // its record and its time are behind those of the cluster
		return problem(http.StatusServiceUnavailable, "not-ready", "this node cannot be recorded yet: "+why, "try again in a moment")
	}
	select {
	case s.recordings <- struct{}{}:
		defer func() { <-s.recordings }()
	default:
		return problem(http.StatusTooManyRequests, "busy", "as many recordings of this node are under way as are allowed", "record from another node")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil { // the whole request is read; without this the server would end it as late
		return err
	}
	n.basis(n.view).setHeaders(w.Header())
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := &slowClientWriter{w: w, control: control, idle: recordingIdle}
	if err := s.opts.Record(ctx, out, control.Flush); err != nil {
		if ctx.Err() == nil {
			s.opts.Logger.Info("a recording of this node ended", "remote", r.RemoteAddr, "error", err)
		}
		return errGone // an error cannot follow what has been sent: the connection is closed
	}
	return nil
}

// recordingState answers POST /v1/recording/{id}/state: it puts the recorded state into the recording with the id of
// its header, in order with what happens, so that the client can begin another part of the recording with it.
func (s *Server) recordingState(w http.ResponseWriter, r *http.Request) error {
	if id := r.PathValue("id"); s.opts.RecordState == nil || !s.opts.RecordState(id) {
		return notFound("this node has no recording %.40q that can take the state", id)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// slowClientWriter writes to a client for any time, as long as the client reads.
type slowClientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration // for which the client may read nothing
}

func (p *slowClientWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(p.idle)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
