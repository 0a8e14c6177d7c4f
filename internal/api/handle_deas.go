package api

import (
	"net/http"
	"strconv"
	"strings"

	"hm/raftfsm"
)

// deas answers GET /v1/deas?limit=&cursor=, sorted by id, with the DEAs that are gone.
func (s *Server) deas(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r, "limit", "cursor"); err != nil {
		return err
	}
	var last string
	limit, resumed, err := pageOf(r, &last)
	if err != nil {
		return err
	}
	n := s.snapshot()
	items := []DEA{}
	for d := range n.view.DEAs() {
		if resumed && d.ID <= last {
			continue
		}
		if len(items) == limit {
			if err := setNext(w, r, items[limit-1].DEA); err != nil {
				return err
			}
			break
		}
		items = append(items, s.deaItem(n, d))
	}
	c := n.view.Counts()
	w.Header().Set(headerTotal, strconv.Itoa(c.DEAs+c.GoneDEAs))
	return writeJSON(w, http.StatusOK, n.basis(n.view), items)
}

func (s *Server) deaItem(n snapshot, d raftfsm.DEA) DEA {
	item := DEA{
		DEA: d.ID, Count: d.Len, FirstSeen: n.wall.Time(d.FirstSeen), ChangedAt: n.wall.Time(d.ChangedAt),
		LastHeard: n.wall.Time(s.opts.Loop.LastHeard(d.ID)), GoneAt: n.wall.Time(d.GoneAt),
	}
	s.addTrouble(n, d, &item)
	return item
}

// dea answers GET /v1/deas/{id}, with all instances of the DEA: at most actual.MaxInstances.
func (s *Server) dea(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r); err != nil {
		return err
	}
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
	return writeJSON(w, http.StatusOK, b, answer)
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
