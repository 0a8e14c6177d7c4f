package api

import (
	"fmt"
	"net/http"
)

// readyLag is by how many entries a node may be behind its leader and count as caught up. Elections and changes of the
// membership take an index, too, and never reach the recorded state.
const readyLag = 64

// Readiness is the answer to GET /readyz: status 200 if Ready, else 503.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not; never null
	Basis   Basis    `json:"basis"`
}

// healthz answers GET /healthz: it shows that the process serves requests.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // an error means that the probe is gone
	return nil
}

// readyz answers GET /readyz. A node is ready if it knows a leader, has caught up with it, and its disk answers.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	n := s.snapshot()
	answer := Readiness{Reasons: []string{}, Basis: n.basis(n.view)}
	if f := s.fault(); f != nil {
		answer.Reasons = append(answer.Reasons, f.Kind+": "+f.Detail)
	}
	if why := s.unready(n); why != "" {
		answer.Reasons = append(answer.Reasons, why)
	}
	answer.Ready = len(answer.Reasons) == 0
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	return writeJSON(w, status, answer.Basis, answer)
}

// unready says why this node is not ready; empty if it is.
func (s *Server) unready(n snapshot) string {
	if _, err := s.opts.Node.DiskTrouble(); err != nil {
		return err.Error()
	}
	switch {
	case n.lead.Leader:
		return ""
	case n.lead.LeaderID == "":
		return "no leader is known"
	case n.lead.LeaderID == s.opts.ID:
		return "this node was elected leader and is catching up"
	}
	if lag, known := s.lag(n); !known {
		return "the leader has not been heard yet"
	} else if lag > readyLag {
		return fmt.Sprintf("%d entries behind the leader", lag)
	}
	return ""
}

// lag is by how many entries this node is behind the newest index that the leader reported.
func (s *Server) lag(n snapshot) (entries uint64, known bool) {
	for _, m := range s.opts.Node.Members() {
		if m.ID != n.lead.LeaderID || !m.HasInfo {
			continue
		}
		if own := n.view.Index(); m.Info.AppliedIndex > own {
			return m.Info.AppliedIndex - own, true
		}
		return 0, true
	}
	return 0, false
}
