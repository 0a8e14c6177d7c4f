package actual

import (
	"slices"
	"time"

	"hm/internal/app"
)

// Liveness is what one node knows of when each DEA was heard. Every node hears every heartbeat, so every node has one,
// leader or not; it is never replicated. A time to live counts only the time in which the DEA could have been heard:
// while the link is down or late nothing expires, and afterwards every time to live begins anew in full (I4). It is not
// safe for concurrent use.
type Liveness struct {
	Period    time.Duration // between two heartbeats of one DEA (policy.heartbeat_period)
	TTL       time.Duration // silence after which a DEA is lost (policy.heartbeat_ttl)
	Freshness time.Duration // how long the link must have been up without a gap (policy.freshness)

	up         bool
	upSince    app.Time // when the link came up, or had its last gap; while it is down, when it went down
	late       bool     // messages of now may still be under way
	window     app.Time // start of the freshness window: upSince, or the first heartbeat after a silence of a whole time to live
	renewed    app.Time // when every time to live last began anew
	heardAny   app.Time // when any DEA was last heard; 0 if none was since upSince
	everHeard  app.Time // when any DEA was last heard, before upSince or after; 0 if none ever was
	lastReturn app.Time // when a DEA that was known before renewed was last heard for the first time since renewed
	heard      map[string]app.Time
}

// NewLiveness returns the Liveness of a node that has heard nothing and whose link has been down since now.
func NewLiveness(period, ttl, freshness time.Duration, now app.Time) *Liveness {
	l := &Liveness{Period: period, TTL: ttl, Freshness: freshness, heard: map[string]app.Time{}}
	l.Link(false, now)
	return l
}

// Link notes that the link came up or went down at now. After a gap, such as messages that a slow consumer lost, call
// Link(true) again.
func (l *Liveness) Link(up bool, now app.Time) {
	l.up, l.upSince, l.window, l.heardAny = up, now, now, 0
	l.renew(now)
}

// Late notes whether the link is late at now: it is up, and messages arrive much later than they were sent. When it
// is no longer late, everything that was sent meanwhile has arrived.
func (l *Liveness) Late(late bool, now app.Time) {
	if l.late && !late {
		l.renew(now)
	}
	l.late = late
}

// IsLate reports whether the link is late.
func (l *Liveness) IsLate() bool { return l.late }

// Hears is the number of DEAs that were heard within the last time to live.
func (l *Liveness) Hears(now app.Time) (n int) {
	if !l.up {
		return 0
	}
	for _, at := range l.heard {
		if now.Sub(at) < l.TTL {
			n++
		}
	}
	return n
}

// renew lets every time to live begin anew.
func (l *Liveness) renew(now app.Time) { l.renewed, l.lastReturn = now, 0 }

// Heard notes that a DEA was heard at now. recorded says that the DEA is on record: then it returns, even if this
// node has never heard it.
//
// If no DEA at all was heard for a time, the node could not hear them, and what it knew before is as old as after an
// outage. After a silence of a whole time to live, and at the first heartbeat of all, the freshness window and every
// time to live begin anew. After a shorter silence only the times to live do.
func (l *Liveness) Heard(dea string, recorded bool, now app.Time) {
	switch {
	case l.everHeard == 0 || now.Sub(l.everHeard) >= l.TTL:
		l.window = now
		l.renew(now)
	case now.Sub(l.everHeard) > l.Period+l.Period/2: // a heartbeat of every DEA was missed
		l.renew(now)
	}
	before, known := l.heard[dea]
	if (known || recorded) && before < l.renewed {
		l.lastReturn = now
	}
	l.heard[dea], l.heardAny, l.everHeard = now, now, now
}

// Forget drops what is known of a DEA that is no longer recorded.
func (l *Liveness) Forget(dea string) { delete(l.heard, dea) }

// LastHeard is when a DEA was last heard; 0 if this node has never heard it.
func (l *Liveness) LastHeard(dea string) app.Time { return l.heard[dea] }

// Deadline is when a recorded DEA is lost unless it is heard before, and whether its time to live runs now. After an
// outage the DEAs reconnect one by one. Each return gives the DEAs that have not returned yet a whole new time to live.
// This ends, because only DEAs that were known before the outage count, and each of them once.
func (l *Liveness) Deadline(dea string) (app.Time, bool) {
	heard := l.heard[dea]
	if heard < l.renewed {
		heard = max(l.renewed, l.lastReturn)
	}
	return heard.Add(l.TTL), l.up && !l.late
}

// CountsFrom is the start of the time in which the DEAs could be heard without a break until now. A silence before it
// says nothing. It is now itself while the link is down or late, or while no DEA at all is heard.
func (l *Liveness) CountsFrom(now app.Time) app.Time {
	if !l.up || l.late || now.Sub(l.heardAny) > l.Period {
		return now
	}
	return max(l.renewed, l.lastReturn)
}

// Silent reports whether a recorded DEA has not been heard for its whole time to live (R40).
func (l *Liveness) Silent(dea string, now app.Time) bool {
	deadline, running := l.Deadline(dea)
	return running && now >= deadline
}

// Returning reports whether recorded DEAs may be waited for that were not heard since the times to live began anew.
func (l *Liveness) Returning(now app.Time) bool { return now.Sub(max(l.renewed, l.lastReturn)) < l.TTL }

// Unreturned reports whether a recorded DEA was not heard since the times to live began anew, and is not silent yet.
func (l *Liveness) Unreturned(dea string, now app.Time) bool {
	return l.heard[dea] < l.renewed && !l.Silent(dea, now)
}

// Quiet reports whether a DEA has not been heard for more than one and a half periods.
func (l *Liveness) Quiet(dea string, now app.Time) bool {
	return now.Sub(l.heard[dea]) > l.Period+l.Period/2
}

// Fresh reports whether hm may act on what this node has heard: for the whole freshness window the link has been up
// without a gap, and there was no time to live without a heartbeat of any DEA (R43, R44).
func (l *Liveness) Fresh(now app.Time) bool {
	return l.up && now.Sub(l.window) >= l.Freshness && now < l.StaleAt()
}

// FreshAt is when Fresh becomes true if heartbeats keep coming; 0 while the link is down.
func (l *Liveness) FreshAt() app.Time {
	if !l.up {
		return 0
	}
	return l.window.Add(l.Freshness)
}

// StaleAt is when Fresh becomes false unless a DEA is heard before; 0 if none was heard since the link came up.
func (l *Liveness) StaleAt() app.Time {
	if l.heardAny == 0 {
		return 0
	}
	return l.heardAny.Add(l.TTL)
}

// Up reports whether the link is up, and since when it has been up without a gap, or down.
func (l *Liveness) Up() (up bool, since app.Time) { return l.up, l.upSince }

// SilentOf gives the recorded DEAs that are silent at now, sorted, and when the next of the others will be silent
// unless it is heard before; 0 if that is not known yet. No DEA is silent while none at all has been heard for a
// whole period: otherwise DEAs that all stop at once would be lost one by one, while the rest still count as heard.
func (l *Liveness) SilentOf(recorded func(yield func(string) bool), now app.Time) (silent []string, next app.Time) {
	if l.heardAny == 0 || now.Sub(l.heardAny) > l.Period {
		return nil, 0
	}
	for dea := range recorded {
		deadline, running := l.Deadline(dea)
		switch {
		case !running:
		case now >= deadline:
			silent = append(silent, dea)
		case next == 0 || deadline < next:
			next = deadline
		}
	}
	slices.Sort(silent)
	return silent, next
}
