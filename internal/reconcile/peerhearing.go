package reconcile

import (
	"maps"
	"slices"
	"time"

	"hm/internal/app"
)

// Peers tells what the other voters hear of the DEAs. No method may wait for a peer. What a peer
// says has two effects only: a DEA that it hears stays on record, and a leader that hears much less
// than it sends nothing.
type Peers interface {
	// Hearing gives what each peer hears, if the peer has sent it recently.
	Hearing() []Hearing
	// Ask starts to ask the peers that can be reached when they last heard each of the DEAs. It
	// drops earlier questions.
	Ask(deas []string)
	// Answers gives the answers that have arrived since Ask. all says that none is missing.
	Answers() (answers []PeerHearing, all bool)
}

// PeerHearing is one peer's answer.
type PeerHearing struct {
	Peer   string
	Counts bool            // the peer's link is up
	Ago    []time.Duration // since each of the DEAs sent what the peer heard last; negative: a whole time to live, or never
}

// heardByPeers is what a leader knows about DEAs that it does not hear and a peer does.
type heardByPeers struct {
	asked     []string // DEAs that the peers are asked about at present, sorted; nil: none
	askedAt   app.Time
	askedAll  bool                // asked has all unknown DEAs (Intake.Unknown)
	knownAt   app.Time            // when the newest answers about unknown DEAs were asked for; 0: there are none yet
	unsure    bool                // a peer may hear an unknown DEA
	fresh     bool                // what this node heard was fresh at the last sweep
	missed    map[string]app.Time // silent and unknown DEAs that a peer hears, and until when that counts without asking again
	nextAsk   app.Time            // when the peers are asked about unknown DEAs again
	backSince app.Time            // since when a peer hears an unknown DEA; 0: none does
	shown     map[string]app.Time // missed, as the newest overview has it; nil: it has changed since
	manySince app.Time            // since when this node misses many; 0: it does not
	compared  bool                // this node was compared with its peers in this leadership
	deaf      bool
}

// answerWithin is how long a leader waits for answers. A peer that has not answered by then does
// not count.
const answerWithin = time.Second

// silentForAll gives those of the silent DEAs, sorted, that no peer hears either: they are lost. A
// DEA that a peer hears stays on record until the peer's answer is a time to live old; then the
// peers are asked again. again is when to look again, 0 if that is not urgent. While an answer is
// missing nothing is lost, so that DEAs that fall silent together are lost together.
//
// Once a heartbeat period, the peers are asked about the unknown DEAs (Intake.Unknown), too. One that a
// peer hears is back, and this node does not know what runs there.
func (c *Core) silentForAll(silent, unknown []string, now app.Time) (lost []string, again app.Time) {
	if c.opts.Peers == nil {
		return silent, 0
	}
	e, ttl := &c.heardByPeers, c.intake.live.TTL
	isSilent := func(dea string) bool { _, still := slices.BinarySearch(silent, dea); return still }
	isUnknown := func(dea string) bool { _, still := slices.BinarySearch(unknown, dea); return still }
	maps.DeleteFunc(e.missed, func(dea string, _ app.Time) bool {
		if isSilent(dea) || isUnknown(dea) {
			return false
		}
		e.shown = nil
		return true
	})
	var open []string
	for _, dea := range silent {
		if until := e.missed[dea]; now >= until {
			open = append(open, dea)
		}
	}
	soon := now.Add(c.opts.Policy.HeartbeatPeriod / maxSweepsPerPeriod)
	askAll := len(unknown) > 0 && now >= e.nextAsk
	if len(open) == 0 && !askAll && e.asked == nil {
		return nil, earliest(e.missed)
	}
	if e.asked == nil {
		e.asked, e.askedAt, e.askedAll = open, now, askAll
		if askAll {
			e.asked = slices.Sorted(slices.Values(append(slices.Clone(open), unknown...)))
			e.nextAsk = now.Add(c.opts.Policy.HeartbeatPeriod)
		}
		c.opts.Peers.Ask(e.asked)
	}
	answers, all := c.opts.Peers.Answers()
	if !all && now.Sub(e.askedAt) < answerWithin {
		return nil, soon
	}
	before := len(e.missed)
	e.shown = nil
	for n, dea := range e.asked {
		if !isSilent(dea) && !isUnknown(dea) {
			continue
		}
		until := app.Time(0)
		for _, a := range answers {
			if a.Counts && n < len(a.Ago) && a.Ago[n] >= 0 {
				until = max(until, e.askedAt.Add(ttl-a.Ago[n]))
			}
		}
		if until <= now {
			delete(e.missed, dea)
			if !isUnknown(dea) {
				lost = append(lost, dea)
			}
			continue
		}
		if e.missed == nil {
			e.missed = map[string]app.Time{}
		}
		e.missed[dea] = until
	}
	e.asked = nil
	if e.askedAll {
		e.knownAt = e.askedAt
	}
	if n := len(e.missed); n > before {
		c.logger.Info("a peer hears DEAs that this node does not hear: what is recorded of them stays", "deas", n, "first", first(e.missed))
	}
	for _, dea := range open {
		if _, judged := slices.BinarySearch(lost, dea); !judged && e.missed[dea] <= now {
			return lost, soon // this one fell silent after the question
		}
	}
	return lost, earliest(e.missed)
}

// shownMissed gives missed for an overview, which outlives the step: the same map until missed changes.
func (e *heardByPeers) shownMissed() map[string]app.Time {
	if e.shown == nil && len(e.missed) > 0 {
		e.shown = maps.Clone(e.missed)
	}
	return e.shown
}

// earliest gives the earliest of the times, 0 if there are none.
func earliest(of map[string]app.Time) (t app.Time) {
	for _, at := range of {
		if t == 0 || at < t {
			t = at
		}
	}
	return t
}

// deafShare: a leader that misses more than a tenth of the DEAs for a heartbeat period is deaf,
// until it misses at most a twentieth. At the begin of a leadership it is deaf at once: it has
// missed them since before.
const deafShare = 10

// compareHearing finds out whether this leader is deaf: a peer hears many DEAs that it does not
// hear, or one that is unknown (Intake.Unknown). What runs on such a one is recorded as lost, or was
// never recorded, and would be started again. present is how many DEAs are recorded.
func (c *Core) compareHearing(present int, unknown []string, now app.Time) {
	if c.opts.Peers == nil {
		return
	}
	e := &c.heardByPeers
	missed, of := len(e.missed), present
	own := c.intake.Hearing()
	if !c.intake.linkSettled() {
		return // as deaf as before: on a link that is late, or has just come up, no DEA counts as silent
	}
	for _, p := range c.opts.Peers.Hearing() {
		if p.Fresh {
			missed, of = max(missed, p.DEAs-c.intake.heardLately(p.Age)), max(of, p.DEAs)
		}
	}
	back := slices.ContainsFunc(unknown, func(dea string) bool { return now < e.missed[dea] })
	// Between two questions about unknown DEAs there may be long, if nothing can be recorded meanwhile.
	asked := e.knownAt != 0 && now.Sub(e.knownAt) <= c.opts.Policy.HeartbeatPeriod+2*answerWithin
	e.unsure = back || len(unknown) > 0 && !asked
	switch {
	case !back:
		e.backSince = 0
	case e.backSince == 0:
		e.backSince = now
	}
	// The message that the peer heard may be on its way to this node, too.
	back = back && now.Sub(e.backSince) >= min(answerWithin, c.opts.Policy.HeartbeatPeriod/2)
	was := e.deaf
	switch {
	case back:
		e.deaf = true
	case missed*deafShare > of:
		if e.manySince == 0 {
			e.manySince = now
		}
		e.deaf = e.deaf || !e.compared || now.Sub(e.manySince) >= c.opts.Policy.HeartbeatPeriod
	case !e.deaf || missed*2*deafShare <= of:
		e.manySince, e.deaf = 0, false
	}
	e.compared, e.unsure = true, e.unsure && !e.deaf
	if e.deaf && !was {
		c.logger.Warn("this leader does not hear DEAs that its peers hear: "+
			"it sends no command until it hears them or another node leads",
			"missed", missed, "hears", own.DEAs, "first", first(e.missed))
	} else if was && !e.deaf {
		c.logger.Info("this node hears the DEAs again that its peers hear", "missed", missed, "hears", own.DEAs)
	}
}

// first gives the smallest id of the DEAs, empty if there are none.
func first(deas map[string]app.Time) string {
	if len(deas) == 0 {
		return ""
	}
	return slices.Min(slices.Collect(maps.Keys(deas)))
}
