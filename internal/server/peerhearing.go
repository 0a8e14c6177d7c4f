package server

import (
	"time"

	"hm/actual/feed"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
)

const (
	markersPerPeriod  = 10                     // how often in a heartbeat period a node measures the lag of its link
	minMarkerInterval = 5 * time.Millisecond   // between two measurements, however short the period is
	maxMarkerInterval = 250 * time.Millisecond // however long the period is: a marker also shows that the link is alive
)

// measureLag starts to measure how late the link is, for the intake to go by. It also lets the intake answer peers
// that ask what this node hears.
func (n *Node) measureLag(cfg config.Config) (err error) {
	n.marker, err = n.link.Mark(bus.MarkerOptions{
		Subject: bus.MarkerSubject(cfg.Node.ID), Behind: []string{feed.SubjectHeartbeat},
		Every: min(max(cfg.Policy.HeartbeatPeriod/markersPerPeriod, minMarkerInterval), maxMarkerInterval), Heard: n.intake.NoteLag,
	})
	if err != nil {
		return err
	}
	n.intake.SetLag(func() time.Duration {
		lag := n.marker.Lag()
		if lag.Down {
			return -1
		}
		return lag.Time
	})
	n.cluster.AnswerPeers(n.intake.HeardAgo)
	n.cluster.RenewInfo(n.renewInfo)
	return nil
}

// peerHearing tells the reconcile loop what the other voters hear.
type peerHearing struct {
	id      string // of this node
	cluster *cluster.Node
}

// Hearing gives what the voters that have caught up with the log hear.
func (p peerHearing) Hearing() (hearing []reconcile.Hearing) {
	applied := p.cluster.View().Index()
	for _, m := range p.cluster.Members() {
		if m.ID != p.id && isCurrent(m) && m.Info.AppliedIndex+maxInfoLag >= applied {
			hearing = append(hearing, reconcile.Hearing{DEAs: m.Info.HeardDEAs, Fresh: m.Info.HearingComplete, Age: m.InfoAge})
		}
	}
	return hearing
}

// Ask asks the voters when they heard these DEAs. It does not wait for the answers.
func (p peerHearing) Ask(deas []string) { p.cluster.AskPeers(deas) }

// Answers gives the answers that have arrived. all says that none is missing.
func (p peerHearing) Answers() (answers []reconcile.PeerHearing, all bool) {
	arrived, all := p.cluster.PeerAnswers()
	for _, a := range arrived {
		answers = append(answers, reconcile.PeerHearing{Peer: a.ID, Counts: a.Counts, Ago: a.Ago})
	}
	return answers, all
}

const (
	maxInfoAge = time.Second // a peer tells about itself four times a second
	maxInfoLag = 64          // entries that a peer's own count may be behind; raft lets it catch up before a transfer
)

// isCurrent reports whether a member is a healthy voter that has told about itself recently.
func isCurrent(m cluster.Member) bool {
	return m.Voter && m.Healthy && m.HasInfo && m.InfoAge <= maxInfoAge
}
