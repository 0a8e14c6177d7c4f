package reconcile

import (
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// uncertain are the instances whose state a DEA's newest heartbeat leaves open: their entry cannot
// be read, or their entries contradict each other. Their record stays as it is, but only for a time
// to live. An entry without a guid that can be read keeps no instance on record (W14).
type uncertain map[app.GUID]uncertainty

type uncertainty struct {
	since        app.Time // since when every heartbeat has left it open, by the intake's clock
	contradicted bool     // its entries contradict each other; else it has no entry that can be read
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

// covers reports whether the record of an instance stays as it is.
func (d uncertain) covers(g app.GUID, now app.Time, ttl time.Duration) bool {
	x, ok := d[g]
	return ok && now.Sub(x.since) < ttl
}

// withhold gives changes without those of uncertain instances, and whether there were any. It
// leaves the lists unchanged.
func (d uncertain) withhold(
	view *raftfsm.State, changes raftfsm.DEAChanges, now app.Time, ttl time.Duration,
) (_ raftfsm.DEAChanges, withheld bool) {
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
