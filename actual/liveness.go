package actual

import (
	"slices"
	"time"

	"hm/internal/app"
)

// Liveness is one node's own knowledge of who spoke when. Every node hears every heartbeat, so every node keeps
// one, leader or not; it is never replicated. Silence is no knowledge: times to live count only what could have been
// heard. While the link is down or late nothing expires, and afterwards every time to live starts anew in full (I4).
// It is not safe for concurrent use.
type Liveness struct {
	Period    time.Duration // between two heartbeats of one DEA (policy.heartbeat_period)
	TTL       time.Duration // silence after which a DEA is lost (policy.heartbeat_ttl)
	Freshness time.Duration // for how long there must have been no gap (policy.freshness)

	up      bool
	upSince app.Time // start of the link's present spell without a gap; while it is down, of the outage
	late    bool     // what is said now may still be under way
	window  app.Time // start of the freshness window: the spell's, or the first word after a whole time to live of silence
	renewed app.Time // when every time to live began anew last
	newest  app.Time // when anything was heard last; 0 if nothing was since the spell began
	spoken  app.Time // when anything was heard last, in whatever spell; 0 if nothing was ever heard
	back    app.Time // when a DEA that was known before renewed was heard after it for the first time, the last such time
	heard   map[string]app.Time
}

// NewLiveness returns the knowledge of a node that has heard nothing and whose link is down since now.
func NewLiveness(period, ttl, freshness time.Duration, now app.Time) *Liveness {
	l := &Liveness{Period: period, TTL: ttl, Freshness: freshness, heard: map[string]app.Time{}}
	l.Link(false, now)
	return l
}

// Link notes that the link is up or down since now. A gap in what was heard, such as messages dropped by a slow
// consumer, counts as a new spell: note it as Link(true) again.
func (l *Liveness) Link(up bool, now app.Time) {
	l.up, l.upSince, l.window, l.newest = up, now, now, 0
	l.renew(now)
}

// Late notes whether the link is late at now: it is up, and what is said now is heard much later. What was said
// meanwhile has been heard once it is late no more.
func (l *Liveness) Late(late bool, now app.Time) {
	if l.late && !late {
		l.renew(now)
	}
	l.late = late
}

// IsLate reports whether the link is late.
func (l *Liveness) IsLate() bool { return l.late }

// Hears is how many DEAs were heard within a time to live at now.
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

// renew has every time to live begin anew.
func (l *Liveness) renew(now app.Time) { l.renewed, l.back = now, 0 }

// Heard notes that a DEA spoke at now. recorded says that the DEA is on record, so that its first word is a return,
// though this node may never have heard it before.
//
// The first word after a silence of everybody says that the silence was no absence. What was known before is then as
// old as after an outage that the link told of: after a whole time to live of silence, and at the first word of all,
// the freshness window begins anew, and with it every time to live. A shorter silence ends only the times to live.
func (l *Liveness) Heard(dea string, recorded bool, now app.Time) {
	switch {
	case l.spoken == 0 || now.Sub(l.spoken) >= l.TTL:
		l.window = now
		l.renew(now)
	case now.Sub(l.spoken) > l.Period+l.Period/2: // all must have missed a heartbeat
		l.renew(now)
	}
	before, known := l.heard[dea]
	if (known || recorded) && before < l.renewed {
		l.back = now
	}
	l.heard[dea], l.newest, l.spoken = now, now, now
}

// Forget drops what is known of a DEA that is no longer recorded.
func (l *Liveness) Forget(dea string) { delete(l.heard, dea) }

// LastHeard is when a DEA spoke last, 0 if this node has never heard it.
func (l *Liveness) LastHeard(dea string) app.Time { return l.heard[dea] }

// Deadline is when a recorded DEA is lost unless it speaks before, and whether its time is running at all. After an
// outage DEAs find their way back to the bus one by one: as long as they do, those that have not been heard since get
// their whole time to live anew. Only DEAs known before count, each once, so this comes to an end.
func (l *Liveness) Deadline(dea string) (app.Time, bool) {
	heard := l.heard[dea]
	if heard < l.renewed {
		heard = max(l.renewed, l.back)
	}
	return heard.Add(l.TTL), l.up && !l.late
}

// CountsFrom is from when on the time until now counts for whatever lasts as long as nothing is heard: silence before
// it is no knowledge. It is now itself while the link is down or late, or nobody at all speaks.
func (l *Liveness) CountsFrom(now app.Time) app.Time {
	if !l.up || l.late || now.Sub(l.newest) > l.Period {
		return now
	}
	return max(l.renewed, l.back)
}

// Silent reports whether a recorded DEA has been silent for its whole time to live at now (R40).
func (l *Liveness) Silent(dea string, now app.Time) bool {
	deadline, running := l.Deadline(dea)
	return running && now >= deadline
}

// Quiet reports whether a DEA has not been heard for more than one and a half periods at now.
func (l *Liveness) Quiet(dea string, now app.Time) bool {
	return now.Sub(l.heard[dea]) > l.Period+l.Period/2
}

// Fresh reports whether what this node has heard may be acted on: for the freshness window the link has been up
// without a gap, and there was no time to live without a word, since silence is not absence (R43, R44).
func (l *Liveness) Fresh(now app.Time) bool {
	return l.up && now.Sub(l.window) >= l.Freshness && now < l.StaleAt()
}

// FreshAt is the earliest time at which Fresh can become true if heartbeats keep coming, 0 while the link is down.
func (l *Liveness) FreshAt() app.Time {
	if !l.up {
		return 0
	}
	return l.window.Add(l.Freshness)
}

// StaleAt is when Fresh becomes false unless somebody speaks before, 0 if nobody has spoken in the present spell.
func (l *Liveness) StaleAt() app.Time {
	if l.newest == 0 {
		return 0
	}
	return l.newest.Add(l.TTL)
}

// Up reports whether the link is up, and since when it has been so without a gap, or since when it is down.
func (l *Liveness) Up() (up bool, since app.Time) { return l.up, l.upSince }

// SilentOf gives those of the recorded DEAs that are silent at now, sorted, and when the next of the others will be
// unless it speaks before; 0 if that cannot be told yet. None is silent while nobody at all has spoken for a whole
// period. DEAs that all stop at once would else be lost one by one, each while the next still counts as heard.
func (l *Liveness) SilentOf(recorded func(yield func(string) bool), now app.Time) (silent []string, next app.Time) {
	if l.newest == 0 || now.Sub(l.newest) > l.Period {
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
