package reconcile

import (
	"maps"
	"slices"
	"time"

	"hm/internal/app"
)

// Peers are the other voters, as far as they hear the DEAs. No method may wait for a peer. What a peer says counts for
// what it is: it keeps a DEA on record that this node does not hear, or this node from acting, and nothing else.
type Peers interface {
	// Hearing is what they say that they hear, as far as their word is new.
	Hearing() []Hearing
	// Ask begins to ask those that can be reached for how long they have not heard each of the DEAs. What was asked
	// before is forgotten.
	Ask(deas []string)
	// Answers are those that have come in since Ask; all says that no more are awaited.
	Answers() (answers []PeerHearing, all bool)
}

// Ears is one peer's answer.
type PeerHearing struct {
	Peer   string
	Counts bool            // its picture is fresh, and its link in time
	Ago    []time.Duration // for how long it has not heard each of the DEAs; negative: for a whole time to live, or never
}

// ears is what a leader knows of what its peers hear and it does not.
type heardByPeers struct {
	asked     []string // DEAs that the peers are being asked about, sorted; nil: none
	askedAt   app.Time
	missed    map[string]app.Time // silent DEAs that a peer hears, and until when that counts without asking again
	manySince app.Time            // since when many are missed; 0: they are not
	compared  bool                // what this node hears was compared in this leadership
	deaf      bool
}

// answerWithin is how long an answer is awaited. A peer that has not answered then does not count.
const answerWithin = time.Second

// agreed gives those of the silent DEAs, sorted, that no peer hears either: they are lost. Those that one hears stay on
// record, and the peers are asked again before that peer's word on them is as old as a time to live. again is when to
// look again, 0 if that need not be soon. While answers are awaited nothing is lost, so that DEAs that fall silent
// together are lost together.
func (c *Core) silentForAll(silent []string, now app.Time) (lost []string, again app.Time) {
	if c.opts.Peers == nil {
		return silent, 0
	}
	e, ttl := &c.heardByPeers, c.intake.live.TTL
	isSilent := func(dea string) bool { _, still := slices.BinarySearch(silent, dea); return still }
	maps.DeleteFunc(e.missed, func(dea string, _ app.Time) bool { return !isSilent(dea) })
	var open []string
	for _, dea := range silent {
		if until := e.missed[dea]; now >= until {
			open = append(open, dea)
		}
	}
	soon := now.Add(c.opts.Policy.HeartbeatPeriod / maxSweepsPerPeriod)
	if len(open) == 0 {
		e.asked = nil
		return nil, earliest(e.missed)
	}
	if e.asked == nil {
		e.asked, e.askedAt = open, now
		c.opts.Peers.Ask(open)
	}
	answers, all := c.opts.Peers.Answers()
	if !all && now.Sub(e.askedAt) < answerWithin {
		return nil, soon
	}
	before := len(e.missed)
	for n, dea := range e.asked {
		if !isSilent(dea) {
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
			lost = append(lost, dea)
			continue
		}
		if e.missed == nil {
			e.missed = map[string]app.Time{}
		}
		e.missed[dea] = until
	}
	e.asked = nil
	if n := len(e.missed); n > before {
		c.logger.Info("DEAs that this node does not hear are heard by a peer: they stay on record", "deas", n, "first", first(e.missed))
	}
	for _, dea := range open {
		if _, judged := slices.BinarySearch(lost, dea); !judged && e.missed[dea] <= now {
			return lost, soon // it fell silent after the others were asked about
		}
	}
	return lost, earliest(e.missed)
}

// earliest is the earliest of the times, 0 if there are none.
func earliest(of map[string]app.Time) (t app.Time) {
	for _, at := range of {
		if t == 0 || at < t {
			t = at
		}
	}
	return t
}

// A leader is deaf when it has missed more than a tenth of the DEAs for a heartbeat, until it misses a twentieth at most.
// One that misses them as it begins to lead has missed them before.
const deafShare = 10

// compare finds out whether this leader is deaf: there are many DEAs that it does not hear and a peer does. present is
// how many are recorded.
func (c *Core) compareHearing(present int, now app.Time) {
	if c.opts.Peers == nil {
		return
	}
	e := &c.heardByPeers
	missed, of := len(e.missed), present
	own := c.intake.Hearing()
	// A node whose own picture is not fresh knows of no silent DEA, and yet it can hear fewer than another does.
	if !c.intake.linkSettled() {
		return // as deaf as it was: nobody counts as silent on a link that is late, or has only just come up
	}
	for _, p := range c.opts.Peers.Hearing() {
		if p.Fresh {
			missed, of = max(missed, p.DEAs-c.intake.heardLately(p.Age)), max(of, p.DEAs)
		}
	}
	was := e.deaf
	switch {
	case missed*deafShare > of:
		if e.manySince == 0 {
			e.manySince = now
		}
		e.deaf = e.deaf || !e.compared || now.Sub(e.manySince) >= c.opts.Policy.HeartbeatPeriod
	case !e.deaf || missed*2*deafShare <= of:
		e.manySince, e.deaf = 0, false
	}
	e.compared = true
	if e.deaf && !was {
		c.logger.Warn("this node leads and does not hear DEAs that its peers hear: it sends nothing until it hears them, or another node leads",
			"missed", missed, "hears", own.DEAs, "first", first(e.missed))
	} else if was && !e.deaf {
		c.logger.Info("this node hears the DEAs again that its peers hear", "missed", missed, "hears", own.DEAs)
	}
}

// first is the first of the DEAs, empty if there are none.
func first(deas map[string]app.Time) string {
	if len(deas) == 0 {
		return ""
	}
	return slices.Min(slices.Collect(maps.Keys(deas)))
}
