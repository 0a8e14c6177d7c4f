package cluster

import (
	"time"

	"hm/internal/app"
)

// followClock sets this node's clock by that of the leader that it follows.
func (ps *peerStatus) followClock(m message) {
	n := ps.node
	term := n.raft.CurrentTerm()
	if _, leader := n.raft.LeaderWithID(); m.Term == term && m.Clock == term && string(leader) == m.From {
		if n.clock.follow(m.Time, term) {
			ps.forgetTimes()
		}
	}
}

// forgetTimes drops the times that the peers have told, since this node's clock was set back.
func (ps *peerStatus) forgetTimes() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, m := range ps.latest {
		m.message.Info = m.message.Info.withoutTimes()
		ps.latest[id] = m
	}
}

// withoutTimes is i without the times of reads.
func (i *PeerInfo) withoutTimes() *PeerInfo {
	if i == nil {
		return nil
	}
	without := *i
	without.DesiredReadBegan, without.DesiredReadEnded, without.DesiredReadApps = 0, 0, 0
	return &without
}

// takeOverClock makes this node's clock that of the leader of a new term. It takes over the clock of the voter that
// followed the newest leader, if that is newer than the one that this node followed.
func (n *Node) takeOverClock(term uint64) {
	newest, at := n.clock.ofTerm.Load(), app.Time(0)
	for _, v := range n.voters() {
		m, ok := n.peerStatus.latestFrom(string(v.ID))
		if age := time.Since(m.at); ok && m.message.Clock > newest && age <= staleAfter {
			newest, at = m.message.Clock, m.message.Time.Add(age)
		}
	}
	if n.clock.lead(at, term) {
		n.peerStatus.forgetTimes()
	}
}
