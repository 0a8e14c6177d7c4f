package api

import (
	"fmt"
	"net/http"

	"hm/internal/cluster"
)

// fault is what is wrong with this node's record; nil if nothing is.
func (s *Server) fault() *cluster.Fault {
	for _, m := range s.opts.Node.Members() {
		if m.ID == s.opts.ID {
			return m.Fault
		}
	}
	return nil
}

// unlessFaulty refuses to read a record that is known to be wrong or incomplete. A mark on the answer would not do:
// most clients are programs that look at no mark, and another node has the right answer. The status, the metrics and
// the two probes are answered, because they report the fault.
func (s *Server) unlessFaulty(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		if f := s.fault(); f != nil {
			return problem(http.StatusServiceUnavailable, f.Kind, fmt.Sprintf("the record of node %s cannot be trusted: %s", s.opts.ID, f.Detail), "ask another node; hm status shows all of them")
		}
		return e(w, r)
	}
}
