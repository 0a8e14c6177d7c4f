package faulttest

import (
	"slices"
	"time"
)

// start judges whether a start was justified: its index was wanted, and nothing lived there that hm could know of (I4,
// I5, I6, I8).
func (j *judge) start(c *Command) {
	p := &j.Policy
	late := j.late(c.At)
	if from := c.At - p.DesiredTTL - p.Grace/2 - late; !j.wantedSometime(c.place(), from, c.At+late) {
		j.add("I6", c.At, "%s, which nobody has wanted for %s", j.name(c), seconds(c.At-from))
	}
	for _, l := range j.lives[c.place()] {
		if c.At < l.Born || c.At > l.Live {
			continue // it did not live, or may not have
		}
		if may, why := j.mayBeGone(c, l); c.At < may {
			j.add("needless", c.At, "%s beside a live instance that %s; hm may take it for gone from %s on", j.name(c), why, seconds(may))
		}
	}
}

// mayBeGone gives from when on hm might start an index anew although an instance lives there.
func (j *judge) mayBeGone(c *Command, l *Life) (at time.Duration, why string) {
	p := &j.Policy
	// What is heard while a command is claimed and sent comes too late for it. That takes half a grace at most: then hm
	// abandons the claim.
	decided := c.At - p.Grace/2 - j.late(c.At)
	known, last := false, time.Duration(0)
	for _, h := range l.Heard {
		if h.live() && h.At <= decided {
			known, last = known || j.sighted(h.At), h.At
		}
	}
	if !known {
		return 0, ""
	}
	why = "was heard last at " + seconds(last)
	from := last
	if since := j.deafUntil(c.At); since > last {
		from, why = since, why+", and no node heard anything until "+seconds(since)
	}
	if j.doubledLately(l.DEA, c.At) {
		// hm takes a while to find out that two DEAs use one id, and goes by the other one's list when this one is not heard.
		return last + 3*p.Period/2 + c.At - decided, why
	}
	at = from + p.TTL - j.late(c.At, from)
	if from > last && j.goneBefore(last) { // recorded as gone; then only the gate waits for the link
		at = max(last+p.TTL, from+p.Freshness-p.Grace) - j.late(c.At, from)
	}
	if !j.ended(c.place(), l, from-p.TTL, c.At) {
		at += p.Grace
	}
	return at, why
}

// goneBefore reports whether a DEA that was heard last at a time had been silent for a time to live, and another DEA was
// heard then, before the nodes heard no DEA at all.
func (j *judge) goneBefore(last time.Duration) bool {
	for _, s := range j.deaf {
		if s.Until == 0 || s.Until > last {
			gone := last + j.Policy.TTL - j.late(s.From, last)
			return slices.ContainsFunc(j.Beats, func(b time.Duration) bool { return gone <= b && b <= s.From })
		}
	}
	return false
}

// doubledLately reports whether somebody else used the id of a DEA not long before a time.
func (j *judge) doubledLately(dea string, at time.Duration) bool {
	return slices.ContainsFunc(j.Doubled, func(d Doubling) bool {
		return d.DEA == dea && d.From <= at && (d.Until == 0 || at <= d.Until+j.Policy.TTL+2*j.Policy.Grace)
	})
}

// ended reports whether an instance at a place, other than one, was heard to crash or to evacuate between from and
// until: then hm starts the index without a grace.
func (j *judge) ended(p place, other *Life, from, until time.Duration) bool {
	for _, l := range j.lives[p] {
		if l != other && slices.ContainsFunc(l.Heard, func(h Hearing) bool { return !h.live() && h.At >= from && h.At <= until }) {
			return true
		}
	}
	return slices.ContainsFunc(j.Exits, func(e Exit) bool {
		return place{e.App, e.Index} == p && e.At >= from && e.At <= until
	})
}
