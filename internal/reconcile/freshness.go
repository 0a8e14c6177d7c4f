package reconcile

import "time"

// Heard is what a node can say of what it has heard, at this moment.
type Freshness struct {
	// Fresh says that what was heard may be believed: the link has been up without a gap for the freshness window and is
	// not late, and there was no time to live without a word.
	Fresh bool
	// Behind says that a heartbeat which was heard more than one heartbeat period ago is not recorded yet.
	Behind bool
}

// Heard looks at what this node has heard. Unlike Overview it does not wait for a step: a step may hang in a proposal
// for as long as the log has no majority.
func (l *Loop) Freshness() Freshness {
	intake := l.opts.Intake
	fresh, _, _ := intake.Fresh(l.opts.Log.Now())
	return Freshness{Fresh: fresh && !intake.Late(), Behind: intake.Behind(l.opts.Policy.HeartbeatPeriod)}
}

// Behind reports whether a heartbeat that was heard longer ago than limit is not recorded yet.
func (i *Intake) Behind(limit time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	view, now := i.log.View(), i.log.Now()
	for _, h := range i.dirty {
		if now.Sub(h.unrecordedSince) > limit && !i.settle(view, h) {
			return true
		}
	}
	return false
}
