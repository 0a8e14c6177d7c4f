package diff

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// Backoff is the delay of a crash restart, by the number of crashes before it (R07): none at first, then
// BackoffStart, doubling, at most BackoffMax. hm never gives up.
func (p Policy) Backoff(crashesBefore uint32) time.Duration {
	if int64(crashesBefore) < int64(p.CrashesBeforeBackoff) {
		return 0
	}
	d := p.BackoffStart
	if d <= 0 {
		return 0
	}
	for range int64(crashesBefore) - int64(p.CrashesBeforeBackoff) {
		if d > p.BackoffMax/2 {
			return p.BackoffMax
		}
		d *= 2
	}
	return min(d, p.BackoffMax)
}

// Crashes is what a crash record is worth at now: 0 once the series is forgotten (R08), less for every
// HealthyRun that the index has been running since (W20).
func (p Policy) Crashes(c actual.Crash, now app.Time) uint32 {
	if c.Count == 0 || now.Sub(c.Last) >= p.CrashMemory() {
		return 0
	}
	ran := c.Ran
	if c.RunningSince != 0 {
		ran += now.Sub(c.RunningSince)
	}
	if p.HealthyRun() <= 0 {
		return c.Count
	}
	return uint32(max(0, int64(c.Count)-int64(ran/p.HealthyRun())))
}

// remembered gives the crash record of an index, with the Count that it is worth now.
func (e *evaluation) remembered(index uint32) actual.Crash {
	i, found := slices.BinarySearchFunc(e.in.Crashes, index, func(c actual.Crash, i uint32) int { return cmp.Compare(c.Index, i) })
	if !found {
		return actual.Crash{Index: index}
	}
	c := e.in.Crashes[i]
	c.Count = e.p.Crashes(c, e.now)
	return c
}

// crash says whether an index without a live instance has crashed, and if so how its restart is counted and
// delayed. Three things tell of a crash: a crashed instance, a droplet.exited for an instance that no heartbeat
// has shown (R34), and a crash series that is still remembered when the DEA has forgotten the crash (W19).
func (e *evaluation) crash(g group) (f Finding, delay time.Duration, crashed bool) {
	c := e.remembered(g.index)
	recorded := e.uncounted(g, c)
	switch {
	case !recorded.IsZero():
		f = Finding{Rule: "R05", CrashCount: c.Count + 1, Crashed: recorded}
		delay = e.p.Backoff(c.Count)
	case !c.Exited.IsZero() && c.Exited != c.Instance && e.now.Sub(c.ExitedAt) < e.p.CrashMemory():
		f = Finding{Rule: "R34", CrashCount: c.Count + 1, Crashed: c.Exited}
		delay = e.p.Backoff(c.Count)
	case g.crashed > 0: // counted already; the restart was lost, or dropped
		f = Finding{Rule: "R05", CrashCount: max(c.Count, 1), Crashed: c.Instance}
		delay = max(0, e.p.Backoff(max(c.Count, 1)-1)-e.now.Sub(c.Last))
	case c.Count > 0:
		f = Finding{Rule: "R07", CrashCount: c.Count, Crashed: c.Instance}
		return f, max(e.p.Grace, e.p.Backoff(c.Count)), true
	default:
		return Finding{}, 0, false
	}
	if delay > 0 {
		f.Rule = "R07"
	}
	return f, delay, true
}

// uncounted gives the newest crashed instance of an index that its crash record does not know, zero if there is
// none. Every DEA that an index has crashed on lists its last crash there for up to an hour. So while the restart
// for the crash that was counted last is outstanding or has had no effect, one that crashed before that is old:
// a lost restart is not a further crash.
func (e *evaluation) uncounted(g group, c actual.Crash) app.GUID {
	var newest *actual.Located
	after := int64(math.MinInt64)
	if o := e.outstanding(Start, g.index, app.GUID{}); o != nil && !o.Crashed.IsZero() && o.Crashed == c.Instance {
		for i := range g.instances {
			if g.instances[i].GUID == c.Instance {
				after = g.instances[i].Since
			}
		}
	}
	for i := range g.instances {
		inst := &g.instances[i]
		if inst.State == actual.Crashed && inst.GUID != c.Instance && inst.Since >= after && (newest == nil || inst.Since > newest.Since) {
			newest = inst
		}
	}
	if newest == nil {
		return app.GUID{}
	}
	return newest.GUID
}
