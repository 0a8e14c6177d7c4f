package api

import (
	"cmp"
	"net/http"
	"slices"

	"hm/internal/cluster"
)

// status answers GET /v1/status.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r); err != nil {
		return err
	}
	n := s.look()
	p := s.fleet.now(n)
	st := Status{
		Node: s.opts.ID, Version: s.opts.Version, Cluster: s.cluster(n.lead), Gate: n.gate(), NATS: s.nats(),
		Drift: p.counts(), Queue: Queue{Apps: n.over.Queue}, Holds: holds(n.wall, n.view.Holds()),
		Hash: n.view.Hash().String(), Basis: n.basis(n.view),
	}
	c, meta := n.view.Counts(), n.view.DesiredMeta()
	st.Desired = DesiredStatus{
		Fresh: n.over.DesiredFresh, Source: meta.Source, Apps: c.Apps, Instances: c.DesiredInstances,
		SyncedAt: n.wall.Time(cmp.Or(n.over.Reads.Began, meta.CommittedAt)), Error: n.over.ReadError,
	}
	st.Actual = ActualStatus{
		Fresh: n.over.ActualFresh, DEAs: c.DEAs, GoneDEAs: c.GoneDEAs, Instances: c.Instances, Starting: c.Starting,
		Running: c.Running, Crashed: c.Crashed, Evacuating: c.Evacuating, Backlog: n.over.Backlog,
	}
	st.Commands = CommandsStatus{PendingStarts: c.PendingStarts, PendingStops: c.PendingStops, SentStarts: c.SentStarts, SentStops: c.SentStops}
	return writeJSON(w, http.StatusOK, st.Basis, st)
}

func (s *Server) nats() NATS {
	st := s.opts.Link.State()
	return NATS{Connected: st.Up, Server: st.Server, Since: stamp(st.Since), Outages: st.Outages, Gaps: st.Gaps}
}

func (s *Server) cluster(lead cluster.Leadership) Cluster {
	c := Cluster{Leader: lead.LeaderID, Term: lead.Term, Nodes: []ClusterNode{}}
	for _, m := range s.opts.Node.Members() {
		node := ClusterNode{ID: m.ID, Address: m.Address, State: m.State, Voter: m.Voter, Healthy: m.Healthy}
		if m.HasInfo {
			node.NATS, node.AppliedIndex, node.API, node.Gate, node.Version = &m.Info.NATSUp, &m.Info.AppliedIndex, m.Info.API, m.Info.Gate, m.Info.Version
		}
		if m.ID == s.opts.ID { // what it knows of itself is newer than what it told
			up, index := s.opts.Link.State().Up, s.opts.Node.View().Index()
			node.NATS, node.AppliedIndex = &up, &index
		}
		c.Nodes = append(c.Nodes, node)
	}
	slices.SortFunc(c.Nodes, func(a, b ClusterNode) int { return cmp.Compare(a.ID, b.ID) })
	return c
}
