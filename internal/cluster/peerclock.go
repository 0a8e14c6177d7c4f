package cluster

import (
	"time"

	"hm/raftfsm"
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

// takeOverClock makes this node's clock that of the leader of a new term. If a voter followed a newer leader than this
// node, it takes over that voter's clock. A clock must have followed its leader since the newest entry was stamped.
func (n *Node) takeOverClock(term uint64) {
	var voters []clockReading
	for _, v := range n.voters() {
		m, ok := n.peerStatus.latestFrom(string(v.ID))
		if age := time.Since(m.at); ok && m.message.Clock != 0 && age <= staleAfter {
			voters = append(voters, m.message.clockReading(age))
		}
	}
	if n.clock.lead(voters, term) {
		n.peerStatus.forgetTimes()
	}
}

// clockReading is what the sender's clock shows when the message has the given age.
func (m message) clockReading(age time.Duration) clockReading {
	r := clockReading{m.Clock, m.ClockTold, m.Time.Add(age)}
	if r.told == 0 {
		r.told = raftfsm.MaxTime // its version does not tell, and did not ask
	}
	return r
}
