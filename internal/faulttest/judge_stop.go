package faulttest

// stop judges whether a stop was justified: its instance was not wanted, was evacuating, or was one of several; and
// whether it left a wanted index without an instance (I3, I6).
func (j *judge) stop(c *Command) {
	p := &j.Policy
	l := j.Lives[c.Instance]
	if l == nil || l.place() != c.place() {
		return // it was never seen at work: the stop does nothing
	}
	if l.Evacuating != 0 && l.Evacuating <= c.At+j.late(c.At) {
		return
	}
	// What hm knows of the desired state is not older than its time to live, and not older than the instance.
	from := max(l.Born, c.At-p.DesiredTTL-p.Grace/2) - j.late(c.At)
	if !j.wantedAlways(l.place(), from, c.At) {
		return
	}
	other := j.otherAt(c, l)
	switch {
	case !other:
		j.add("I6", c.At, "%s, which has been wanted for %s, and no other instance lives at its index", j.name(c), seconds(c.At-from))
	case c.Harmful && !j.justEnded(c, l):
		j.add("I3", c.At, "%s ended the last instance of a wanted index", j.name(c))
	}
}

// otherAt reports whether hm could think that another instance lives at the index of a stop.
func (j *judge) otherAt(c *Command, stopped *Life) bool {
	for _, l := range j.lives[c.place()] {
		if l == stopped || l.Born > c.At {
			continue
		}
		if l.Ended == 0 || l.Ended > c.At || j.endedLately(c, l) {
			return true
		}
	}
	return false
}

// justEnded reports whether another instance at the index of a stop ended so shortly before that hm could not know.
func (j *judge) justEnded(c *Command, stopped *Life) bool {
	for _, l := range j.lives[c.place()] {
		if l != stopped && l.Born <= c.At && l.Ended != 0 && j.endedLately(c, l) {
			return true
		}
	}
	return false
}

func (j *judge) endedLately(c *Command, l *Life) bool {
	arrived := max(c.At, c.Arrived)
	return l.Ended >= c.At-2*j.Policy.Period-j.Policy.Grace/2-j.late(c.At, l.Ended) && l.Live <= arrived+j.late(arrived)
}
