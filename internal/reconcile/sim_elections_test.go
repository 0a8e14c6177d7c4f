package reconcile

import (
	"math"
	"slices"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// simCluster is what the nodes of a cluster have in common.
type simCluster struct {
	cut       map[[2]int]bool // pairs of nodes, the lower number first, between which nothing passes
	term      uint64          // the newest
	committed uint64          // index of the newest committed entry
	proposal  *proposal       // whose entries are being committed
	behind    time.Duration   // how far hm time was ever behind the world's when an entry was stamped
	records   []span          // when a node led that could record what it heard
}

// span is a time without a break.
type span struct{ from, to app.Time }

// noteRecords notes whether a node leads now that can record what it hears. since is when that was noted last.
func (cf *simCF) noteRecords(since app.Time) {
	c, n := cf.cluster, cf.simNode
	if !n.runs() || !n.lead().Leader || !n.hearsNATS() || cf.fail != nil || cf.following(n) <= len(cf.nodes)/2 {
		return
	}
	if last := len(c.records) - 1; last >= 0 && c.records[last].to >= since {
		c.records[last].to = cf.now
		return
	}
	c.records = append(c.records, span{cf.now, cf.now})
}

// recordedFor is for how long between two times a node led that could record what it heard.
func (cf *simCF) recordedFor(from, to app.Time) (d time.Duration) {
	if cf.cluster == nil {
		return to.Sub(from)
	}
	for _, s := range cf.cluster.records {
		d += max(min(s.to, to).Sub(max(s.from, from)), 0)
	}
	return d
}

// How long it takes until a node notices that another is away, as in internal/cluster by default.
const (
	simElection = 500 * time.Millisecond
	simLease    = 250 * time.Millisecond
)

// beginCluster makes the nodes of the simulation a cluster of n, with a model of the log between
// them. The present leader goes on.
func (cf *simCF) beginCluster(n int) {
	cf.cluster = &simCluster{cut: map[[2]int]bool{}, term: cf.term, committed: cf.index}
	snapshot := snapshotOf(cf, cf.View())
	for id := range n {
		if id == len(cf.nodes) {
			cf.nodes = append(cf.nodes, &simNode{cf: cf})
		}
		m := cf.nodes[id]
		m.id = id
		m.linkEpoch, m.linkSince = cf.epoch, cf.linkSince
		m.raft = &simRaft{term: cf.term, base: cf.index, baseTerm: cf.term, snapshot: snapshot}
		core, intake, ended, next, reads := m.core, m.intake, m.endedCommands, m.next, m.reads
		if m.boot(); id == 0 { // it goes on, with the clocks that it had
			m.core, m.intake, m.endedCommands, m.next, m.reads = core, intake, ended, next, reads
			m.clock, m.wall = simClock{last: cf.now, started: true, adopted: cf.now}, 0
		}
	}
	cf.nodes[0].win(cf.term)
	cf.run(time.Second)
}

func (cf *simCF) connected(a, b *simNode) bool {
	return !cf.cluster.cut[[2]int{min(a.id, b.id), max(a.id, b.id)}]
}

// reaches reports whether a node gets an answer from another.
func (cf *simCF) reaches(a, b *simNode) bool {
	return cf.connected(a, b) && !b.down && b.pausedUntil <= cf.now
}

// runs reports whether a node's process runs.
func (n *simNode) runs() bool { return !n.down && n.pausedUntil <= n.cf.now }

// setCut cuts the connection between two nodes, or mends it.
func (cf *simCF) setCut(a, b *simNode, is bool) {
	cf.cluster.cut[[2]int{min(a.id, b.id), max(a.id, b.id)}] = is
	cf.note("cut", a.id, b.id)
	cf.networkChanged()
}

// isolate cuts a node off from all others.
func (cf *simCF) isolate(n *simNode) {
	for _, m := range cf.nodes {
		if m != n {
			cf.setCut(n, m, true)
		}
	}
}

// isolateAll cuts every node off from every other one.
func (cf *simCF) isolateAll() {
	for _, n := range cf.nodes {
		cf.isolate(n)
	}
}

func (cf *simCF) mendCuts() {
	clear(cf.cluster.cut)
	cf.networkChanged()
}

// networkChanged makes the nodes notice, in their time, who can be reached and who cannot.
func (cf *simCF) networkChanged() {
	for _, n := range cf.nodes {
		switch {
		case n.down:
		case n.raft.leads:
			n.replicate()
			if !n.raft.losing && cf.following(n) <= len(cf.nodes)/2 {
				n.raft.losing = true
				p, r := n.process, n.raft
				cf.after(simLease+cf.faults.upTo(simLease), func() {
					if r.losing = false; n.process == p && r.leads && cf.following(n) <= len(cf.nodes)/2 {
						n.stepDown(r.term) // if it is paused, it would learn of it later
					}
				})
			}
		default:
			n.expectLeader()
		}
	}
}

// following counts the nodes that a leader reaches, itself included.
func (cf *simCF) following(n *simNode) int {
	if !n.runs() {
		return math.MaxInt
	}
	count := 1
	for _, m := range cf.nodes {
		if m != n && cf.reaches(n, m) {
			count++
		}
	}
	return count
}

// hasLeader reports whether a node hears from a leader.
func (n *simNode) hasLeader() bool {
	l := n.raft.follows
	return l != nil && l.raft.leads && l.raft.term == n.raft.term && l.runs() && n.cf.connected(n, l)
}

// expectLeader makes a node a candidate when it has heard from no leader for the election timeout.
func (n *simNode) expectLeader() {
	cf, r := n.cf, n.raft
	if r.watched || r.joining || n.hasLeader() {
		return
	}
	r.watched = true
	cf.after(simElection+cf.faults.upTo(simElection), func() {
		r.watched = false
		if n.raft != r || n.down || r.leads || n.hasLeader() {
			return
		}
		if !n.runs() {
			return // it looks again when it runs
		}
		if r.follows != nil {
			r.follows, n.wake = nil, true
		}
		if reached := n.stand(false); reached { // else it waits until more nodes can be reached
			n.expectLeader()
		}
	})
}

// stand makes a node ask for votes. It becomes the leader if a majority votes for it. A voter that
// hears from a leader refuses, unless that leader wants to hand over. stand reports whether a
// majority could be asked.
func (n *simNode) stand(handover bool) (reached bool) {
	cf := n.cf
	asked, votes := 1, []*simNode{n}
	for _, m := range cf.nodes {
		if m == n || !cf.reaches(n, m) {
			continue
		}
		asked++
		if !m.raft.joining && !n.raft.isBehind(m.raft) && (handover || !m.hasLeader() && !m.raft.leads) {
			votes = append(votes, m)
		}
	}
	if n.raft.joining || len(votes) <= len(cf.nodes)/2 {
		return asked > len(cf.nodes)/2
	}
	cf.cluster.term++
	for _, m := range votes {
		m.stepDown(cf.cluster.term)
	}
	n.win(cf.cluster.term)
	return true
}

// win makes a node the leader.
func (n *simNode) win(term uint64) {
	cf, r := n.cf, n.raft
	cf.note("leads", n.id, int(term))
	cf.faults.count("elections")
	r.term, r.leads, r.follows = term, true, nil
	clear(r.match)
	clear(r.sending)
	r.begins = n.append(&logEntry{own: true}).index
	cf.term, cf.simNode = term, n
	cf.excuse() // it may decide and publish before the next time
	n.wake = true
	cf.networkChanged()
}

// stepDown makes a node take notice of a term in which it does not lead, or not any more.
func (n *simNode) stepDown(term uint64) {
	r, led := n.raft, n.raft.leads
	n.wake = n.wake || led
	if term > r.term {
		r.follows = nil
	}
	r.term, r.leads, r.moving = max(r.term, term), false, false
	for _, p := range n.proposals {
		if len(p.results) < len(p.entries) && p.lost == nil {
			p.lost = errDeposed
		}
	}
	n.proposals = nil
	if led {
		n.cf.networkChanged()
	} else {
		n.expectLeader()
	}
}

// handOver makes a leader hand the leadership to another node.
func (n *simNode) handOver(to *simNode) {
	cf, r := n.cf, n.raft
	if !r.leads || r.moving {
		return
	}
	cf.faults.count("handovers")
	cf.note("hand over", n.id, to.id)
	r.moving = true
	process, term := n.process, r.term
	cf.after(simElection, func() { // it failed
		if n.raft == r && r.term == term {
			r.moving = false
		}
	})
	cf.after(cf.faults.latency(), func() {
		if n.process != process || r.term != term || !r.leads || !n.runs() || !cf.reaches(n, to) || to.raft.isBehind(r) {
			return
		}
		to.stand(true)
	})
}

// byAPerson proposes records through a node that leads, as the API does.
func (n *simNode) byAPerson(records ...raftfsm.Record) {
	if !n.lead().Leader || n.raft.moving {
		return
	}
	p := &proposal{}
	p.entries = append(p.entries, n.append(&logEntry{entry: encoded(n.cf, n.Now(), records), of: p}))
	n.replicate()
}

// setNATS lets a node's own link to NATS come or go. The node's parts notice it a little later.
func (n *simNode) setNATS(up bool) {
	n.linkDown = !up
	n.linkChanged()
}

// linkChanged begins a new spell of a node's link.
func (n *simNode) linkChanged() {
	cf := n.cf
	n.linkEpoch++
	n.linkSince = cf.now
	cf.note("link", n.id, int(n.linkEpoch))
	cf.inFlight = slices.DeleteFunc(cf.inFlight, func(m message) bool { return m.to == n })
	p, epoch := n.process, n.linkEpoch
	cf.after(cf.faults.upTo(250*time.Millisecond), func() {
		if n.process == p && n.linkEpoch == epoch {
			n.intake.Link(n.hearsNATS(), n.epoch())
		}
	})
}

// reconnect makes a node find its way back to NATS in its time.
func (n *simNode) reconnect() {
	cf := n.cf
	n.away = true
	epoch := cf.epoch
	cf.after(cf.faults.upTo(2*time.Second), func() {
		if cf.epoch == epoch {
			n.away = false
			n.linkChanged()
		}
	})
}

// hearsNATS reports whether a node's link to NATS is up.
func (n *simNode) hearsNATS() bool { return n.cf.linkUp && !n.linkDown && !n.away }

// epoch is the number of the present spell of a node's link.
func (n *simNode) epoch() uint64 {
	if n.raft == nil {
		return n.cf.epoch
	}
	return n.linkEpoch
}
