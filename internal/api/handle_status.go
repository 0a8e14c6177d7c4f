package api

import (
	"cmp"
	"net/http"
	"slices"

	"hm/internal/reconcile"
	"hm/raftfsm"
)

// status answers GET /v1/status.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	n := s.wholeSnapshot(r.Context())
	p := s.fleet.recent(n)
	st := StatusOf(n.over, n.view.Counts(), n.view.DesiredMeta(), n.wall)
	st.Node, st.Version, st.Cluster, st.NATS, st.Gate = s.opts.ID, s.opts.Version, s.cluster(n), s.nats(), s.gate(n)
	st.CC, st.TLS = s.cc(), s.tlsFiles()
	st.Drift, st.Queue, st.Holds, st.Hash, st.Basis = p.counts(n), n.queue(p), holds(n.wall, n.view.Holds()), n.view.Hash().String(), n.basis(n.view)
	return writeJSON(w, http.StatusOK, st.Basis, st)
}

// StatusOf gives the part of a status that follows from the recorded state and from what one node knows beyond it:
// gate, desired and actual state, commands and queue. A replay has no more than that.
func StatusOf(over reconcile.Overview, c raftfsm.Counts, meta raftfsm.DesiredMeta, wall Wall) Status {
	return Status{
		Gate: gateOf(over, wall),
		Desired: DesiredStatus{
			Fresh: over.DesiredFresh, Source: meta.Source, Apps: c.Apps, Instances: c.DesiredInstances,
			SyncedAt: wall.Time(cmp.Or(over.Reads.Began, meta.CommittedAt)), Error: over.ReadError,
		},
		Actual: ActualStatus{
			Fresh: over.ActualFresh, DEAs: c.DEAs, GoneDEAs: c.GoneDEAs, Instances: c.Instances, Starting: c.Starting,
			Running: c.Running, Crashed: c.Crashed, Evacuating: c.Evacuating, Backlog: over.Backlog, MissedDEAs: over.Missed,
			Unreadable: unreadableOf(over.Unreadable), DoubledIDs: over.Unreadable.DoubledIDs, Doubled: over.Unreadable.Doubled,
		},
		Commands: CommandsStatus{PendingStarts: c.PendingStarts, PendingStops: c.PendingStops, SentStarts: c.SentStarts, SentStops: c.SentStops},
		Queue:    queueOf(over, wall),
	}
}

// gate gives the gate of this node. If another node leads, it also has what that node reports of its own gate.
func (s *Server) gate(n snapshot) Gate {
	g := gateOf(n.over, n.wall)
	for _, m := range s.opts.Node.Members() {
		if m.ID == n.lead.LeaderID && m.ID != s.opts.ID && m.HasInfo {
			g.OnLeader = m.Info.Gate
		}
	}
	return g
}

func (s *Server) nats() NATS {
	st, lag := s.opts.Link.State(), s.opts.Lag()
	n := NATS{
		Connected: st.Up, Server: st.Server, ServerName: st.ServerName, Error: st.Error, Since: stamp(st.Since), Outages: st.Outages, Gaps: st.Gaps, Moves: st.Moves, LagRefused: lag.Refused,
		Refused: refusals(s.opts.Link.Refusals()),
	}
	if lag.Known {
		seconds := lag.Time.Seconds()
		n.Lag = &seconds
	}
	return n
}

func (s *Server) cluster(n snapshot) Cluster {
	c := Cluster{ID: n.view.ClusterID().String(), Leader: n.lead.LeaderID, Term: n.lead.Term, Nodes: []ClusterNode{}}
	for _, m := range s.opts.Node.Members() {
		node := ClusterNode{
			ID: m.ID, Address: m.Address, State: m.State, Voter: m.Voter, Healthy: m.Healthy, Problem: m.Problem, Fault: m.Fault,
		}
		if m.HasInfo {
			node.NATS, node.AppliedIndex, node.API, node.Gate, node.Version = &m.Info.NATSUp, &m.Info.AppliedIndex, m.Info.API, m.Info.Gate, m.Info.Version
			node.Hears, node.Kinds, node.SnapshotFormat = &m.Info.HeardDEAs, m.Info.Kinds, m.Info.SnapshotFormat
			node.NATSRefused = m.Info.NATSRefused
		}
		if m.ID == s.opts.ID { // what a node knows of itself is newer than what it sent to its peers
			up, index := s.opts.Link.State().Up, s.opts.Node.View().Index()
			node.NATS, node.AppliedIndex, node.NATSRefused = &up, &index, s.refusalText()
		}
		c.Nodes = append(c.Nodes, node)
	}
	slices.SortFunc(c.Nodes, func(a, b ClusterNode) int { return cmp.Compare(a.ID, b.ID) })
	return c
}
