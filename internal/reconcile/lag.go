package reconcile

import (
	"time"

	"hm/actual"
	"hm/internal/app"
)

// lag is how late a node hears what is said on its link. What is said may wait in the server, in the network, or in this
// process's own queue; while it does, silence says nothing. The Intake's mutex guards it.
type lag struct {
	of      func() time.Duration // what it is at this moment; nil: there is none
	tooLate bool                 // it is so great that nothing may be sent
}

// While the lag is greater than half a heartbeat nobody counts as silent. When it is greater than a heartbeat nothing is
// sent, until it is at most half a heartbeat.
func lateAfter(period time.Duration) time.Duration { return period / 2 }

// look has what is known of who spoke when go by the present lag.
func (l *lag) update(live *actual.Liveness, now app.Time) {
	if l.of != nil {
		l.set(live, l.of(), now)
	}
}

func (l *lag) set(live *actual.Liveness, lag time.Duration, now app.Time) {
	late := lag > lateAfter(live.Period)
	live.Late(late, now)
	l.tooLate = lag > live.Period || l.tooLate && late
}

// SetLag makes the intake go by how late it hears. of is called often and must be quick; it must call nothing of the
// intake's. A link that is down has no lag, nor has one of which it is not known.
func (i *Intake) SetLag(of func() time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lag.of = of
}

// NoteLag notes how late something was heard that has just come, though nobody may have looked meanwhile.
func (i *Intake) NoteLag(late time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if late > lateAfter(i.live.Period) {
		i.lag.set(i.live, late, i.log.Now())
	}
	i.lag.update(i.live, i.log.Now())
}

// Late reports whether what this node hears comes too late to act on.
func (i *Intake) Late() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lag.update(i.live, i.log.Now())
	return i.lag.tooLate
}
