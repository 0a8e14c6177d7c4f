package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/access"
	"hm/internal/config/limits"
	"hm/internal/journal"
	"hm/raftfsm"
)

// Everything that needs the role admin is told to the history of the cluster: who did it, how hm knows that, from which
// address, through which node, and what came of it. What was refused, or failed, is told as well, but not without bound.

// deed is one thing that needs the role admin. Nodes tell it to the leader as JSON.
type deed struct {
	Name    string `json:"name"` // of the principal
	Role    string `json:"role"`
	How     string `json:"how"`
	From    string `json:"from"`
	Node    string `json:"node"`   // that was asked
	What    string `json:"what"`   // method and path
	Detail  string `json:"detail"` // empty: What says it all
	Status  int    `json:"status"` // of HTTP
	LeftOut int64  `json:"left_out"`
}

// Limits on deeds.
const (
	maxDeed     = 8 << 10 // bytes of its JSON
	maxWhat     = 200     // bytes of the method and path
	deedTimeout = 2 * time.Second
	auditPath   = "/audit" // on the cluster's own port
)

// audit tells deeds to the history. It is safe for concurrent use.
type audit struct {
	mu     sync.Mutex
	failed budget // deeds that failed or were refused
	peers  budget // deeds that other nodes tell
	hidden int64  // since the last one that was told
	lost   atomic.Uint64
}

// budget bounds how often something happens.
type budget struct {
	burst float64
	every time.Duration // for one more
	left  float64
	at    time.Time
}

func (b *budget) take(now time.Time) bool {
	if b.at.IsZero() {
		b.left = b.burst
	} else {
		b.left = min(b.left+max(now.Sub(b.at), 0).Seconds()/b.every.Seconds(), b.burst)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func newAudit() *audit {
	return &audit{failed: budget{burst: 20, every: 10 * time.Second}, peers: budget{burst: 60, every: time.Second}}
}

// told reports whether a deed is told, and how many were left out before it.
func (a *audit) told(status int, now time.Time) (leftOut int64, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if status >= 400 && !a.failed.take(now) {
		a.hidden++
		return 0, false
	}
	leftOut, a.hidden = a.hidden, 0
	return leftOut, true
}

func (a *audit) fromPeer(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.peers.take(now)
}

// about says what a request that needs the role admin changes, for the history.
func about(w http.ResponseWriter, format string, args ...any) {
	if rec, ok := w.(*recorder); ok {
		rec.detail = fmt.Sprintf(format, args...)
	}
}

// audited tells the history of a request, now that its outcome is known.
func (s *Server) audited(r *http.Request, detail string, status int) {
	leftOut, tell := s.audit.told(status, time.Now())
	if !tell {
		return
	}
	who := principalOf(r)
	d := deed{
		Name: who.Name, Role: who.Role.String(), How: string(who.How), From: who.From, Node: cmp.Or(who.Via, s.opts.ID),
		What: clip(r.Method+" "+r.URL.Path, maxWhat), Detail: clip(detail, maxText), Status: status, LeftOut: leftOut,
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), deedTimeout)
	defer cancel()
	if err := s.tell(ctx, d); err != nil {
		s.audit.lost.Add(1)
		s.opts.Logger.Warn("the history lacks what somebody did over the API", "by", d.by(), "how", d.How, "from", d.From, "what", d.What,
			"detail", d.Detail, "status", d.Status, "error", err)
	}
}

// tell records a deed on the leader.
func (s *Server) tell(ctx context.Context, d deed) error {
	switch lead := s.opts.Node.Leadership(); {
	case lead.Leader:
		return s.recordDeed(ctx, d)
	case lead.LeaderID == "" || lead.LeaderID == s.opts.ID:
		return errors.New("no leader is known")
	default:
		return s.forward.tell(ctx, d, lead.LeaderID)
	}
}

func (s *Server) recordDeed(ctx context.Context, d deed) error {
	if !s.opts.Node.Knows(raftfsm.KindNoted) {
		return errors.New("a node of the cluster is too old for it")
	}
	if _, err := s.opts.Node.Propose(ctx, raftfsm.Noted{Notes: []raftfsm.Note{d.note()}}); err != nil {
		return fmt.Errorf("recording it: %w", err)
	}
	return nil
}

// clip cuts a text to n bytes.
func clip(text string, n int) string { return strings.ToValidUTF8(text[:min(len(text), n)], "?") }

// by names who did it.
func (d deed) by() string {
	if d.Name != "" {
		return d.Name
	}
	return d.From
}

func (d deed) note() raftfsm.Note {
	n := raftfsm.Note{
		Event: string(journal.AdminDone), By: d.by(), Name: d.What, Detail: d.Detail,
		Reason: fmt.Sprintf("%s, from %s through %s", d.How, d.From, d.Node),
		Counts: []raftfsm.NoteCount{{Name: "status", N: int64(d.Status)}},
	}
	if d.Status == http.StatusForbidden {
		n.Event = string(journal.AdminRefused)
	}
	if d.LeftOut > 0 {
		n.Counts = append(n.Counts, raftfsm.NoteCount{Name: "left_out", N: d.LeftOut})
	}
	return n
}

// parseDeed reads a deed that another node tells.
func parseDeed(raw []byte) (d deed, err error) {
	if err := decodeStrict(bytes.NewReader(raw), &d); err != nil {
		return d, err
	}
	if _, ok := access.NewPrincipal(d.Name, d.Role, d.How, d.From); !ok || len(d.What) > maxWhat || len(d.Detail) > maxText || len(d.Node) > limits.MaxNodeID ||
		d.Status < 100 || d.Status > 599 || d.LeftOut < 0 {
		return d, errors.New("it has values that no node sends")
	}
	return d, nil
}

// takeDeed answers POST /audit on the cluster's own port: another node tells what somebody did there.
func (s *Server) takeDeed(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDeed))
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	d, err := parseDeed(raw)
	switch {
	case err != nil:
		writeProblem(w, badRequest("the deed cannot be read: %v", err))
		return
	case !s.audit.fromPeer(time.Now()):
		p := problem(http.StatusTooManyRequests, "busy", "other nodes tell more than is recorded", "")
		p.retryAfter = time.Second
		writeProblem(w, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deedTimeout)
	defer cancel()
	if err := s.recordDeed(ctx, d); err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tell sends a deed to the leader.
func (f *forwarder) tell(ctx context.Context, d deed, leader string) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+leader+auditPath, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set(headerForwarded, f.id)
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("telling the leader %s: %w", leader, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return fmt.Errorf("telling the leader %s: %w", leader, err)
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the leader %s answers %s", leader, resp.Status)
	}
	return nil
}
