package api

import (
	"strings"
	"time"

	"hm/internal/bus"
)

// subjectHanded is, behind the name of a node, the subject on which its peers hand it the questions on healthmanager.*
// that they cannot answer.
const subjectHanded = "healthmanager.*"

// handOver gives a question to a peer that knows enough to answer, if there is one. A question is handed over once.
func (q *Queries) handOver(m question) {
	peer, any := q.server.answeringPeer()
	if !any || m.handed {
		return
	}
	if err := q.link.Hand(m.Msg, bus.NodeSubject(peer, m.Subject)); err != nil {
		q.logger.Debug("a question was not handed over", "subject", m.Subject, "peer", peer, "error", err)
	}
}

// takeHanded takes a question that a peer has handed over to this node.
func (q *Queries) takeHanded(m bus.Msg) {
	m.Subject = strings.TrimPrefix(m.Subject, bus.NodeSubject(q.server.opts.ID, ""))
	switch m.Subject {
	case subjectStatus, subjectHealth, subjectDroplet:
		q.queue(question{Msg: m, handed: true})
	}
}

// answeringPeer gives the peer that says over the cluster's own channel that it knows enough to answer; the leader, if it
// is one of several.
func (s *Server) answeringPeer() (id string, any bool) {
	for _, m := range s.opts.Node.Members() {
		if m.ID == s.opts.ID || !m.HasInfo || !m.Healthy || m.InfoAge > maxPeerAge || !m.Info.NATSUp || !m.Info.Answers {
			continue
		}
		if id, any = m.ID, true; m.State == "leader" {
			break
		}
	}
	return id, any
}

// maxPeerAge is how old a peer's status may be. A peer sends it four times a second.
const maxPeerAge = time.Second
