package reconcile

import (
	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// back is how far what a hold says was lost has come back, once most of it has.
type recovery struct {
	missing int      // places that are still missing; it was not less since then
	since   app.Time // when one came back last
}

// isRecovered reports whether what a hold says was lost is back, or is not wanted any more: all of it, or most of it, and
// nothing has come back for a whole time to live in which this node heard the DEAs. They come back one by one. It says
// when to look again at the latest, 0 if no time can be told.
func (c *Core) isRecovered(view *raftfsm.State, now app.Time, h raftfsm.Hold) (over bool, again app.Time) {
	if h.Lost == "" || !isMassLoss(h.Name) && h.Name != HoldFirstPicture {
		return false, 0
	}
	fresh, _, _ := c.intake.Fresh(now)
	var list []lostPlace
	for p := range h.Lost.All() {
		list = append(list, lostPlace{Place: p})
	}
	total := len(list)
	there := actual.State.Live
	if h.Name == HoldFirstPicture { // what has crashed was heard of
		there = func(actual.State) bool { return true }
	}
	r := removal{there: there}
	missing := len(r.missing(view, list))
	if missing == 0 || 2*missing > total {
		delete(c.recoveries, h.Name) // what comes back and goes again begins anew
		return missing == 0, 0
	}
	b, known := c.recoveries[h.Name]
	if !fresh || !known || missing < b.missing {
		b = recovery{missing, now}
	}
	c.recoveries[h.Name] = b
	ttl := c.intake.live.TTL
	return now.Sub(b.since) >= ttl, b.since.Add(ttl)
}

// forgetRecoveries drops what is known of holds that are not set any more.
func (c *Core) forgetRecoveries(view *raftfsm.State) {
	for name := range c.recoveries {
		if !held(view, name) {
			delete(c.recoveries, name)
		}
	}
}
