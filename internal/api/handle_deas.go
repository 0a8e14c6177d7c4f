package api

import (
	"net/http"
	"strings"

	"hm/raftfsm"
)

// dea answers GET /v1/deas/{id}, with all instances of the DEA: at most actual.MaxInstances.
func (s *Server) dea(w http.ResponseWriter, r *http.Request) error {
	n := s.snapshot()
	d, err := findDEA(n.view, r.PathValue("id"))
	if err != nil {
		return err
	}
	answer := s.deaItem(n, d)
	b := n.basis(n.view)
	answer.Basis = &b
	list := n.view.Located(d.ID)
	answer.Instances = make([]Instance, 0, len(list))
	for i := range list {
		inst := s.instance(n, &list[i])
		inst.App, inst.Version, inst.DEA = list[i].App.Droplet.String(), list[i].App.Version.String(), ""
		answer.Instances = append(answer.Instances, inst)
	}
	return writeTagged(w, b, answer, answer.unheard())
}

// findDEA finds the DEA that text names by its id or by the beginning of it.
func findDEA(view *raftfsm.State, text string) (raftfsm.DEA, error) {
	if d, ok := view.DEA(text); ok {
		return d, nil
	}
	var candidates []string
	for d := range view.DEAs() {
		if strings.HasPrefix(d.ID, text) {
			candidates = append(candidates, d.ID)
		}
		if len(candidates) > maxCandidates {
			break
		}
	}
	switch len(candidates) {
	case 0:
		return raftfsm.DEA{}, notFound("no DEA %q is recorded, and it is not the beginning of an id", cut(text))
	case 1:
		d, _ := view.DEA(candidates[0])
		return d, nil
	}
	return raftfsm.DEA{}, ambiguous("DEA", text, candidates)
}

// unheard gives a DEA with its instances, without its basis and the times when it was last heard, for a tag.
func (d DEA) unheard() DEA {
	d.Basis, d.LastHeard, d.Instances = nil, Timestamp{}, instancesUnheard(d.Instances)
	return d
}
