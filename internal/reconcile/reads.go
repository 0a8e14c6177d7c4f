package reconcile

import (
	"maps"
	"time"

	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// reads is what a node knows about the reads of the desired state.
type reads struct {
	began     app.Time // when the newest known complete read began
	failing   bool     // the newest attempt of this leadership failed, or what it read could not be recorded
	lastError string

	attempted   app.Time // when an attempt was last asked for in this leadership
	asked       uint64   // number of the newest attempt that was asked for
	underWay    uint64   // number of the attempt that is under way, 0 if there is none
	wanted      bool     // a decision would gain from a new read
	confirmed   int      // reads that agree with the one that is held
	confirmedAt app.Time // when the newest of them began, or the one that is held; 0 if not known
	holding     bool     // the hold desired-shrink was seen
	accepted    bool     // the hold was released: the desired state is right, however small
	refused     app.Time // the newest time in the future that a peer gave for the begin of a read
	notBefore   app.Time // reads that began earlier are ignored: it is not known whether a read was recorded

	apps map[app.GUID]app.Time // when the newest read of a single app began, if after the newest complete read
	ask  []app.GUID            // single apps that are to be read

	recorded recordedRead
}

// Learn takes from a peer when the newest complete read began that the peer knows of, so that a new
// leader does not start from nothing (I1). It refuses a time more than a heartbeat period in the
// future, since hm time differs little between nodes: all reads that began earlier would be
// ignored.
func (c *Core) Learn(now, began app.Time) {
	c.noteClock(now)
	if began <= c.log.View().RestoredAt() {
		return // what it read is not in the record any more
	}
	if began > now.Add(c.opts.Policy.HeartbeatPeriod) {
		if began != c.reads.refused {
			c.logger.Warn("ignoring a read of the desired state that a peer told of: it began in the future", "began", began, "now", now)
		}
		c.reads.refused = began
		return
	}
	c.reads.began = max(c.reads.began, min(began, now))
}

// minShift is how much a clock must be set forward or back to matter to the age of a read.
const minShift = 20 * time.Millisecond

// shift keeps the age of the newest read while the clock is set forward by d, or back. A read that
// would have begun in the future has no known age.
func (r *reads) shift(d time.Duration, now app.Time) {
	if d.Abs() >= minShift && r.began != 0 {
		r.began = r.began.Add(d)
		r.wanted = true
	}
	if r.began < 0 || r.began > now {
		r.began = 0
	}
}

func (r *reads) lead() {
	*r = reads{began: r.began, wanted: true, asked: r.asked}
}

// outcomeUnknown notes at now that it is not known whether a read was recorded, and why. If it was, reads
// that began before now may be older than the record.
func (r *reads) outcomeUnknown(now app.Time, err error) {
	r.notBefore, r.wanted = now, true
	r.failed(err)
}

// abandon drops the attempt that is under way.
func (r *reads) abandon() { r.underWay = 0 }

// beganOf is when the newest read of an app began: a complete one, or one of the app alone.
func (r *reads) beganOf(droplet app.GUID) app.Time { return max(r.began, r.apps[droplet]) }

func (r *reads) known() diff.Reads {
	return diff.Reads{Began: r.began, Failing: r.failing, UnderWay: r.underWay != 0}
}

func (r *reads) fresh(now app.Time, o Options) bool {
	return r.began != 0 && now < r.staleAt(o)
}

// staleAt is when the desired state becomes stale unless it is read before.
func (r *reads) staleAt(o Options) app.Time { return r.began.Add(o.DesiredTTL) }

// minInterval is the least time between two attempts: reads that decisions ask for come soon, but
// every change must not burden the Cloud Controller.
func minInterval(o Options) time.Duration { return min(o.PollInterval/3, o.Policy.HeartbeatPeriod) }

// due gives the number of an attempt that should begin at now, 0 if none should. While an attempt
// is under way the next one waits for its end.
func (r *reads) due(now app.Time, o Options) uint64 {
	if at, ok := r.nextPoll(now, o); !ok || now < at {
		return 0
	}
	r.asked++
	r.attempted, r.underWay, r.wanted = now, r.asked, false
	return r.asked
}

// nextPoll is when the next attempt is due; ok is false while one is under way.
func (r *reads) nextPoll(now app.Time, o Options) (at app.Time, ok bool) {
	switch {
	case r.underWay != 0:
		return 0, false
	case r.attempted == 0:
		return now, true
	case r.wanted || r.failing:
		return r.attempted.Add(minInterval(o)), true
	}
	return r.attempted.Add(o.PollInterval), true
}

func (r *reads) failed(err error) { r.failing, r.lastError = true, err.Error() }

func (r *reads) succeeded(began app.Time) {
	r.began, r.failing, r.lastError = max(r.began, began), false, ""
	maps.DeleteFunc(r.apps, func(_ app.GUID, at app.Time) bool { return at <= r.began })
}

// verdict is what a complete read means for the hold desired-shrink.
type verdict struct {
	hold      string // why the hold is to be set; empty: it is not
	before    int    // with hold: wanted apps before the read, if their return is to end the hold; else 0
	counts    bool   // the read confirms the one that is held
	again     bool   // the read contradicts the one that is held: the count of confirming reads starts anew
	release   bool   // the hold is to end
	confirmed bool   // with release: because enough reads confirm it, not because the apps are back
	reads     int    // how many reads confirm it
}

// judge gives what a complete read that began at began means for the hold desired-shrink. why is
// the reason for which hm must not act on the read, if there is one. It changes nothing but what
// followHold does; noteVerdict does.
func (r *reads) judge(view *raftfsm.State, o Options, read desired.Read, began app.Time, why string) verdict {
	recorded := view.DesiredMeta().Apps
	apps, _ := read.Wanted()
	set := r.followHold(view)
	before := 0 // wanted apps before the read that is held
	for _, h := range view.Holds() {
		if h.Name == HoldDesiredShrink {
			before = int(h.AppsBefore)
		}
	}
	switch {
	case why != "":
		if float64(recorded-apps) > o.Guard.DesiredShrink*float64(recorded) {
			before = max(before, recorded)
		}
		return verdict{hold: why, before: before}
	case !set:
		return verdict{}
	case before > 0 && float64(before-apps) <= o.Guard.DesiredShrink*float64(before):
		return verdict{release: true} // the apps are back
	case apps > recorded+max(before-recorded, 0)/10:
		return verdict{again: true} // it contradicts the read that is held: some of the apps are back
	case r.confirmedAt != 0 && began.Sub(r.confirmedAt) < o.PollInterval-o.PollInterval/10:
		return verdict{} // it came early: several early reads count as one (W36)
	}
	v := verdict{counts: true, reads: r.confirmed + 1}
	v.confirmed = o.Guard.ConfirmReads > 0 && v.reads >= o.Guard.ConfirmReads
	v.release = v.confirmed
	return v
}

// noteVerdict notes a verdict that was recorded.
func (r *reads) noteVerdict(v verdict, began app.Time) {
	switch {
	case v.hold != "":
		r.confirmed, r.confirmedAt, r.holding = 0, began, true
	case v.again:
		r.confirmed, r.confirmedAt = 0, began
	case v.release:
		r.confirmed, r.confirmedAt, r.holding = 0, 0, false
		r.accepted = r.accepted || v.confirmed
	case v.counts:
		r.confirmed, r.confirmedAt = v.reads, began
	}
}

// followHold notes whether the hold desired-shrink is set, which a person may release at any time,
// and reports it.
func (r *reads) followHold(view *raftfsm.State) bool {
	set := held(view, HoldDesiredShrink)
	r.accepted = r.accepted || r.holding && !set
	r.holding = set
	return set
}
