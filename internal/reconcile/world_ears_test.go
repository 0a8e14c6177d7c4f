package reconcile

import (
	"maps"
	"slices"
	"time"

	"hm/internal/app"
)

// slowLink is a link that lets through less than is said, for a time: what is said waits, ever longer. In the end all of
// it comes at once.
type slowLink struct {
	since, until app.Time // zero: the link is in time
	factor       int64    // how much longer everything takes
}

// arrives is when something comes that was said at a time and would come at another.
func (s slowLink) arrives(said, at app.Time) app.Time {
	if said < s.since || said >= s.until {
		return at
	}
	return max(at, min(s.until, s.since+app.Time(s.factor)*(said-s.since)))
}

// lag is how long ago that was said which comes now.
func (s slowLink) lag(now app.Time) time.Duration {
	if now < s.since || now >= s.until {
		return 0
	}
	return now.Sub(s.since + (now-s.since)/app.Time(s.factor))
}

// slowDown makes a node's link slow for a time, unless it is.
func (w *world) slowDown(n *simNode, factor int64, d time.Duration) {
	if n.slow.until > w.now {
		return // what waits comes when that slowness ends
	}
	n.slow = slowLink{since: w.now, until: w.now.Add(d), factor: factor}
}

// endSlowness tells the nodes whose links are in time again. What was said meanwhile has come.
func (w *world) endSlowness() {
	for _, n := range w.nodes {
		if s := n.slow; s.until != 0 && s.until <= w.now {
			n.slow = slowLink{}
			n.intake.NoteLag(s.lag(s.until - 1))
		}
	}
}

// worldPeers are the other nodes, as one node knows them.
type worldPeers struct {
	w    *world
	self *simNode
}

func (p worldPeers) others(fn func(*simNode)) {
	for _, n := range p.w.nodes {
		if n != p.self {
			fn(n)
		}
	}
}

// wordAge is how old a peer's word may become before there is a newer one, or before that of a dead peer is forgotten.
const wordAge = time.Second

// Hearing gives words as old as they may be.
func (p worldPeers) Hearing() (said []Hearing) {
	p.others(func(n *simNode) {
		if n.toldAt == 0 || p.w.now.Sub(n.toldAt) > wordAge {
			n.told, n.toldAt = n.intake.Hearing(), p.w.now
		}
		word := n.told
		word.Age = p.w.now.Sub(n.toldAt)
		said = append(said, word)
	})
	return said
}

func (p worldPeers) Ask(deas []string) { p.self.asked = deas }

func (p worldPeers) Answers() (answers []PeerHearing, all bool) {
	p.others(func(n *simNode) {
		ago, counts := n.intake.HeardAgo(p.self.asked)
		answers = append(answers, PeerHearing{Counts: counts, Ago: ago})
	})
	return answers, true
}

// deafen has a node hear nothing of about a share of the DEAs.
func (w *world) deafen(n *simNode, share float64) {
	n.earless = map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(w.deas)) {
		if w.faults.rnd.Float64() < share {
			n.earless["beat "+id] = true
		}
	}
}

// excuse takes note of the DEAs of which hm cannot know all that they run, so that the checks of a world excuse it.
func (w *world) excuse() {
	if !w.truth.watched {
		return
	}
	for _, d := range w.deas {
		subject := "beat " + d.id
		missed := func(n *simNode) bool { return n.earless[subject] || n.slow.until != 0 }
		shared := len(w.sharers(d)) > 0
		if w.earless[subject] {
			d.unheard = w.now
		}
		// Two DEAs of one id can be told apart only by a node that hears both in time.
		if w.unheard(subject) || shared && slices.ContainsFunc(w.nodes, missed) {
			d.disturbed = w.now
		}
		if d.quiet || d.hides > 0 || d.garbles || shared || d.disturbed != 0 && w.now.Sub(d.disturbed) < steadyAfter {
			d.excused = w.now // checkKnown has its own word on the odd ones
		}
	}
}

// unheard reports whether the leader does not hear a subject while no other node's word counts: it cannot know better.
func (w *world) unheard(subject string) bool {
	if !w.earless[subject] {
		return false
	}
	known := false
	worldPeers{w, w.simNode}.others(func(n *simNode) {
		known = known || !n.earless[subject] && n.intake.Hearing().Fresh
	})
	return !known
}
