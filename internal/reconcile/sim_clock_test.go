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
	told    app.Time      // up to when that leader's entries are known to have been stamped by a clock like this
	toldAt  app.Time      // when the leader last told its time, by the world's
	newest  app.Time      // of the newest entry
	inTerm  uint64        // of the newest entry
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
	c.adopted, c.newest, c.inTerm = mono, at, term
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

// arrived notes that an entry arrived, which may be applied much later.
func (n *simNode) arrived(e *logEntry) {
	c, at := &n.clock, e.entry.At
	if e.own || !c.started || e.term != c.ofTerm || at <= c.told || n.Now().Sub(at) > 500*time.Millisecond {
		return
	}
	c.told, c.offset = at, max(c.offset, at.Sub(n.mono()))
}

// followClocks sets the followers' clocks by their leaders', which tell their time four times a second.
func (cf *simCF) followClocks() {
	for _, n := range cf.nodes {
		l := n.raft.follows
		if l == nil || cf.now.Sub(n.clock.toldAt) < watchInterval || !n.runs() || !n.hasLeader() || !l.lead().Leader || !n.clock.started {
			continue
		}
		n.clock.toldAt = cf.now
		n.setClock(l.Now())
		n.clock.ofTerm, n.clock.told = l.raft.term, l.Now()-1
	}
}

// setClock sets a node's clock to a time.
func (n *simNode) setClock(at app.Time) {
	switch offset := at.Sub(n.mono()); {
	case offset >= n.clock.offset:
		n.clock.offset = offset
	case n.clock.offset-offset > 100*time.Millisecond:
		n.clock.offset, n.clock.last = offset, at
	}
}

// covers reports whether a node's clock has followed its leader since another node's newest entry was stamped.
func (n *simNode) covers(of *simNode) bool {
	c, entry := &n.clock, &of.clock
	told := c.told
	if c.ofTerm == c.ownTerm {
		told = n.Now() - 1
	}
	return c.ofTerm > entry.inTerm || c.ofTerm == entry.inTerm && told >= entry.newest
}

// takeOverClock gives a new leader the clock of the node that followed the newest leader, if that is so since the newest
// entry was stamped. Else the time since that entry does not count.
func (n *simNode) takeOverClock() {
	at, newest := n.clock.newest.Add(n.mono().Sub(n.clock.adopted)), uint64(0)
	if n.covers(n) {
		at, newest = n.Now(), n.clock.ofTerm
	}
	for _, m := range n.cf.nodes {
		if m != n && n.cf.reaches(n, m) && m.clock.ofTerm > newest && m.covers(n) {
			at, newest = m.Now(), m.clock.ofTerm
		}
	}
	n.setClock(at)
	n.clock.ofTerm, n.clock.ownTerm = n.raft.term, n.raft.term
}

// checkAges requires that nothing recorded ages faster than the world: hm time may lose the time of a suspension, or the
// time in which no node knew it, but it never gains it back. A deadline would be over too early by that.
func (cf *simCF) checkAges(e *logEntry) {
	behind := e.appended.Sub(e.entry.At)
	if gained := cf.cluster.behind - behind; gained > cf.slack() {
		cf.t.Fatalf("hm time gains %v: entry %d of term %d is stamped %v behind the world's time, an earlier one was %v behind",
			gained, e.index, e.term, behind, cf.cluster.behind)
	}
	cf.cluster.behind = max(cf.cluster.behind, behind)
}

// simIntakeLog is the log as a node's intake sees it. Its clock begins with the process.
type simIntakeLog struct{ *simNode }

func (l simIntakeLog) Now() app.Time {
	if l.raft == nil {
		return l.cf.now
	}
	return l.mono().Add(l.wall)
}
