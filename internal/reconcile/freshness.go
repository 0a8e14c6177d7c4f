package reconcile

import "time"

// Freshness says whether a node may rely on what it has heard.
type Freshness struct {
	// Fresh says that it may: the link has been up without a gap for the freshness window and is
	// not late, and there was no time to live in which no DEA was heard.
	Fresh bool
	// Behind says that a heartbeat which arrived more than one heartbeat period ago is not recorded
	// yet.
	Behind bool
}

// Freshness is about this moment. Unlike Overview it does not wait for a step, which may hang in a
// proposal for as long as the log has no majority.
func (l *Loop) Freshness() Freshness {
	intake := l.opts.Intake
	fresh, _, _ := intake.Fresh(l.opts.Log.Now())
	return Freshness{Fresh: fresh && !intake.Late(), Behind: intake.Behind(l.opts.Policy.HeartbeatPeriod)}
}

// Behind reports whether a heartbeat that arrived longer ago than limit is not recorded yet.
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
