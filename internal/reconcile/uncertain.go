package reconcile

import (
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// doubts are about instances that a DEA's newest heartbeat names, and does not tell what becomes of: in an entry that
// cannot be read, or in entries that contradict one another. What is recorded of such an instance stays, but only for a
// time to live. An entry that names no instance keeps none on record: losses are judged by the guids that can be read
// (W14).
type uncertain map[app.GUID]uncertainty

type uncertainty struct {
	since        app.Time // by the intake's clock, without a break
	contradicted bool     // else there is no entry of it that can be read
}

func (d *uncertain) update(hb *actual.Heartbeat, now app.Time) {
	if len(hb.Unreadable)+len(hb.Contradicted) == 0 {
		*d = nil
		return
	}
	old := *d
	*d = make(uncertain, len(hb.Unreadable)+len(hb.Contradicted))
	add := func(list []app.GUID, contradicted bool) {
		for _, g := range list {
			since := now
			if was, ok := old[g]; ok {
				since = was.since
			}
			(*d)[g] = uncertainty{since, contradicted}
		}
	}
	add(hb.Unreadable, false)
	add(hb.Contradicted, true)
}

// about reports whether an instance's record stays as it is for now.
func (d uncertain) covers(g app.GUID, now app.Time, ttl time.Duration) bool {
	x, ok := d[g]
	return ok && now.Sub(x.since) < ttl
}

// withhold gives changes without those that are isUncertain, and whether there are any. It does not change the lists.
func (d uncertain) withhold(view *raftfsm.State, changes raftfsm.DEAChanges, now app.Time, ttl time.Duration) (_ raftfsm.DEAChanges, withheld bool) {
	if len(d) == 0 {
		return changes, false
	}
	isUncertain := func(g app.GUID) bool { return d.covers(g, now, ttl) }
	if slices.ContainsFunc(changes.Removes, isUncertain) {
		changes.Removes, withheld = slices.DeleteFunc(slices.Clone(changes.Removes), isUncertain), true
	}
	contradicted := func(u actual.Instance) bool { return d[u.GUID].contradicted && isUncertain(u.GUID) }
	if !slices.ContainsFunc(changes.Upserts, contradicted) {
		return changes, withheld
	}
	recorded := map[app.GUID]actual.Instance{}
	for _, i := range view.DEAInstances(nil, changes.DEA) {
		recorded[i.GUID] = i
	}
	changes.Upserts = slices.DeleteFunc(slices.Clone(changes.Upserts), func(u actual.Instance) bool {
		r, known := recorded[u.GUID]
		stays := known && contradicted(u) && (r.App != u.App || r.Index != u.Index || r.State.Live() && !u.State.Live())
		withheld = withheld || stays
		return stays
	})
	return changes, withheld
}
