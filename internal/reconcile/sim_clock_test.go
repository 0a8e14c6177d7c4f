package reconcile

import (
	"time"

	"hm/internal/app"
)

// simClock is a node's hm time, by the rules of internal/cluster: the time of the newest entry plus
// the monotonic time since it was applied on this node.
type simClock struct {
	offset  time.Duration // from the node's monotonic time
	last    app.Time      // the newest reading
	started bool          // an entry was applied, or a snapshot restored
	adopted app.Time      // monotonic time at the newest entry
	ownTerm uint64        // this node stamped the entries of this term
	ofTerm  uint64        // the term of the leader whose clock this is; 0: not known
	told    app.Time      // when the leader last told its time, by the world's
}

// mono is the monotonic time of a node's machine: it does not count suspensions.
func (n *simNode) mono() app.Time { return n.cf.now.Add(-n.suspended) }

// Now is hm time, as this node knows it.
func (n *simNode) Now() app.Time {
	if n.raft == nil {
		return n.cf.now
	}
	n.clock.last = max(n.clock.last, n.mono().Add(n.clock.offset))
	return n.clock.last
}

// adopt sets a node's clock by an entry with the time at.
func (n *simNode) adopt(at app.Time, term uint64) {
	c, mono := &n.clock, n.mono()
	since := mono.Sub(c.adopted)
	c.adopted = mono
	switch offset := at.Sub(mono); {
	case !c.started:
		c.offset, c.last, c.started = offset, at, true
	case offset >= c.offset:
		c.offset = offset
	case term != c.ownTerm:
		n.Now()
		c.offset = max(offset, c.offset-since>>10)
	}
}

// followClocks sets the followers' clocks by their leaders', which tell their time four times a second.
func (cf *simCF) followClocks() {
	for _, n := range cf.nodes {
		l := n.raft.follows
		if l == nil || cf.now.Sub(n.clock.told) < watchInterval || !n.runs() || !n.hasLeader() || !l.lead().Leader || !n.clock.started {
			continue
		}
		n.clock.told = cf.now
		n.setClock(l, l.raft.term)
	}
}

// setClock sets a node's clock by another's, which follows the clock of the leader of a term.
func (n *simNode) setClock(of *simNode, term uint64) {
	n.clock.ofTerm = term
	switch offset := of.Now().Sub(n.mono()); {
	case offset >= n.clock.offset:
		n.clock.offset = offset
	case n.clock.offset-offset > 100*time.Millisecond:
		n.clock.offset, n.clock.last = offset, of.Now()
	}
}

// takeOverClock gives a new leader the clock of the node that followed the newest leader.
func (n *simNode) takeOverClock() {
	best := n
	for _, m := range n.cf.nodes {
		if m != n && n.cf.reaches(n, m) && m.clock.ofTerm > best.clock.ofTerm {
			best = m
		}
	}
	if best != n {
		n.setClock(best, best.clock.ofTerm)
	}
	n.clock.ofTerm, n.clock.ownTerm = n.raft.term, n.raft.term
}

// simIntakeLog is the log as a node's intake sees it. Its clock begins with the process.
type simIntakeLog struct{ *simNode }

func (l simIntakeLog) Now() app.Time {
	if l.raft == nil {
		return l.cf.now
	}
	return l.mono().Add(l.wall)
}
