package main

import (
	"time"

	"hm/actual/feed"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
)

// markersPerPeriod is how often in a heartbeat period a node measures how late it hears.
const markersPerPeriod = 10

// listenInTime has the intake go by how late the link is, and answer peers that ask what this node hears.
func (n *node) listenInTime(cfg config.Config) (err error) {
	n.marker, err = n.link.Mark(bus.MarkerOptions{
		Subject: bus.MarkerSubject(cfg.Node.ID), Behind: []string{feed.SubjectHeartbeat},
		Every: max(cfg.Policy.HeartbeatPeriod/markersPerPeriod, 5*time.Millisecond), Heard: n.intake.CameBack,
	})
	if err != nil {
		return err
	}
	n.intake.LagBy(func() time.Duration { return n.marker.Lag().Time })
	n.cluster.AnswerPeers(n.intake.HeardAgo)
	return nil
}

// peerHearing are the other voters as the reconcile loop knows them.
type peerHearing struct {
	id      string
	cluster *cluster.Node
}

// Hearing is what those of them say that have caught up.
func (p peerHearing) Hearing() (said []reconcile.Hearing) {
	applied := p.cluster.View().Index()
	for _, m := range p.cluster.Members() {
		if m.ID != p.id && speaks(m) && m.Info.AppliedIndex+yieldLag >= applied {
			said = append(said, reconcile.Hearing{DEAs: m.Info.HeardDEAs, Fresh: m.Info.HearingComplete, Age: m.InfoAge})
		}
	}
	return said
}

// Ask begins to ask them.
func (p peerHearing) Ask(deas []string) { p.cluster.AskPeers(deas) }

// Answers are those that have come in.
func (p peerHearing) Answers() (answers []reconcile.Ears, all bool) {
	told, all := p.cluster.PeerAnswers()
	for _, a := range told {
		answers = append(answers, reconcile.Ears{Peer: a.ID, Counts: a.Counts, Ago: a.Ago})
	}
	return answers, all
}

// speaks reports whether a member is a voter whose word is new.
func speaks(m cluster.Member) bool {
	return m.Voter && m.Healthy && m.HasInfo && m.InfoAge <= maxInfoAge
}
