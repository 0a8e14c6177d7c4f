package ccpub

import "time"

// maxFailures is how many requests must fail, one after the other, until the Cloud Controller counts as unreachable. One
// that hangs is enough.
const maxFailures = 3

// minProbePause is the shortest time between two probes.
const minProbePause = 50 * time.Millisecond

// reachability is what a leader knows of whether the Cloud Controller can be reached. At first it knows nothing, and the
// Cloud Controller counts as unreachable. It does no I/O and has no clock: every time is an argument.
type reachability struct {
	period time.Duration // of heartbeats

	term     uint64    // of the leadership in which it is known; 0: this node does not lead
	led      time.Time // when that leadership was noticed; requests that began earlier tell nothing
	up       bool
	asked    bool      // there was an answer or a failure in this leadership
	failures int       // one after the other
	why      string    // the newest of them
	since    time.Time // since when it has been up, or not
	hung     time.Time // when the newest post ended that had no answer in time; zero: none, or a post was answered since
	probeAt  time.Time // when the next probe is due
}

// lead begins a leadership. The first probe is due at once.
func (r *reachability) lead(term uint64, now time.Time) {
	*r = reachability{period: r.period, term: term, led: now, since: now, probeAt: now}
}

// answered takes in that a request was answered, and reports whether the Cloud Controller became reachable. A probe does
// not outweigh a post that hung less than a heartbeat ago: a Cloud Controller may answer one and not the other.
func (r *reachability) answered(post bool, began, now time.Time) (changed bool) {
	if r.ignores(began) {
		return false
	}
	if r.probeAt = now.Add(r.period); !post && !r.hung.IsZero() && now.Sub(r.hung) < r.period {
		return false
	}
	r.asked, r.failures, r.why, r.hung = true, 0, "", time.Time{}
	return r.set(true, now)
}

// failed takes in that a request had no answer of the Cloud Controller, and reports whether it became unreachable. hung
// says that it took too long.
func (r *reachability) failed(post, hung bool, why string, began, now time.Time) (changed bool) {
	if r.ignores(began) {
		return false
	}
	r.asked, r.failures, r.why = true, r.failures+1, why
	r.probeAt = now.Add(max(r.period/10, minProbePause))
	if post && hung {
		r.hung = now
	}
	if !r.hung.IsZero() { // an earlier probe could not change anything
		r.probeAt = latest(r.probeAt, r.hung.Add(r.period))
	}
	if !hung && r.failures < maxFailures {
		return false
	}
	return r.set(false, now)
}

func (r *reachability) ignores(began time.Time) bool { return r.term == 0 || began.Before(r.led) }

func (r *reachability) set(up bool, now time.Time) (changed bool) {
	if r.up == up {
		return false
	}
	r.up, r.since = up, now
	return true
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
