package reconcile

import (
	"maps"
	"slices"
	"strings"
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

// slowDown makes a node's link slow for a time.
func (w *world) slowDown(n *simNode, factor int64, d time.Duration) {
	n.slow = slowLink{since: w.now, until: w.now.Add(d), factor: factor}
}

// endSlowness tells the nodes whose links are in time again. What was said meanwhile has come.
func (w *world) endSlowness() {
	for _, n := range w.nodes {
		if s := n.slow; s.until != 0 && s.until <= w.now {
			n.slow = slowLink{}
			n.intake.CameBack(s.lag(s.until - 1))
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

func (p worldPeers) Hearing() (said []Hearing) {
	p.others(func(n *simNode) { said = append(said, n.intake.Hearing()) })
	return said
}

func (p worldPeers) Ask(deas []string) { p.self.asked = deas }

func (p worldPeers) Answers() (answers []Ears, all bool) {
	p.others(func(n *simNode) {
		ago, counts := n.intake.HeardAgo(p.self.asked)
		answers = append(answers, Ears{Counts: counts, Ago: ago})
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

// excuse takes note of the DEAs that the leader does not hear while no other node's word counts: it cannot know better.
func (w *world) excuse() {
	for subject := range w.earless {
		known := false
		worldPeers{w, w.simNode}.others(func(n *simNode) {
			known = known || !n.earless[subject] && n.intake.Hearing().Fresh
		})
		if d := w.deas[strings.TrimPrefix(subject, "beat ")]; !known && d != nil {
			d.excused, d.disturbed = w.now, w.now
		}
	}
}
