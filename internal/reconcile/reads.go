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

	attempted app.Time // when an attempt was begun last in this leadership
	wanted    bool     // a decision would be better for a newer read
	confirmed int      // reads that agreed with the one that is held
	shrunk    int      // wanted apps before the held read; 0 if unknown
	holding   bool     // hold:desired-shrink was seen set
	accepted  bool     // it was released: what is desired is right, however little it is

	apps map[app.GUID]app.Time // when the newest read of a single app was begun, if after the newest complete one
	ask  []app.GUID            // single apps that are to be read

	of         desired.Read // the newest complete read that this node has recorded
	generation uint64       // that it was recorded as
}

// Learn takes what a peer told: when the newest complete read that it knows of was begun. A successor of a leader
// need not start from ignorance (I1).
func (c *Core) Learn(began app.Time) { c.reads.began = max(c.reads.began, began) }

func (r *reads) lead() {
	*r = reads{began: r.began, wanted: true, of: r.of, generation: r.generation} // again trusts the two only as far as the record agrees
}

// knownOf is what is known of the reads of one app's desired state.
func (r *reads) knownOf(droplet app.GUID) diff.Reads {
	return diff.Reads{Began: max(r.began, r.apps[droplet]), Failing: r.failing}
}

func (r *reads) known() diff.Reads { return diff.Reads{Began: r.began, Failing: r.failing} }

func (r *reads) fresh(now app.Time, o Options) bool {
	return r.began != 0 && now < r.staleAt(o)
}

// staleAt is when what is desired becomes stale unless it is read again before.
func (r *reads) staleAt(o Options) app.Time { return r.began.Add(o.DesiredTTL) }

// early is how far apart two attempts are at least: reads that decisions ask for come soon, but do not burden the
// Cloud Controller with every change.
func early(o Options) time.Duration { return min(o.PollInterval/3, o.Policy.HeartbeatPeriod) }

// due reports whether an attempt should be begun at now, and if so notes that it is.
func (r *reads) due(now app.Time, o Options) bool {
	if now < r.nextPoll(now, o) {
		return false
	}
	r.attempted, r.wanted = now, false
	return true
}

// nextPoll is when the next attempt is due.
func (r *reads) nextPoll(now app.Time, o Options) app.Time {
	switch {
	case r.attempted == 0:
		return now
	case r.wanted || r.failing:
		return r.attempted.Add(early(o))
	}
	return r.attempted.Add(o.PollInterval)
}

func (r *reads) failed(err error) { r.failing, r.lastError = true, err.Error() }

func (r *reads) succeeded(began app.Time) {
	r.began, r.failing, r.lastError = max(r.began, began), false, ""
	maps.DeleteFunc(r.apps, func(_ app.GUID, at app.Time) bool { return at <= r.began })
}

// again reports whether a read is the very value that was recorded last, as it is in a replay of a recording which says
// that nothing has changed: then it need not be looked at.
func (r *reads) again(read desired.Read, meta raftfsm.DesiredMeta) bool {
	return len(read.Apps) > 0 && len(read.Apps) == len(r.of.Apps) && &read.Apps[0] == &r.of.Apps[0] && meta.Complete && meta.Generation == r.generation
}

// judge gives the holds that a complete read sets or ends. It is called before the read's changes are recorded.
// why says for what reason the read must not be acted on, if any.
func (r *reads) judge(view *raftfsm.State, g Guard, read desired.Read, why string, now app.Time) []raftfsm.Record {
	meta, apps := view.DesiredMeta(), 0
	apps, _ = read.Wanted()
	set := r.notice(view)
	switch {
	case why != "":
		r.confirmed, r.holding = 0, true
		if float64(meta.Apps-apps) > g.DesiredShrink*float64(meta.Apps) {
			r.shrunk = max(r.shrunk, meta.Apps) // their return ends the hold
		}
		return []raftfsm.Record{raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldDesiredShrink, Reason: why, By: holdBy, SetAt: now}}}
	case !set:
		return nil
	case r.shrunk > 0 && float64(r.shrunk-apps) <= g.DesiredShrink*float64(r.shrunk):
		r.shrunk, r.holding = 0, false // the apps are back
		return []raftfsm.Record{raftfsm.HoldReleased{Name: HoldDesiredShrink}}
	}
	if r.confirmed++; g.ConfirmReads > 0 && r.confirmed >= g.ConfirmReads {
		r.confirmed, r.shrunk, r.holding, r.accepted = 0, 0, false, true
		return []raftfsm.Record{raftfsm.HoldReleased{Name: HoldDesiredShrink}}
	}
	return nil
}

// notice follows the hold on the desired state, which a person may release at any time, and reports whether it is
// set.
func (r *reads) notice(view *raftfsm.State) bool {
	set := held(view, HoldDesiredShrink)
	r.accepted = r.accepted || r.holding && !set
	r.holding = set
	return set
}
