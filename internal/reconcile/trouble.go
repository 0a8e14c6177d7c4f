package reconcile

import (
	"cmp"
	"maps"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// garbledTTLs is for how many times to live a DEA counts as present whose messages cannot be
// decoded, from the first such message on. Such a message shows that the DEA runs, and nothing
// about its instances.
const garbledTTLs = 20

// troubles is what this node cannot read of all DEAs' messages.
type troubles struct {
	deas        map[string]*heardDEA               // with any trouble
	byApp       map[app.Key]map[*heardDEA]struct{} // which DEAs list unplaced entries of an app
	changed     map[app.Key]struct{}               // apps whose unplaced entries have changed since TakeUnplacedChanged
	manyChanged bool                               // more have changed than are kept
	untold      []troubledDEA                      // since takeTroubled
}

// troubledDEA tells that something of a DEA cannot be read, or that all of it can be read again.
type troubledDEA struct {
	dea, why string // why is empty at the end
}

// maxUntold bounds what takeTroubled gives.
const maxUntold = 1_000

// trouble is what this node cannot read of one DEA's messages. Times are by the intake's clock.
type trouble struct {
	rejected      int                    // entries of the newest heartbeat that cannot be read
	unknownStates int                    // entries of the newest heartbeat in a state that hm does not know
	since         app.Time               // since when each heartbeat has had such entries
	why           string                 // what is wrong with one of them
	unplaced      map[app.Key][]unplaced // entries that name an app, without an index or an instance
	unplacedCount int                    // entries in unplaced

	garbled      int      // messages since the last that could be decoded
	garbledSince app.Time // when the first of them arrived
	countsFrom   app.Time // when its time began: garbledSince, or when the link last came back
	whyGarbled   string   // what is wrong with the newest of them
}

func (t *trouble) any() bool { return t.rejected+t.unknownStates+t.garbled > 0 }

// Trouble is what this node cannot read of a DEA's messages. Times are in hm time.
type Trouble struct {
	Entries       int      // of its newest heartbeat that cannot be read
	Unplaced      int      // of these, those that name an app
	UnknownStates int      // further entries, in a state that hm does not know
	Since         app.Time // since when there have been such entries; 0 if there are none
	Messages      int      // since the last that could be decoded
	MessagesSince app.Time // when the first of them came; 0 if there are none
	Why           string   // what is wrong with one of them, for people
	Doubled       app.Time // since when it is known that two DEAs use its id; 0: they do not
}

// Unreadable sums up what this node cannot read.
type Unreadable struct {
	DEAs          int // with entries or messages that cannot be read
	Entries       int // of their newest heartbeats that cannot be read
	Unplaced      int // of these, those that name an app
	UnknownStates int
	Messages      int      // that could not be decoded, since the last of the same DEA that could
	Doubled       []string // ids that two DEAs use, sorted, at most maxDoubledTold
	DoubledIDs    int      // how many such ids there are
}

// maxDoubledTold bounds Unreadable.Doubled.
const maxDoubledTold = 10

// Garbled notes that a message arrived that cannot be decoded, and why. dea is the probable sender;
// it counts only if it is recorded, or may be: while no node is known to lead, this node's record may
// be old. It is heard, so it is present, but for no longer than garbledTTLs.
func (i *Intake) Garbled(dea, why string) { i.garbled(dea, why, overNATS) }

func (i *Intake) garbled(dea, why string, over way) {
	i.mu.Lock()
	defer i.mu.Unlock()
	rec, recorded := i.log.View().DEA(dea)
	if !recorded && i.led || rec.GoneAt != 0 {
		return
	}
	now := i.log.Now()
	h := i.deas[dea]
	if h == nil {
		h = &heardDEA{id: dea}
		i.deas[dea] = h
	}
	h.way = over
	t := &h.trouble
	if t.garbled == 0 {
		t.garbledSince, t.countsFrom = now, now
	}
	t.garbled++
	t.whyGarbled = why
	i.troubles.update(h)
	i.noteMessage(h, actual.Digest{}, now)
	h.idUse.undecoded(now, garbledTTLs*i.live.TTL)
	if now.Sub(t.countsFrom) < garbledTTLs*i.live.TTL {
		i.live.Heard(dea, recorded, now)
		h.there = now.Add(-i.lag.now())
	}
}

// noteReadable notes that a message of a DEA could be decoded.
func (i *Intake) noteReadable(h *heardDEA) {
	if t := &h.trouble; t.garbled > 0 {
		t.garbled, t.garbledSince, t.countsFrom, t.whyGarbled = 0, 0, 0, ""
		i.troubles.update(h)
	}
}

// noteEntries notes which entries of a heartbeat cannot be read. changed says whether an app has
// other unplaced entries than before.
func (i *Intake) noteEntries(h *heardDEA, hb *actual.Heartbeat, now app.Time) (unplacedChanged bool) {
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
	unplacedChanged = i.troubles.setUnplaced(h, hb, now)
	i.troubles.update(h)
	return unplacedChanged
}

// update keeps h among the DEAs with trouble, or drops it.
func (u *troubles) update(h *heardDEA) {
	_, was := u.deas[h.id]
	is := h.trouble.any()
	if is != was && len(u.untold) < maxUntold {
		why := ""
		if is {
			why = cmp.Or(h.trouble.whyGarbled, h.trouble.why, "an entry cannot be read")
		}
		u.untold = append(u.untold, troubledDEA{h.id, why})
	}
	if !is {
		delete(u.deas, h.id)
		return
	}
	if u.deas == nil {
		u.deas = map[string]*heardDEA{}
	}
	u.deas[h.id] = h
}

// forget drops what is known about a DEA.
func (u *troubles) forget(h *heardDEA) {
	delete(u.deas, h.id)
	for k := range h.trouble.unplaced {
		u.removeUnplaced(h, k)
	}
	h.trouble = trouble{}
}

// linkChanged restarts the time of the DEAs whose messages cannot be decoded, as all times to live
// restart (I4).
func (u *troubles) linkChanged(now app.Time) {
	for _, h := range u.deas {
		if h.trouble.garbled > 0 {
			h.trouble.countsFrom = now
		}
	}
}

// Trouble gives what this node cannot read of a DEA's messages, and whether there is anything. now
// is the present hm time.
func (i *Intake) Trouble(dea string, now app.Time) (Trouble, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.deas[dea]
	if h == nil || !h.trouble.any() && !h.idUse.doubled() {
		return Trouble{}, false
	}
	t := Trouble{
		Entries: h.trouble.rejected, Unplaced: h.trouble.unplacedCount, UnknownStates: h.trouble.unknownStates,
		Messages: h.trouble.garbled,
	}
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

// takeTroubled gives the DEAs of which something cannot be read, or can be read again, since the last
// call.
func (i *Intake) takeTroubled() []troubledDEA {
	i.mu.Lock()
	defer i.mu.Unlock()
	untold := i.troubles.untold
	i.troubles.untold = nil
	return untold
}

// noteTroubles tells the history which DEAs cannot be read, and which can be read again.
func (c *Core) noteTroubles(now app.Time) {
	for _, t := range c.intake.takeTroubled() {
		event := "dea.unreadable"
		if t.why == "" {
			event = "dea.readable"
		}
		c.tell(now, raftfsm.Note{Event: event, DEA: t.dea, Detail: t.why})
	}
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
