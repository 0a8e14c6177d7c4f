package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"hm/internal/cluster"
)

// ClusterStatus is the answer to GET /v1/cluster: the members as the answering node sees them, and how many of them the
// cluster can lose.
type ClusterStatus struct {
	Node    string `json:"node"`
	Leader  string `json:"leader"` // empty if none is known
	Term    uint64 `json:"term"`
	Voters  int    `json:"voters"`         // members that vote
	Healthy int    `json:"healthy_voters"` // of these, those that are healthy and have the record
	// Majority is how many voters must agree before anything is recorded.
	Majority int `json:"majority"`
	// MayLose is how many more voters may fail; negative if there is no majority.
	MayLose  int             `json:"may_lose"`
	Members  []ClusterMember `json:"members"`  // sorted by id
	Warnings []string        `json:"warnings"` // for people; never null
	Basis    Basis           `json:"basis"`
}

// ClusterMember is one member, as in the status, and how far it is behind.
type ClusterMember struct {
	ClusterNode
	// LastIndex is how far its log reaches; null if that is not known.
	LastIndex *uint64 `json:"last_index"`
	// Behind is how many entries it lacks of the longest log that is known; null if that is not known.
	Behind *uint64 `json:"behind"`
	// LastContact is how long ago it was heard, in milliseconds; null if it was not.
	LastContact *int64 `json:"last_contact_ms"`
	// Joining says that it is copying the record and does not vote yet.
	Joining bool `json:"joining,omitempty"`
	// Configured says how its raft.peers differs from the members in the log, which count.
	Configured string `json:"configured,omitempty"`
}

// MemberRequest is the body of POST /v1/cluster/add, /v1/cluster/remove and /v1/cluster/transfer.
type MemberRequest struct {
	ID      string `json:"id"`                // of the node; empty for a transfer to the best one
	Address string `json:"address,omitempty"` // where the others reach it; only to add it
	Force   bool   `json:"force,omitempty"`   // do it although hm advises against it
}

// MemberChange is the answer to these requests.
type MemberChange struct {
	ID      string `json:"id"`      // of the node: of the new leader after a transfer
	Changed bool   `json:"changed"` // false: it was so before
	// Warnings say what to think of now, for people; never null.
	Warnings []string `json:"warnings"`
}

// clusterStatus answers GET /v1/cluster.
func (s *Server) clusterStatus(w http.ResponseWriter, _ *http.Request) error {
	n := s.snapshot()
	c := s.cluster(n)
	nodes := map[string]ClusterNode{}
	for _, node := range c.Nodes {
		nodes[node.ID] = node
	}
	st := ClusterStatus{Node: s.opts.ID, Leader: c.Leader, Term: c.Term, Members: []ClusterMember{}, Basis: n.basis(n.view)}
	members := s.opts.Node.Members()
	longest := uint64(0)
	for _, m := range members {
		longest = max(longest, m.LastIndex)
	}
	for _, m := range members {
		told := ClusterMember{ClusterNode: nodes[m.ID], Joining: m.Joining, Configured: m.Configured}
		if m.LastIndex > 0 {
			last, behind := m.LastIndex, longest-m.LastIndex
			told.LastIndex, told.Behind = &last, &behind
		}
		if !m.LastContact.IsZero() {
			ago := max(0, time.Since(m.LastContact).Milliseconds())
			told.LastContact = &ago
		}
		st.Members = append(st.Members, told)
		if m.Voter {
			st.Voters++
			if m.Healthy && !m.Joining {
				st.Healthy++
			}
		}
	}
	st.Majority = st.Voters/2 + 1
	st.MayLose = st.Healthy - st.Majority
	st.Warnings = clusterWarnings(members)
	return writeJSON(w, http.StatusOK, st.Basis, st)
}

// clusterWarnings say what is wrong with the members as a whole.
func clusterWarnings(members []cluster.Member) []string {
	warnings := []string{}
	voters := 0
	for _, m := range members {
		switch {
		case m.Voter:
			voters++
		case m.State != "removed":
			warnings = append(warnings, m.ID+" does not vote yet: it votes by itself when it has copied the record")
		}
	}
	if voters > 0 && voters%2 == 0 {
		warnings = append(warnings, fmt.Sprintf("%d voters survive no more failures than %d: add one, or remove one", voters, voters-1))
	}
	if voters > 5 {
		warnings = append(warnings, fmt.Sprintf("%d voters make every write wait for %d: five are enough", voters, voters/2+1))
	}
	for _, m := range members {
		if m.Configured != "" {
			warnings = append(warnings, fmt.Sprintf("raft.peers of %s differs from the members, which count: %s", m.ID, m.Configured))
		}
	}
	return warnings
}

// changeTimeout bounds a change of the members.
const changeTimeout = 15 * time.Second

// changeMembers makes an endpoint of a change of the members. It runs on the leader. A leader that must hand over first
// sends the request on to the next one.
func (s *Server) changeMembers(change func(context.Context, MemberRequest) (MemberChange, error)) endpoint {
	return s.write(func(w http.ResponseWriter, r *http.Request) error {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		var req MemberRequest
		if err := readJSON(r, &req); err != nil {
			return err
		}
		about(w, "%s", strings.TrimSpace(fmt.Sprintf("%s %s force=%v", clip(req.ID, 80), clip(req.Address, 200), req.Force)))
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
		defer cancel()
		done, err := change(ctx, req)
		if errors.Is(err, cluster.ErrHandedOver) {
			return s.passOn(ctx, w, r, raw)
		}
		if err != nil {
			return memberProblem(err)
		}
		done.Warnings = clusterWarnings(s.opts.Node.Members())
		n := s.snapshot()
		return writeJSON(w, http.StatusOK, n.basis(n.view), done)
	})
}

// passOn sends a request to the leader that follows this one.
func (s *Server) passOn(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte) error {
	lead := s.awaitLeadership(ctx, func(l cluster.Leadership) bool { return l.LeaderID != "" && l.LeaderID != s.opts.ID })
	if lead.LeaderID == "" || lead.LeaderID == s.opts.ID {
		return problem(http.StatusServiceUnavailable, "no-leader", "the leader has handed over, and no other leader is known yet", "try again")
	}
	r = r.WithContext(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return s.forward.to(w, r, lead.LeaderID, false)
}

// memberProblem gives the problem document for the error of a change.
func memberProblem(err error) error {
	var refused *cluster.Refusal
	switch {
	case errors.As(err, &refused):
		p := problem(http.StatusConflict, "refused", err.Error(), refused.Hint)
		if refused.Forced && !strings.Contains(refused.Hint, "force") {
			p.Hint = strings.TrimPrefix(refused.Hint+"; --force does it all the same", "; ")
		}
		return p
	case errors.Is(err, cluster.ErrMember):
		return problem(http.StatusBadRequest, "bad-request", err.Error(), "")
	case errors.Is(err, cluster.ErrNoMember):
		return problem(http.StatusNotFound, "not-found", err.Error(), "hm cluster status lists the members")
	}
	return err
}

func (s *Server) addMember(ctx context.Context, req MemberRequest) (MemberChange, error) {
	changed, err := s.opts.Node.Add(ctx, req.ID, req.Address, req.Force)
	return MemberChange{ID: req.ID, Changed: changed}, err
}

func (s *Server) removeMember(ctx context.Context, req MemberRequest) (MemberChange, error) {
	if req.Address != "" {
		return MemberChange{}, badRequest("a node is removed by its id alone")
	}
	return MemberChange{ID: req.ID, Changed: true}, s.opts.Node.Remove(ctx, req.ID, req.Force)
}

func (s *Server) transferLeadership(ctx context.Context, req MemberRequest) (MemberChange, error) {
	if req.Address != "" || req.Force {
		return MemberChange{}, badRequest("a transfer has no address and no force")
	}
	if req.ID == s.opts.ID {
		return MemberChange{ID: req.ID}, nil
	}
	to, err := s.opts.Node.HandOver(ctx, req.ID)
	return MemberChange{ID: cmp.Or(to, req.ID), Changed: true}, err
}
