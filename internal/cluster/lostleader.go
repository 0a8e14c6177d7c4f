package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// staggerShare is the part of HeartbeatTimeout by which each voter waits longer than the one before it. Two rounds of
	// questions and a write to disk must fit in, or the votes are divided.
	staggerShare = 5
	lateShare    = 10 // the part of HeartbeatTimeout by which a timer may be late
)

// lostLeader makes this node notice a lost leader as soon as HeartbeatTimeout allows. Raft looks only when a random timer
// of one to two timeouts has passed, and starts it anew when it was too early. And a voter refuses its vote until it has
// noticed the loss itself, so an election waits for the slowest voter, and then for a whole ElectionTimeout. Here the
// voters look one after the other, so that they do not stand against each other. The only voter of a cluster waits for
// nobody: it leads as soon as it has started.
//
// Only watch uses it.
type lostLeader struct {
	timer *time.Timer
	due   time.Time // when to look; zero: the timer does not run
	fires time.Time // when the timer should fire
}

// lookAt gives when a follower should look: after the timeout since its last contact with the leader, and a time that
// grows with its place among the voters. Raft looks by itself, too.
func lookAt(lastContact time.Time, timeout time.Duration, place int) time.Time {
	return lastContact.Add(timeout + time.Duration(place)*timeout/staggerShare)
}

// arm sets the timer.
func (l *lostLeader) arm(n *Node) {
	_, leader := n.raft.LeaderWithID()
	contact := n.raft.LastContact()
	if n.raft.State() == raft.Follower && contact.IsZero() && n.onlyVoter() && !n.unfit() {
		lookNow(n.raft)
		return
	}
	if n.raft.State() != raft.Follower || leader == "" || contact.IsZero() || n.unfit() {
		l.due = time.Time{}
		l.timer.Stop()
		return
	}
	if due := lookAt(contact, n.opts.HeartbeatTimeout, n.place()); !due.Equal(l.due) {
		wait := time.Until(due)
		if wait <= 0 {
			wait = n.opts.HeartbeatTimeout / lateShare
		}
		l.due, l.fires = due, time.Now().Add(wait)
		l.timer.Reset(wait)
	}
}

// place is this node's place among the voters, sorted by id.
func (n *Node) place() int {
	voters := n.voters()
	slices.SortFunc(voters, func(a, b raft.Server) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return max(0, slices.IndexFunc(voters, func(s raft.Server) bool { return string(s.ID) == n.opts.ID }))
}

// fired makes raft look now, if the leader was not heard since the timer was set. If the timer fired late, this process
// stalled: then raft first takes the messages that have arrived meanwhile, and the timer is set again.
func (l *lostLeader) fired(n *Node) {
	stopped := l.due.IsZero()
	l.due = time.Time{}
	late := time.Since(l.fires) > n.opts.HeartbeatTimeout/lateShare
	if stopped || late || time.Since(n.raft.LastContact()) < n.opts.HeartbeatTimeout || n.raft.State() != raft.Follower {
		return
	}
	lookNow(n.raft)
}

// onlyVoter reports whether this node is the only voter: then nobody else can lead, and there is nothing to wait for.
func (n *Node) onlyVoter() bool {
	voters := n.voters()
	return len(voters) == 1 && n.isSelf(voters[0])
}

// lookNow makes raft look for a lost leader now. Raft looks at once when its timeout becomes shorter. If it cannot be
// shorter than the lease, raft's own timer decides.
func lookNow(r *raft.Raft) {
	set := r.ReloadableConfig()
	was := set.HeartbeatTimeout
	set.HeartbeatTimeout -= time.Nanosecond
	if r.ReloadConfig(set) == nil {
		set.HeartbeatTimeout = was
		_ = r.ReloadConfig(set) // it was valid before
	}
}
