package reconcile

import (
	"maps"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// garbledTTLs is for how many times to live a DEA whose messages cannot be decoded counts as there, from the first of
// them on. It says that the DEA runs, and nothing of its instances.
const garbledTTLs = 20

// unread is what of the DEAs' words this node cannot read.
type troubles struct {
	deas        map[string]*heardDEA               // with any trouble
	byApp       map[app.Key]map[*heardDEA]struct{} // which DEAs list entries of an app that have no place
	changed     map[app.Key]struct{}               // apps with other such entries than when they were taken last
	manyChanged bool                               // more have shifted than are kept
}

// trouble is what of one DEA's words cannot be read. Times are by the intake's clock.
type trouble struct {
	rejected      int                    // entries of the newest heartbeat that are left out
	unknownStates int                    // entries in a state that hm does not know
	since         app.Time               // since when each heartbeat has had such entries
	why           string                 // what is wrong with one of them
	unplaced      map[app.Key][]unplaced // entries that name an app and have no place in it
	unplacedCount int                    // in placed

	garbled      int      // messages since the last one that could be decoded
	garbledSince app.Time // when the first of them came
	countsFrom   app.Time // from when on its time counts: first, or when the link came back since
	whyGarbled   string   // what is wrong with the newest of them
}

// unplaced is an entry that names an app, and lacks an index or an instance.
type unplaced struct {
	guid  app.GUID // zero if it cannot be read
	since app.Time // when it was heard first
}

func (t *trouble) any() bool { return t.rejected+t.unknownStates+t.garbled > 0 }

// Trouble is what this node cannot read of what a DEA says. Times are in hm time.
type Trouble struct {
	Entries       int      // of its newest heartbeat that are left out
	Unplaced      int      // of these, those that name an app
	UnknownStates int      // entries that are not left out, in a state that hm does not know
	Since         app.Time // since when there have been such entries; 0 if there are none
	Messages      int      // that could not be decoded, since the last one that could
	MessagesSince app.Time // when the first of them came; 0 if there are none
	Why           string   // what is wrong with one of them, for people
	Doubled       app.Time // since when two DEAs are known to use its id; 0 if none do
}

// Unreadable sums up what this node cannot read.
type Unreadable struct {
	DEAs          int // with entries or messages that cannot be read
	Entries       int // left out of their newest heartbeats
	Unplaced      int // of these, those that name an app
	UnknownStates int
	Messages      int      // that could not be decoded, of DEAs none of whose messages could be since
	Doubled       []string // ids that two DEAs use, sorted; the first of them, if they are many
	DoubledIDs    int      // how many
}

// maxDoubledTold bounds Unreadable.Doubled.
const maxDoubledTold = 10

// Garbled takes note that a message came which cannot be decoded, and why. dea is who probably sent it: only a DEA that
// is recorded counts. It speaks, so it is there, but for no longer than garbledTTLs.
func (i *Intake) Garbled(dea, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if rec, recorded := i.log.View().DEA(dea); !recorded || rec.GoneAt != 0 {
		return
	}
	now := i.log.Now()
	h := i.deas[dea]
	if h == nil {
		h = &heardDEA{id: dea}
		i.deas[dea] = h
	}
	t := &h.trouble
	if t.garbled == 0 {
		t.garbledSince, t.countsFrom = now, now
	}
	t.garbled++
	t.whyGarbled = why
	i.troubles.update(h)
	if now.Sub(t.countsFrom) < garbledTTLs*i.live.TTL {
		i.live.Heard(dea, true, now)
	}
}

// readable takes note that a DEA's message could be decoded.
func (i *Intake) noteReadable(h *heardDEA) {
	if t := &h.trouble; t.garbled > 0 {
		t.garbled, t.garbledSince, t.countsFrom, t.whyGarbled = 0, 0, 0, ""
		i.troubles.update(h)
	}
}

// understand takes note of what of a heartbeat cannot be read, and reports whether an app has other entries without a
// place than before.
func (i *Intake) noteEntries(h *heardDEA, hb *actual.Heartbeat, now app.Time) (shifted bool) {
	t := &h.trouble
	if t.rejected+t.unknownStates == 0 && !hb.HasUnreadable() {
		return false
	}
	switch {
	case !hb.HasUnreadable():
		t.since = 0
	case t.rejected+t.unknownStates == 0:
		t.since = now
	}
	t.rejected, t.unknownStates, t.why = hb.Rejected, hb.UnknownStates, hb.Why
	shifted = i.troubles.setUnplaced(h, hb, now)
	i.troubles.update(h)
	return shifted
}

// note keeps account of which DEAs have trouble.
func (u *troubles) update(h *heardDEA) {
	if !h.trouble.any() {
		delete(u.deas, h.id)
		return
	}
	if u.deas == nil {
		u.deas = map[string]*heardDEA{}
	}
	u.deas[h.id] = h
}

// place takes the entries without a place that a heartbeat lists in the place of those that the one before had. An entry
// is known again by its guid, or by its place among those of the app that have none.
func (u *troubles) setUnplaced(h *heardDEA, hb *actual.Heartbeat, now app.Time) (shifted bool) {
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
				continue // another entry tells where it is, or it came before
			}
			listed[e.GUID] = true
		}
		next[e.App] = append(next[e.App], unplaced{e.GUID, now})
	}
	for k, list := range next {
		keepTimes(list, t.unplaced[k])
		if !slices.Equal(list, t.unplaced[k]) {
			u.markChanged(k)
			shifted = true
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
			shifted = true
		}
	}
	t.unplaced, t.unplacedCount = next, 0
	for _, list := range next {
		t.unplacedCount += len(list)
	}
	return shifted
}

// keepTimes gives the entries of a list the times of those that they were before.
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

// shift takes note that an app is to be looked at anew.
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

// forget drops what is known of a DEA.
func (u *troubles) forget(h *heardDEA) {
	delete(u.deas, h.id)
	for k := range h.trouble.unplaced {
		u.removeUnplaced(h, k)
	}
	h.trouble = trouble{}
}

// linkChanged has the time of the DEAs that cannot be understood begin anew, as all times to live do (I4).
func (u *troubles) linkChanged(now app.Time) {
	for _, h := range u.deas {
		if h.trouble.garbled > 0 {
			h.trouble.countsFrom = now
		}
	}
}

// TakeUnplacedChanged gives the apps that have other entries without a place than at the last call, sorted. all says that there
// are more.
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

// Unplaced gives when each entry of an app was first heard that has no place in it, for it lacks an index or an instance
// that can be read: sorted, in hm time, which is now. The entries of instances that are recorded all the same are not
// among them. What is listed no more, or by no DEA that is there, is not either.
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

// AllUnplaced gives what Unplaced does of every app that it has something of.
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

// Trouble gives what cannot be read of what a DEA says, in hm time, which is now, and whether there is anything.
func (i *Intake) Trouble(dea string, now app.Time) (Trouble, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.deas[dea]
	if h == nil || !h.trouble.any() && !h.idUse.doubled() {
		return Trouble{}, false
	}
	t := Trouble{Entries: h.trouble.rejected, Unplaced: h.trouble.unplacedCount, UnknownStates: h.trouble.unknownStates, Messages: h.trouble.garbled}
	t.Why = h.trouble.why
	if t.Entries+t.UnknownStates > 0 {
		t.Since = i.toHMTime(h.trouble.since, now)
	}
	if t.Messages > 0 {
		t.MessagesSince, t.Why = i.toHMTime(h.trouble.garbledSince, now), h.trouble.whyGarbled
	}
	if h.idUse.doubled() {
		t.Doubled = i.toHMTime(h.idUse.since, now)
	}
	return t, true
}

// Unreadable sums up what cannot be read.
func (i *Intake) Unreadable() Unreadable {
	i.mu.Lock()
	defer i.mu.Unlock()
	u := Unreadable{DEAs: len(i.troubles.deas), DoubledIDs: len(i.doubled.ids)}
	for _, h := range i.troubles.deas {
		u.Entries += h.trouble.rejected
		u.Unplaced += h.trouble.unplacedCount
		u.UnknownStates += h.trouble.unknownStates
		u.Messages += h.trouble.garbled
	}
	if len(i.doubled.ids) > 0 {
		ids := slices.Sorted(maps.Keys(i.doubled.ids))
		u.Doubled = ids[:min(len(ids), maxDoubledTold)]
	}
	return u
}
