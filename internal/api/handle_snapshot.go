package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hm/internal/cluster"
	"hm/internal/reconcile"
	"hm/internal/snapshotfile"
	"hm/raftfsm"
)

const (
	snapshotPath  = "/v1/snapshot"
	snapshotMedia = "application/octet-stream"

	maxSnapshots    = 2                // snapshots of a node that are sent at a time
	maxSnapshotBody = 1 << 30          // of an upload; 1,000,000 instances take 30 MiB
	snapshotIdle    = 30 * time.Second // for which a client may read or send nothing
	snapshotWithin  = 30 * time.Minute // for the whole transfer
	restoreWithin   = 2 * time.Minute  // for the restore, once the upload is whole
	uploadPattern   = "snapshot-upload-*.tmp"
)

// saveSnapshot answers GET /v1/snapshot: a file with this node's record as it is now (package snapshotfile).
func (s *Server) saveSnapshot(w http.ResponseWriter, r *http.Request) error {
	n := s.snapshot()
	if s.opts.Node.Joining() {
		return problem(http.StatusServiceUnavailable, "not-ready", "this node still copies the record from its peers", "save the snapshot of another node")
	}
	select {
	case s.snapshots <- struct{}{}:
		defer func() { <-s.snapshots }()
	default:
		return problem(http.StatusTooManyRequests, "busy", "as many snapshots of this node are under way as are allowed", "try again, or save that of another node")
	}
	ctx, cancel := context.WithTimeout(r.Context(), snapshotWithin)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil { // the whole request is read; without this the server would end it as late
		return err
	}
	n.basis(n.view).setHeaders(w.Header())
	w.Header().Set("Content-Type", snapshotMedia)
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s"`, snapshotName(n.view)))
	w.Header().Set("Cache-Control", "no-store")
	about(w, "the state after entry %d", n.view.Index())
	out := &endingWriter{ctx, &slowClientWriter{w: w, control: control, idle: snapshotIdle}}
	if err := snapshotfile.Write(out, n.view, snapshotfile.Header{Version: s.opts.Version, Node: s.opts.ID, SavedAt: s.opts.Clock().UTC().Truncate(time.Second)}); err != nil {
		s.opts.Logger.Info("sending a snapshot of this node ended early", "remote", r.RemoteAddr, "error", err)
		return errGone // an error cannot follow what has been sent: the connection is closed
	}
	return nil
}

// snapshotName is a name for the file of a snapshot.
func snapshotName(view *raftfsm.State) string {
	id, _, _ := strings.Cut(view.ClusterID().String(), "-")
	return fmt.Sprintf("hm-%s-%d.hmsnap", cmp.Or(id, "unnamed"), view.Index())
}

// endingWriter writes until ctx ends.
type endingWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write writes, unless ctx has ended.
func (e *endingWriter) Write(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.w.Write(b)
}

// restoreSnapshot answers POST /v1/snapshot on the leader. It keeps the upload in a file until the restore has ended,
// and changes nothing before the whole file is checked.
func (s *Server) restoreSnapshot(w http.ResponseWriter, r *http.Request) error {
	if s.opts.Restore == nil {
		return notFound("this node restores no snapshots")
	}
	n, q := s.snapshot(), r.URL.Query()
	if len(q.Get("by")) > maxText {
		return badRequest("by may have at most %d bytes", maxText)
	}
	own := n.view.ClusterID().String()
	if own == "" || !s.opts.Node.Knows(raftfsm.KindClusterNamed) {
		return problem(http.StatusServiceUnavailable, "not-ready", "the cluster has no id yet, or a node of it is too old for one", "try again in a moment; hm status shows the versions of the nodes")
	}
	if given := q.Get("cluster"); !strings.EqualFold(given, own) {
		return problem(http.StatusConflict, "other-cluster", fmt.Sprintf("the request is for the cluster %.60q, and this is the cluster %s: nothing was restored", given, own),
			"hm status -o json shows the id of a cluster")
	}
	select {
	case s.restores <- struct{}{}:
		defer func() { <-s.restores }()
	default:
		return problem(http.StatusTooManyRequests, "busy", "another snapshot is being restored", "look at hm status, then try again")
	}
	file, err := s.upload(r)
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }() // what is left of it the next start removes
	state, head, err := snapshotfile.Read(file)
	if err != nil {
		if errors.Is(err, snapshotfile.ErrFile) {
			return problem(http.StatusBadRequest, "bad-snapshot", err.Error(), "hm snapshot inspect FILE checks a file")
		}
		return fmt.Errorf("reading the upload: %w", err)
	}
	if foreign := q.Get("foreign"); head.Cluster != own && !strings.EqualFold(foreign, cmp.Or(head.Cluster, "none")) {
		return problem(http.StatusConflict, "foreign-snapshot",
			fmt.Sprintf("the snapshot is of the cluster %s, and this is the cluster %s: nothing was restored", cmp.Or(head.Cluster, "none (it had no id)"), own),
			"if that is what you want, say so: foreign="+cmp.Or(head.Cluster, "none")+", or hm snapshot restore --foreign "+cmp.Or(head.Cluster, "none"))
	}
	about(w, "entry %d of the cluster %s, saved by %.64s at %s", head.Index, cmp.Or(head.Cluster, "none"), head.Node, head.SavedAt.Format(time.RFC3339))
	return s.restore(w, r, state, head)
}

func (s *Server) restore(w http.ResponseWriter, r *http.Request, state *raftfsm.State, head snapshotfile.Header) error {
	ctx, cancel := context.WithTimeout(r.Context(), restoreWithin)
	defer cancel()
	why := fmt.Sprintf("a snapshot of %s was restored", head.Time)
	hold := reconcile.RestoredHold(s.opts.Node.Now(), s.opts.Freshness, s.opts.Policy, why, s.requester(r, r.URL.Query().Get("by")))
	s.opts.Logger.Warn("restoring a snapshot", "by", hold.By, "cluster", head.Cluster, "index", head.Index, "time", head.Time, "hash", head.Hash)
	index, err := s.opts.Restore(ctx, state, hold)
	switch {
	case errors.Is(err, cluster.ErrRestoring):
		return problem(http.StatusTooManyRequests, "busy", err.Error(), "look at hm status, then try again")
	case err != nil:
		return fmt.Errorf("restoring the snapshot: %w", err)
	}
	s.opts.Loop.Wake()
	s.opts.Logger.Warn("a snapshot was restored", "index", index, "restored", head.Index)
	n := s.snapshot()
	return writeJSON(w, http.StatusOK, n.basis(n.view), SnapshotRestored{
		Cluster: n.view.ClusterID().String(), Index: index, WaitsUntil: n.wall.Time(hold.Until),
		Snapshot: SnapshotOrigin{Cluster: head.Cluster, Index: head.Index, Time: stamp(head.Time.Std()), Hash: head.Hash, Node: head.Node, SavedAt: stamp(head.SavedAt)},
	})
}

// SnapshotRestored is the answer to POST /v1/snapshot.
type SnapshotRestored struct {
	Cluster    string         `json:"cluster"`     // id of the cluster, which stays as it was
	Index      uint64         `json:"index"`       // of the restored state in the log
	WaitsUntil Timestamp      `json:"waits_until"` // until then at least no command is sent
	Snapshot   SnapshotOrigin `json:"snapshot"`    // what was restored
}

// SnapshotOrigin says where a restored snapshot came from.
type SnapshotOrigin struct {
	Cluster string    `json:"cluster"`    // id of the cluster; empty: it had none
	Index   uint64    `json:"index"`      // of the newest entry in it
	Time    Timestamp `json:"time"`       // hm time
	Hash    string    `json:"state_hash"` // of the snapshot's state
	Node    string    `json:"node"`       // that saved it
	SavedAt Timestamp `json:"saved_at"`   // by the wall clock of that node
}

// upload keeps the body of a request in a file in the data directory.
func (s *Server) upload(r *http.Request) (_ *os.File, err error) {
	if r.ContentLength > maxSnapshotBody {
		return nil, problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is larger than %d bytes", maxSnapshotBody), "")
	}
	file, err := os.CreateTemp(s.opts.SpoolDir, uploadPattern)
	if err != nil {
		return nil, fmt.Errorf("keeping the upload in node.data_dir: %w", err)
	}
	defer func() {
		if err != nil {
			_ = errors.Join(file.Close(), os.Remove(file.Name()))
		}
	}()
	if _, err := io.Copy(file, r.Body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, problem(http.StatusBadRequest, "bad-request", "the upload ended early, or cannot be kept in node.data_dir: "+err.Error(), "")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return file, nil
}

// slowBody reads a request's body for a long time, as long as the client sends.
type slowBody struct {
	body    io.Reader
	control *http.ResponseController
	end     time.Time
}

// newSlowBody also gives the answer as much time.
func newSlowBody(w http.ResponseWriter, r *http.Request) *slowBody {
	b := &slowBody{r.Body, http.NewResponseController(w), time.Now().Add(snapshotWithin)}
	_ = b.control.SetWriteDeadline(b.end.Add(restoreWithin + time.Minute)) // else the usual one
	return b
}

// Read reads more of the body.
func (b *slowBody) Read(p []byte) (int, error) {
	next := time.Now().Add(snapshotIdle)
	if next.After(b.end) {
		next = b.end
	}
	if err := b.control.SetReadDeadline(next); err != nil {
		return 0, err
	}
	return b.body.Read(p)
}

// Close closes the body.
func (b *slowBody) Close() error {
	if c, ok := b.body.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// clearUploads removes what an earlier process left of uploads.
func clearUploads(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, uploadPattern)) // the pattern is valid
	for _, path := range left {
		_ = os.Remove(path) // the next start tries again
	}
}
