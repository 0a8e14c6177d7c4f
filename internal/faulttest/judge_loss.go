package faulttest

import (
	"slices"
	"time"
)

// loss judges a start at a place that was lost together with most others: hm must hold it for a while, since DEAs that
// are lost together often return together (hold:mass-loss).
func (j *judge) loss(c *Command) {
	p := &j.Policy
	l := j.silentLife(c.place(), c.At)
	if l == nil {
		return
	}
	last := l.lastHeard(c.At)
	if c.At >= last+p.LossHold-p.Period-j.late(c.At, last) {
		return
	}
	if slices.ContainsFunc(j.blind, func(s Span) bool { return s.From <= c.At && (s.Until == 0 || s.Until > last-2*p.Period) }) {
		return // some of it may not be known
	}
	lost, live, deas := 0, 0, map[string]bool{}
	for where := range j.lives {
		if !j.wantedAlways(where, last-2*p.Period, c.At) {
			continue
		}
		if !j.heardLive(where, last-2*p.Period, last) {
			continue
		}
		live++
		if other := j.silentLife(where, c.At); other != nil && within(other.lastHeard(c.At), last, p.Period) {
			lost++
			deas[other.DEA] = true
		}
	}
	if len(deas) >= 4 && float64(lost) > (p.MassLoss+0.1)*float64(live) {
		j.add("hold", c.At, "%s, %s after %d of %d instances were heard last: hm must hold them for %s", j.name(c), seconds(c.At-last), lost, live, seconds(p.LossHold))
	}
}

func within(a, b, d time.Duration) bool { return a >= b-d && a <= b+d }

// silentLife gives the instance that was heard last at a place, if it was live then and nothing was heard of the place
// since: no other instance, and no exit.
func (j *judge) silentLife(p place, at time.Duration) *Life {
	var newest *Life
	for _, l := range j.lives[p] {
		if h := l.lastHeard(at); h > 0 && (newest == nil || h > newest.lastHeard(at)) {
			newest = l
		}
	}
	if newest == nil || !newest.liveWhenHeard(at) {
		return nil
	}
	last := newest.lastHeard(at)
	if at-last < 3*j.Policy.Period/2 {
		return nil // its DEA may well tell of it the next time
	}
	if slices.ContainsFunc(j.Exits, func(e Exit) bool { return place{e.App, e.Index} == p && e.At >= last && e.At <= at }) {
		return nil
	}
	return newest
}

func (j *judge) heardLive(p place, from, until time.Duration) bool {
	return slices.ContainsFunc(j.lives[p], func(l *Life) bool {
		return slices.ContainsFunc(l.Heard, func(h Hearing) bool { return h.live() && h.At >= from && h.At <= until })
	})
}

// lastHeard gives when the instance was heard last, until a time; 0: never.
func (l *Life) lastHeard(until time.Duration) (at time.Duration) {
	for _, h := range l.Heard {
		if h.At <= until {
			at = h.At
		}
	}
	return at
}

func (l *Life) liveWhenHeard(until time.Duration) (live bool) {
	for _, h := range l.Heard {
		if h.At <= until {
			live = h.live()
		}
	}
	return live
}
