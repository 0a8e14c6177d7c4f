package faulttest

import (
	"slices"
	"time"

	"hm/internal/app"
)

// once judges that no command is sent twice: no message id, no start of an index while an earlier one may still work,
// no stop of an instance while an earlier one may (I2).
func (j *judge) once() {
	ids := map[string]*Command{}
	starts := map[place]*Command{}
	stops := map[app.GUID]*Command{}
	// The grace begins with the claim, and half a grace may pass until the command is sent.
	pause := j.Policy.Grace - j.Policy.Grace/2
	for i := range j.Commands {
		c := &j.Commands[i]
		if before := ids[c.ID]; before != nil {
			j.add("I2", c.At, "%s has the message id of one that %s sent %s before", j.name(c), before.Node, seconds(c.At-before.At))
		}
		ids[c.ID] = c
		if c.Stop {
			if before := stops[c.Instance]; before != nil && before.ID != c.ID && c.At-before.At < pause-j.late(c.At, before.At) && !j.seemedGone(c.Instance, before.At, c.At) {
				j.add("I2", c.At, "%s, which was sent %s before already", j.name(c), seconds(c.At-before.At))
			}
			stops[c.Instance] = c
			continue
		}
		if before := starts[c.place()]; before != nil && before.ID != c.ID && c.At-before.At < pause-j.late(c.At, before.At) && !j.effectSeen(c.place(), before.At-j.late(before.At), c.At) {
			j.add("I2", c.At, "%s, which %s started %s before, and no effect was heard", j.name(c), before.Node, seconds(c.At-before.At))
		}
		starts[c.place()] = c
	}
}

// effectSeen reports whether anything new was heard of a place between from and until: an instance for the first time, an
// instance in another state, or an exit.
func (j *judge) effectSeen(p place, from, until time.Duration) bool {
	for _, l := range j.lives[p] {
		state := ""
		for _, h := range l.Heard {
			if h.State != state && h.At >= from && h.At <= until {
				return true
			}
			state = h.State
		}
	}
	return slices.ContainsFunc(j.Exits, func(e Exit) bool {
		return place{e.App, e.Index} == p && e.At >= from && e.At <= until
	})
}

// seemedGone reports whether an instance was not heard for a time to live that ended between from and until, or shortly
// before: hm took it for gone, and then it was back.
func (j *judge) seemedGone(guid app.GUID, from, until time.Duration) bool {
	l := j.Lives[guid]
	if l == nil {
		return false
	}
	last := l.Born
	for _, h := range l.Heard {
		if h.At > from-j.Policy.Grace && h.At <= until && h.At-last >= j.Policy.TTL-j.late(h.At, last) {
			return true
		}
		last = h.At
	}
	return until-last >= j.Policy.TTL-j.late(until, last)
}
