package diff

import (
	"cmp"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// Backoff is the delay of a crash restart after a number of earlier crashes (R07): at first 0, then BackoffStart,
// doubling with each crash, at most BackoffMax. hm never gives up.
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

// Crashes is how many crashes of a series still count at now: 0 once the series is forgotten (R08), and one less for
// every HealthyRun of running time since the newest (W20).
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

// Flapping reports whether the crashes of an index that still count at now have reached the number after which a crash
// restart is delayed.
func (p Policy) Flapping(c actual.Crash, now app.Time) bool {
	n := p.Crashes(c, now)
	return n > 0 && int64(n) >= int64(p.CrashesBeforeBackoff)
}

// remembered gives the crash record of an index, with Count as Crashes gives it.
func (e *evaluation) remembered(index uint32) actual.Crash {
	i, found := slices.BinarySearchFunc(e.in.Crashes, index, func(c actual.Crash, i uint32) int { return cmp.Compare(c.Index, i) })
	if !found {
		return actual.Crash{Index: index}
	}
	c := e.in.Crashes[i]
	c.Count = e.p.Crashes(c, e.now)
	return c
}

// crash says whether an index without a live instance has crashed, and if so how its restart is counted and delayed.
// Three things show a crash: a crashed instance; a droplet.exited of an instance that no heartbeat has shown (R34);
// and a crash series that is remembered though the DEA has forgotten the crash (W19). Once another instance has been
// live after a crash, the crash is answered: the index is missing then and has not crashed.
func (e *evaluation) crash(g group) (f Finding, delay time.Duration, crashed bool) {
	c := e.remembered(g.index)
	recorded := e.uncounted(g, c)
	switch {
	case !recorded.IsZero():
		f = Finding{Rule: "R05", CrashCount: c.Count + 1, Crashed: recorded}
		delay = e.p.Backoff(c.Count)
	case e.exited(c, actual.ExitCrashed) && c.Exited != c.Instance:
		f = Finding{Rule: "R34", CrashCount: c.Count + 1, Crashed: c.Exited}
		delay = e.p.Backoff(c.Count)
	case c.Answered:
		return Finding{}, 0, false
	case g.counted > 0: // its restart was lost or dropped
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

// exited reports whether a crash record has a recent exit, for one of the reasons, of an instance that no heartbeat has
// shown.
func (e *evaluation) exited(c actual.Crash, reasons ...actual.ExitReason) bool {
	return !c.Exited.IsZero() && slices.Contains(reasons, c.ExitReason) && e.now.Sub(c.ExitedAt) < e.p.CrashMemory()
}

// uncounted gives the newest crashed instance at an index that was neither counted nor answered; zero if there is
// none. A DEA may list a crash for any time.
func (e *evaluation) uncounted(g group, c actual.Crash) app.GUID {
	var newest *actual.Located
	for i := range g.instances {
		inst := &g.instances[i]
		if inst.State == actual.Crashed && inst.Mark == actual.CrashNew && inst.GUID != c.Instance && (newest == nil || inst.Heard >= newest.Heard) {
			newest = inst
		}
	}
	if newest == nil {
		return app.GUID{}
	}
	return newest.GUID
}

// Pause is the time from a start without effect to the next start, after a number of such starts: a grace, doubling
// with each, at most BackoffMax (W23).
func (p Policy) Pause(tries uint32) time.Duration {
	d := p.Grace
	for range min(tries, 64) - min(tries, 1) {
		if d > p.BackoffMax/2 {
			return max(p.BackoffMax, p.Grace)
		}
		d *= 2
	}
	return d
}
