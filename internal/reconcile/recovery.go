package reconcile

import (
	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// recovery is the state of the instances that a hold names as lost, once most of them are back.
type recovery struct {
	missing int      // places that are still missing
	since   app.Time // since when missing has not become less
}

// isRecovered reports whether the loss that a hold names is over: all places are back or not wanted
// any more; or most of them are, and no more came back for a whole time to live in which this node
// heard the DEAs. again is when to look again at the latest, 0 if there is no such time.
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
	if h.Name == HoldFirstPicture { // a crashed instance was heard of, too
		there = func(actual.State) bool { return true }
	}
	r := removal{there: there}
	missing := len(r.missing(view, list))
	if missing == 0 || 2*missing > total {
		delete(c.recoveries, h.Name) // if they come back and go again, the time begins anew
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

// forgetRecoveries drops what is known about holds that are no longer set.
func (c *Core) forgetRecoveries(view *raftfsm.State) {
	for name := range c.recoveries {
		if !held(view, name) {
			delete(c.recoveries, name)
		}
	}
}
