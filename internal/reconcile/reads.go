package reconcile

import (
	"maps"
	"time"

	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// reads is what a node knows of the reads of the desired state.
type reads struct {
	began     app.Time // when the newest complete read known was begun
	failing   bool     // the newest attempt of this leadership failed
	lastError string

	attempted   app.Time // when an attempt was asked for last in this leadership
	asked       uint64   // number of the newest attempt that was asked for
	underWay    uint64   // number of the attempt whose outcome is awaited, 0 if none is
	wanted      bool     // a decision would be better for a read that is begun from now on
	confirmed   int      // reads that agreed with the one that is held
	confirmedAt app.Time // when the newest of them was begun, or else the one that is held; 0 if that is not known
	holding     bool     // hold:desired-shrink was seen set
	accepted    bool     // it was released: what is desired is right, however little it is
	refused     app.Time // the newest begin that a peer told and that lies ahead
	notBefore   app.Time // reads that were begun earlier are passed over: the outcome of recording one is not known

	apps map[app.GUID]app.Time // when the newest read of a single app was begun, if after the newest complete one
	ask  []app.GUID            // single apps that are to be read

	newest     desired.Read // the newest complete read that this node has recorded
	generation uint64       // that it was recorded as
}

// Learn takes what a peer told: when the newest complete read that it knows of was begun. A successor of a leader
// need not start from ignorance (I1). The hm time of two nodes differs by little: what lies further ahead of now than a
// heartbeat period is refused, since nothing older would be taken any more.
func (c *Core) Learn(now, began app.Time) {
	if began > now.Add(c.opts.Policy.HeartbeatPeriod) {
		if began != c.reads.refused {
			c.logger.Warn("a peer tells of a read of the desired state that was begun in the future: refused", "began", began, "now", now)
		}
		c.reads.refused = began
		return
	}
	c.reads.began = max(c.reads.began, min(began, now))
}

// notAhead corrects what is known by a clock that was ahead, as a node's wall clock may be until it knows hm time.
func (r *reads) notAhead(now app.Time) { r.began = min(r.began, now) }

func (r *reads) lead() {
	// newest and generation: again trusts them only as far as the record agrees.
	*r = reads{began: r.began, wanted: true, asked: r.asked, newest: r.newest, generation: r.generation}
}

// lost notes at now that the outcome of recording a read is not known. It may be recorded: what was begun before now may
// be older.
func (r *reads) outcomeUnknown(now app.Time) { r.notBefore, r.wanted = now, true }

// abandon forgets the attempt that is under way.
func (r *reads) abandon() { r.underWay = 0 }

// beganOf is when the newest read that tells of an app was begun: a complete one, or one of the app alone.
func (r *reads) beganOf(droplet app.GUID) app.Time { return max(r.began, r.apps[droplet]) }

func (r *reads) known() diff.Reads {
	return diff.Reads{Began: r.began, Failing: r.failing, UnderWay: r.underWay != 0}
}

func (r *reads) fresh(now app.Time, o Options) bool {
	return r.began != 0 && now < r.staleAt(o)
}

// staleAt is when what is desired becomes stale unless it is read again before.
func (r *reads) staleAt(o Options) app.Time { return r.began.Add(o.DesiredTTL) }

// early is how far apart two attempts are at least: reads that decisions ask for come soon, but do not burden the
// Cloud Controller with every change.
func minInterval(o Options) time.Duration { return min(o.PollInterval/3, o.Policy.HeartbeatPeriod) }

// due gives the number of an attempt that should be begun at now, 0 if none should. While one is under way, what asks
// for another waits for its end.
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

// again reports whether a read is the very value that was recorded last, as it is in a replay of a recording which says
// that nothing has changed: then it need not be looked at.
func (r *reads) isRecorded(read desired.Read, meta raftfsm.DesiredMeta) bool {
	return len(read.Apps) > 0 && len(read.Apps) == len(r.newest.Apps) && &read.Apps[0] == &r.newest.Apps[0] && meta.Complete && meta.Generation == r.generation
}

// verdict is what a complete read means for the hold on the desired state.
type verdict struct {
	hold      string // why the hold is to be set; empty if it is not
	before    int    // with hold: wanted apps before the read, if their return is to end the hold; else 0
	counts    bool   // the read confirms the one that is held
	again     bool   // the read contradicts it: reads that confirm are counted anew
	release   bool   // the hold is to end
	confirmed bool   // because enough reads confirm it, not because the apps are back
	reads     int    // how many confirm it
}

// judge gives what a complete read, begun at began, means for the hold on the desired state. why says for what reason
// the read must not be acted on, if any. Nothing is changed before judged.
func (r *reads) judge(view *raftfsm.State, o Options, read desired.Read, began app.Time, why string) verdict {
	recorded := view.DesiredMeta().Apps
	apps, _ := read.Wanted()
	set := r.followHold(view)
	before := 0 // wanted apps before what is held
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
		return verdict{again: true} // it does not agree with what is held: some of the apps are back
	case r.confirmedAt != 0 && began.Sub(r.confirmedAt) < o.PollInterval-o.PollInterval/10:
		return verdict{} // it was asked for early: many of them in a row are worth no more than one (W36)
	}
	v := verdict{counts: true, reads: r.confirmed + 1}
	v.confirmed = o.Guard.ConfirmReads > 0 && v.reads >= o.Guard.ConfirmReads
	v.release = v.confirmed
	return v
}

// judged notes a verdict that was recorded.
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

// notice follows the hold on the desired state, which a person may release at any time, and reports whether it is
// set.
func (r *reads) followHold(view *raftfsm.State) bool {
	set := held(view, HoldDesiredShrink)
	r.accepted = r.accepted || r.holding && !set
	r.holding = set
	return set
}
