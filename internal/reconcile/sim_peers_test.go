package reconcile

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"hm/internal/app"
)

// slowLink is a link that is too slow for a time: messages wait longer and longer. In the end all
// of them arrive at once.
type slowLink struct {
	since, until app.Time // zero: the link is in time
	factor       int64    // how much longer everything takes
}

// arrives gives when a message arrives that was sent at said and would arrive at `at` on a fast
// link.
func (s slowLink) arrives(said, at app.Time) app.Time {
	if said < s.since || said >= s.until {
		return at
	}
	return max(at, min(s.until, s.since+app.Time(s.factor)*(said-s.since)))
}

// lag is the age of the messages that arrive now. When the slowness ends, all that waited arrive.
func (s slowLink) lag(now app.Time) time.Duration {
	if now < s.since || now > s.until {
		return 0
	}
	return now.Sub(s.since + (now-s.since)/app.Time(s.factor))
}

// slowDown makes a node's link slow for a time, unless it is slow already.
func (cf *simCF) slowDown(n *simNode, factor int64, d time.Duration) {
	if n.slow.until > cf.now {
		return // what waits comes when that slowness ends
	}
	n.slow = slowLink{since: cf.now, until: cf.now.Add(d), factor: factor}
}

// endSlowness tells the nodes whose links are fast again. All messages that waited have arrived.
func (cf *simCF) endSlowness() {
	for _, n := range cf.nodes {
		if s := n.slow; s.until != 0 && s.until <= cf.now {
			if n.slow = (slowLink{}); !n.down {
				n.intake.NoteLag(s.lag(s.until - 1))
			}
		}
	}
}

// simPeers is a node's view of the other nodes.
type simPeers struct {
	cf   *simCF
	self *simNode
}

func (p simPeers) others(fn func(*simNode)) {
	for _, n := range p.cf.nodes {
		if n != p.self {
			fn(n)
		}
	}
}

// wordAge is how old what a peer told may become before it tells anew, or before a dead peer's is
// forgotten.
const wordAge = time.Second

// word is what a node was last told by a peer.
type word struct {
	Hearing
	at app.Time
}

// reached calls fn with the other nodes that answer.
func (p simPeers) reached(fn func(*simNode)) {
	p.others(func(n *simNode) {
		if p.cf.cluster == nil || p.cf.reaches(p.self, n) {
			fn(n)
		}
	})
}

// Hearing gives words as old as they may be.
func (p simPeers) Hearing() (said []Hearing) {
	if p.cf.cluster != nil {
		return p.words()
	}
	p.others(func(n *simNode) {
		if n.toldAt == 0 || p.cf.now.Sub(n.toldAt) > wordAge {
			n.told, n.toldAt = n.intake.Hearing(), p.cf.now
		}
		word := n.told
		word.Age = p.cf.now.Sub(n.toldAt)
		said = append(said, word)
	})
	return said
}

// words gives what the nodes of a cluster told last. Each tells this node by itself, if it can.
func (p simPeers) words() (said []Hearing) {
	now := p.cf.now
	p.others(func(n *simNode) {
		w, known := p.self.words[n]
		if (!known || now.Sub(w.at) > wordAge) && p.cf.reaches(p.self, n) {
			w, known = word{n.intake.Hearing(), now}, true
			p.self.words[n] = w
		}
		if known && now.Sub(w.at) <= wordAge && n.raft.commit+64 >= p.self.raft.commit {
			w.Age = now.Sub(w.at)
			said = append(said, w.Hearing)
		}
	})
	return said
}

func (p simPeers) Ask(deas []string) { p.self.asked = deas }

func (p simPeers) Answers() (answers []PeerHearing, all bool) {
	p.reached(func(n *simNode) {
		ago, counts := n.intake.HeardAgo(p.self.asked)
		answers = append(answers, PeerHearing{Counts: counts, Ago: ago})
	})
	return answers, true
}

// makePartlyDeaf makes a node hear nothing of about a share of the DEAs.
func (cf *simCF) makePartlyDeaf(rnd *rand.Rand, n *simNode, share float64) {
	n.notHeard = map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(cf.deas)) {
		if rnd.Float64() < share {
			n.notHeard["beat "+id] = true
		}
	}
}

// excuse notes the DEAs whose instances hm cannot fully know, so that the checks make exceptions
// for them.
func (cf *simCF) excuse() {
	if !cf.truth.watched {
		return
	}
	if cf.cluster != nil {
		cf.noteRecords(cf.excusedAt)
	}
	cf.excusedAt = cf.now
	for _, d := range cf.deas {
		subject := "beat " + d.id
		missed := func(n *simNode) bool { return n.misses(subject) || n.slow.until != 0 }
		shared := len(cf.sharers(d)) > 0
		if cf.misses(subject) {
			d.unheard = cf.now
		}
		// Two DEAs of one id can be told apart only by a node that hears both in time.
		if cf.unheard(subject) || shared && slices.ContainsFunc(cf.nodes, missed) {
			d.disturbed = cf.now
		}
		if d.quiet || d.omits > 0 || d.garbles || shared || d.disturbed != 0 && cf.now.Sub(d.disturbed) < steadyAfter {
			d.excused = cf.now // checkKnown checks the misreported ones itself
		}
	}
}

// misses reports whether a node does not hear a subject.
func (n *simNode) misses(subject string) bool {
	return n.notHeard[subject] || n.cf.cluster != nil && (n.down || !n.hearsNATS())
}

// unheard reports whether the leader does not hear a subject, and no other node whose hearing
// counts hears it either.
func (cf *simCF) unheard(subject string) bool {
	if !cf.misses(subject) {
		return false
	}
	known := false
	simPeers{cf, cf.simNode}.reached(func(n *simNode) {
		known = known || !n.misses(subject) && n.intake.Hearing().Fresh
	})
	return !known
}
