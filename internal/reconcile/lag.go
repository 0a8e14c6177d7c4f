package reconcile

import (
	"time"

	"hm/actual"
	"hm/internal/app"
)

// lag is how late messages reach this node. They may wait in the server, in the network or in this
// process; meanwhile silence means nothing. The Intake's mutex guards it.
type lag struct {
	of      func() time.Duration // measures it; nil: there is none
	tooLate bool                 // it is so long that nothing may be sent
}

// lateAfter is the lag beyond which no DEA counts as silent: half a heartbeat period. Beyond a
// whole period nothing is sent, until the lag is at most half a period again.
func lateAfter(period time.Duration) time.Duration { return period / 2 }

// update measures the lag and sets it. If it cannot be measured, the one before counts.
func (l *lag) update(live *actual.Liveness, now app.Time) {
	if l.of == nil {
		return
	}
	if lag := l.of(); lag >= 0 {
		l.set(live, lag, now)
	}
}

// now measures the lag.
func (l *lag) now() time.Duration {
	if l.of == nil {
		return 0
	}
	return max(0, l.of())
}

func (l *lag) set(live *actual.Liveness, lag time.Duration, now app.Time) {
	late := lag > lateAfter(live.Period)
	live.Late(late, now)
	l.tooLate = lag > live.Period || l.tooLate && late
}

// SetLag gives the intake a function that measures the lag. of is called often: it must be quick
// and must not call the intake. It gives 0 if the lag is not known, and less than 0 while the link is
// down: until Link tells of that, the lag before counts, and the gate does not open for a moment.
func (i *Intake) SetLag(of func() time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lag.of = of
}

// NoteLag notes how late a message was that has just arrived. The lag may have come and gone
// between two measurements.
func (i *Intake) NoteLag(late time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if late > lateAfter(i.live.Period) {
		i.lag.set(i.live, late, i.log.Now())
	}
	i.lag.update(i.live, i.log.Now())
}

// Late reports whether messages reach this node too late to act on them.
func (i *Intake) Late() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lag.update(i.live, i.log.Now())
	return i.lag.tooLate
}
