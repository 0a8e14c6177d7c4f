package reconcile

import (
	"maps"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// unplaced is an entry that names an app, without an index or an instance.
type unplaced struct {
	guid  app.GUID // zero if it cannot be read
	since app.Time // when it was first heard
}

// setUnplaced replaces a DEA's unplaced entries by those of a heartbeat. An entry is recognised by
// its guid; one without a guid, by its position among the app's entries without one.
func (u *troubles) setUnplaced(h *heardDEA, hb *actual.Heartbeat, now app.Time) (unplacedChanged bool) {
	t := &h.trouble
	if len(t.unplaced)+len(hb.Unplaced) == 0 {
		return false
	}
	listed := make(map[app.GUID]bool, len(hb.Instances))
	for n := range hb.Instances {
		listed[hb.Instances[n].GUID] = true
	}
	next := map[app.Key][]unplaced{}
	for _, e := range hb.Unplaced {
		if !e.GUID.IsZero() {
			if listed[e.GUID] {
				continue // another entry has its place, or it is listed twice
			}
			listed[e.GUID] = true
		}
		next[e.App] = append(next[e.App], unplaced{e.GUID, now})
	}
	for k, list := range next {
		keepTimes(list, t.unplaced[k])
		if !slices.Equal(list, t.unplaced[k]) {
			u.markChanged(k)
			unplacedChanged = true
		}
		if u.byApp == nil {
			u.byApp = map[app.Key]map[*heardDEA]struct{}{}
		}
		if u.byApp[k] == nil {
			u.byApp[k] = map[*heardDEA]struct{}{}
		}
		u.byApp[k][h] = struct{}{}
	}
	for k := range t.unplaced {
		if next[k] == nil {
			u.removeUnplaced(h, k)
			unplacedChanged = true
		}
	}
	t.unplaced, t.unplacedCount = next, 0
	for _, list := range next {
		t.unplacedCount += len(list)
	}
	return unplacedChanged
}

// keepTimes gives the entries of a list the times that they had before.
func keepTimes(list, before []unplaced) {
	named := make(map[app.GUID]app.Time, len(before))
	var nameless []app.Time
	for _, b := range before {
		if b.guid.IsZero() {
			nameless = append(nameless, b.since)
		} else {
			named[b.guid] = b.since
		}
	}
	for n := range list {
		e := &list[n]
		if !e.guid.IsZero() {
			if since, known := named[e.guid]; known {
				e.since = since
			}
		} else if len(nameless) > 0 {
			e.since, nameless = nameless[0], nameless[1:]
		}
	}
}

func (u *troubles) removeUnplaced(h *heardDEA, k app.Key) {
	if delete(u.byApp[k], h); len(u.byApp[k]) == 0 {
		delete(u.byApp, k)
	}
	u.markChanged(k)
}

// markChanged notes that an app is to be evaluated anew.
func (u *troubles) markChanged(k app.Key) {
	if len(u.changed) >= maxQueued {
		u.manyChanged = true
		return
	}
	if u.changed == nil {
		u.changed = map[app.Key]struct{}{}
	}
	u.changed[k] = struct{}{}
}

// TakeUnplacedChanged gives the apps whose unplaced entries have changed since the last call,
// sorted. all says that there are more than are given.
func (i *Intake) TakeUnplacedChanged() (keys []app.Key, all bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	u := &i.troubles
	if len(u.changed) == 0 {
		return nil, false
	}
	keys, all = slices.SortedFunc(maps.Keys(u.changed), app.Key.Compare), u.manyChanged
	u.changed, u.manyChanged = nil, false
	return keys, all
}

// Unplaced gives when each unplaced entry of an app was first heard, sorted, in hm time: an entry
// without an index or an instance that can be read. It leaves out entries of recorded instances,
// and of DEAs that are gone. now is the present hm time.
func (i *Intake) Unplaced(k app.Key, now app.Time) []app.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.troubles.byApp[k]) == 0 {
		return nil
	}
	return i.unplaced(i.log.View(), k, now)
}

func (i *Intake) unplaced(view *raftfsm.State, k app.Key, now app.Time) []app.Time {
	type instance struct {
		dea  string
		guid app.GUID
	}
	recorded := map[instance]bool{}
	for _, inst := range view.Instances(nil, k) {
		recorded[instance{inst.DEA, inst.GUID}] = true
	}
	var since []app.Time
	for h := range i.troubles.byApp[k] {
		for _, e := range h.trouble.unplaced[k] {
			if e.guid.IsZero() || !recorded[instance{h.id, e.guid}] {
				since = append(since, i.toHMTime(e.since, now))
			}
		}
	}
	slices.Sort(since)
	return since
}

// AllUnplaced gives what Unplaced gives, for every app that has such entries.
func (i *Intake) AllUnplaced(now app.Time) map[app.Key][]app.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.troubles.byApp) == 0 {
		return nil
	}
	view, all := i.log.View(), make(map[app.Key][]app.Time, len(i.troubles.byApp))
	for k := range i.troubles.byApp {
		if since := i.unplaced(view, k, now); len(since) > 0 {
			all[k] = since
		}
	}
	return all
}
