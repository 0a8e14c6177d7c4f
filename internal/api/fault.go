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

// believed refuses a read of a record that is known to be wrong, or not whole. It is refused and not marked: who asks is
// most often a program, which looks at no mark, and another node has the right answer. The status, the metrics and the
// two probes are answered, since they tell of the fault.
func (s *Server) believed(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		if f := s.fault(); f != nil {
			return problem(http.StatusServiceUnavailable, f.Kind, fmt.Sprintf("the record of node %s is not to be believed: %s", s.opts.ID, f.Detail), "ask another node; hm status tells of each")
		}
		return e(w, r)
	}
}
