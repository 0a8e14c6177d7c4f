package reconcile

import (
	"maps"
	"slices"
	"sync"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// Intake takes what is heard until it is recorded. Every node has one: a follower's knows who is alive and what
// the leader has still to record, so that it can take over at once. It is safe for concurrent use; the feed's
// callbacks are quick and never block on the log.
type Intake struct {
	wake func() // called after something was heard that is not recorded

	mu          sync.Mutex
	log         Log
	live        *actual.Liveness
	deas        map[string]*heardDEA
	byDigest    map[actual.Digest]*heardDEA
	dirty       map[string]*heardDEA // heard something that the record does not show yet
	exits       []actual.Exit
	lost        uint64                // exits not taken because the buffer was full
	recentExits recentExits           // instances whose exit was heard of late
	epoch       uint64                // of the link, as Link was told last
	updated     map[app.GUID]struct{} // apps that the Cloud Controller says have changed
	keeps       bool                  // heartbeats are kept after they are recorded
	troubles    troubles              // what of the DEAs' words cannot be read
	doubled     doubled               // ids that two DEAs use

	lag       lag
	hearing   hearingCount
	forgotten []app.Time // when DEAs that are lost were heard last, as far as a peer's word may still count them
}

// maxExits bounds the exits that wait to be recorded. What is lost shows in the next heartbeat.
const maxExits = 10_000

// heardDEA is one DEA's newest heartbeat.
type heardDEA struct {
	id     string
	digest actual.Digest
	rev    uint64            // revision of the DEA's record that the heartbeat with digest agrees with
	newest *actual.Heartbeat // not recorded yet; nil if the record agrees
	kept   []actual.Instance // of an intake that keeps: what the record at rev has, in the DEA's order

	capitals map[app.GUID]app.LetterCase // of the newest heartbeat

	changes   raftfsm.DEAChanges // from the record at changesOf to newest
	changesOf uint64
	compared  bool // changes and changesOf are of newest
	proposed  bool // changes were given out

	partial         bool     // what was compared last leaves out something that the heartbeat says, for a time
	unrecordedSince app.Time // while there is a newest one: when the first was heard that the record did not agree with

	uncertain uncertain // about entries of the newest heartbeat
	trouble   trouble   // what of the DEA's words cannot be read
	idUse     idUse     // whether one DEA speaks under this id, or two
}

// NewIntake returns an intake that has heard nothing. wake must not block. Of log it uses View, and Now as the clock by
// which it tells who spoke when: in the daemon a monotonic clock of the node's own, which starts with the process,
// since hm time itself is only known once the log is (W26).
func NewIntake(log Log, live *actual.Liveness, wake func()) *Intake {
	return &Intake{
		log: log, live: live, wake: wake,
		deas: map[string]*heardDEA{}, byDigest: map[actual.Digest]*heardDEA{}, dirty: map[string]*heardDEA{}, updated: map[app.GUID]struct{}{},
	}
}

// Keep makes the intake keep what each DEA merged last, so that it finds changes without a look at the record, and has it
// take what it gave out for recorded. That is for a replay, which has the memory for it in use already and in which
// nobody else records anything.
func (i *Intake) Keep() { i.keeps = true }

// Unchanged reports whether a payload with this digest says what is recorded already; if so the DEA counts as
// heard and the payload need not be decoded.
func (i *Intake) Unchanged(d actual.Digest) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.byDigest[d]
	if h == nil {
		return false
	}
	rec, recorded := i.log.View().DEA(h.id)
	if h.newest == nil && (!recorded || rec.GoneAt != 0 || rec.Rev != h.rev) {
		return false
	} // else: heard before, and still to be recorded
	now := i.log.Now()
	i.live.Heard(h.id, recorded, now)
	i.noteReadable(h)
	i.noteMessage(h, d, now)
	return true
}

// Heartbeat takes a decoded heartbeat.
func (i *Intake) Heartbeat(hb actual.Heartbeat, d actual.Digest) {
	i.mu.Lock()
	view := i.log.View()
	_, recorded := view.DEA(hb.DEA)
	now := i.log.Now()
	i.live.Heard(hb.DEA, recorded, now)
	h := i.deas[hb.DEA]
	if h == nil {
		h = &heardDEA{id: hb.DEA}
		i.deas[hb.DEA] = h
	} else {
		delete(i.byDigest, h.digest)
	}
	if h.newest == nil {
		h.unrecordedSince = now
	}
	i.noteReadable(h)
	i.noteMessage(h, d, now)
	merged := h.idUse.merge(&hb, now, i.live.CountsFrom(now), i.live.Period)
	shifted := i.noteEntries(h, merged, now)
	h.uncertain.update(merged, now)
	h.digest, h.newest, h.compared, h.proposed = d, merged, false, false
	if !h.idUse.doubled() { // else the same words may mean more, or less, together with those of the other
		i.byDigest[d] = h
	}
	h.capitals = hb.LetterCases
	i.dirty[h.id] = h
	changed := !i.settle(view, h)
	i.mu.Unlock()
	if changed || shifted {
		i.wake()
	}
}

// Exit takes a droplet.exited.
func (i *Intake) Exit(e actual.Exit) {
	i.mu.Lock()
	i.recentExits.add(e, i.log.Now(), i.live.TTL)
	if len(i.exits) < maxExits {
		i.exits = append(i.exits, e)
	} else {
		i.lost++
	}
	i.mu.Unlock()
	i.wake()
}

// maxUpdated bounds the apps of which a change was announced and that are not read yet. Beyond it all are read.
const maxUpdated = 100

// Updated takes a droplet.updated: the desired state of an app has changed, and an early read is worth while (R39).
func (i *Intake) Updated(droplet app.GUID) {
	i.mu.Lock()
	if len(i.updated) <= maxUpdated {
		i.updated[droplet] = struct{}{}
	}
	i.mu.Unlock()
	i.wake()
}

// settle drops h's newest heartbeat if the record agrees with it, and reports whether it does.
func (i *Intake) settle(view *raftfsm.State, h *heardDEA) bool {
	if h.newest == nil {
		return true
	}
	rec, ok := view.DEA(h.id)
	if !ok || rec.GoneAt != 0 {
		return false
	}
	if !i.keeps || !h.proposed || rec.Rev == h.changesOf {
		if changes := i.changes(view, h, rec.Rev); len(changes.Upserts) > 0 || len(changes.Removes) > 0 {
			return false
		}
	}
	if h.kept = nil; i.keeps && h.newest.Rejected == 0 && h.newest.Untimed == 0 && !h.partial {
		h.kept = h.newest.Instances
	}
	if h.partial { // the same words may mean more later
		delete(i.byDigest, h.digest)
	}
	h.newest, h.rev, h.changes = nil, rec.Rev, raftfsm.DEAChanges{}
	delete(i.dirty, h.id)
	return true
}

// changes gives what the newest heartbeat of a DEA changes in its record at a revision, 0 if there is none.
func (i *Intake) changes(view *raftfsm.State, h *heardDEA, rev uint64) raftfsm.DEAChanges {
	if !h.compared || h.changesOf != rev {
		if h.kept != nil && h.rev == rev {
			h.changes = listChanges(h.id, h.kept, h.newest.Instances)
		} else {
			h.changes = heartbeatChanges(view, h.newest)
		}
		h.compared, h.changesOf, h.proposed = true, rev, false
	}
	changes := h.changes
	now := i.log.Now()
	var overruled, withheld bool
	changes.Upserts, overruled = i.recentExits.overrule(view, h.id, changes.Upserts, now, i.live.TTL)
	changes, withheld = h.uncertain.withhold(view, changes, now, i.live.TTL)
	h.partial = overruled || withheld || h.idUse.doubled()
	return changes
}

// Settle drops what the record has come to agree with: on the leader after proposals, on a follower because the
// leader recorded it. It returns how many DEAs are left.
func (i *Intake) Settle(view *raftfsm.State) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, h := range i.dirty {
		i.settle(view, h)
	}
	return len(i.dirty)
}

// Changes gives the records that bring what is recorded up to what was heard, for at most max DEAs, and how many
// of those there are. Records are in the order of the DEAs' ids.
func (i *Intake) Changes(view *raftfsm.State, max int) []raftfsm.Record {
	i.mu.Lock()
	defer i.mu.Unlock()
	ids := slices.AppendSeq(make([]string, 0, len(i.dirty)), maps.Keys(i.dirty))
	slices.Sort(ids)
	var records []raftfsm.Record
	for _, id := range ids {
		if len(records) == max {
			break
		}
		if h := i.dirty[id]; !i.settle(view, h) {
			rev := uint64(0)
			if rec, ok := view.DEA(id); ok {
				rev = rec.Rev
			}
			records = append(records, i.changes(view, h, rev))
			h.proposed = true
		}
	}
	return records
}

// TakeExits gives the exits that were heard since the last call, in their order.
func (i *Intake) TakeExits() []actual.Exit {
	i.mu.Lock()
	defer i.mu.Unlock()
	exits := i.exits
	i.exits = nil
	return exits
}

// TakeUpdated gives the apps of which the Cloud Controller has announced a change since the last call, sorted. More
// than maxUpdated of them mean that there may be others.
func (i *Intake) TakeUpdated() []app.GUID {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.updated) == 0 {
		return nil
	}
	updated := slices.SortedFunc(maps.Keys(i.updated), app.GUID.Compare)
	clear(i.updated)
	return updated
}

// Backlog is how many DEAs' newest heartbeats are not recorded yet.
func (i *Intake) Backlog() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.dirty)
}

// Link notes that the NATS link came up, went down, or had a gap (up again). epoch is the link's number for the spell
// that begins, which Epoch gives back.
func (i *Intake) Link(up bool, epoch uint64) {
	i.mu.Lock()
	now := i.log.Now()
	i.live.Link(up, now)
	i.troubles.linkChanged(now)
	i.epoch = epoch
	i.hearing = hearingCount{}
	i.mu.Unlock()
	i.wake()
}

// Epoch is the number of the link's present spell: two equal ones mean that nothing was missed in between.
func (i *Intake) Epoch() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.epoch
}

// shown gives a time of the intake's clock in hm time, which is now.
func (i *Intake) toHMTime(t, now app.Time) app.Time { return now.Add(t.Sub(i.log.Now())) }

// Fresh reports whether what was heard may be acted on, and the link's present spell, in hm time, which is now.
func (i *Intake) Fresh(now app.Time) (fresh, up bool, since app.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	up, since = i.live.Up()
	return i.live.Fresh(i.log.Now()), up, i.toHMTime(since, now)
}

// FreshWithin is when the freshness window of the present spell ends, and when what was heard is stale unless somebody
// speaks before, in hm time, which is now; 0 for what cannot be told.
func (i *Intake) FreshWithin(now app.Time) (from, until app.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if from = i.live.FreshAt(); from != 0 {
		from = i.toHMTime(from, now)
	}
	if until = i.live.StaleAt(); until != 0 {
		until = i.toHMTime(until, now)
	}
	return from, until
}

// LastHeard is when this node heard a DEA last, in hm time, which is now; 0 if never.
func (i *Intake) LastHeard(dea string, now app.Time) app.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := i.live.LastHeard(dea)
	if at == 0 {
		return 0
	}
	return i.toHMTime(at, now)
}

// Quiet reports whether a recorded instance may have gone: its DEA has missed a heartbeat, or its newest message cannot
// be read, or does not tell for sure that the instance is there.
func (i *Intake) Quiet(dea string, instance app.GUID) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	if i.live.Quiet(dea, now) {
		return true
	}
	h := i.deas[dea]
	return h != nil && (h.trouble.garbled > 0 || h.uncertain.covers(instance, now, i.live.TTL) || h.idUse.mayBeGone(instance))
}

// Silent gives the recorded DEAs that have been silent for their whole time to live, sorted, how many are recorded as
// present, and when the next one will be silent unless it speaks before, in hm time, which is now; 0 if that cannot be
// told. Nothing is silent while what is heard is not fresh: silence of everyone is no absence.
func (i *Intake) Silent(view *raftfsm.State, now app.Time) (silent []string, present int, next app.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	heardNow := i.log.Now()
	i.lag.update(i.live, heardNow)
	if !i.live.Fresh(heardNow) {
		if at := i.live.FreshAt(); at > heardNow {
			next = i.toHMTime(at, now)
		}
		return nil, view.Counts().DEAs, next
	}
	silent, next = i.live.SilentOf(func(yield func(string) bool) {
		for d := range view.DEAs() {
			if d.GoneAt != 0 {
				continue
			}
			present++
			if !yield(d.ID) {
				return
			}
		}
	}, heardNow)
	if next != 0 {
		next = i.toHMTime(next, now)
	}
	return silent, present, next
}

// Forget drops what is known of DEAs that are silent and not recorded as present any more. What they say next is
// news.
func (i *Intake) Forget(view *raftfsm.State) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	i.lag.update(i.live, now)
	i.recentExits.prune(now, i.live.TTL)
	i.endDoubled(now)
	for id, h := range i.deas {
		if !i.live.Silent(id, now) {
			continue
		}
		if rec, ok := view.DEA(id); ok && rec.GoneAt == 0 {
			continue
		}
		delete(i.deas, id)
		delete(i.byDigest, h.digest)
		delete(i.dirty, id)
		i.troubles.forget(h)
		delete(i.doubled.ids, id)
		i.forgotten = append(i.forgotten, i.live.LastHeard(id))
		i.live.Forget(id)
	}
	i.forgotten = slices.DeleteFunc(i.forgotten, func(at app.Time) bool { return now.Sub(at) >= i.live.TTL+maxWordAge })
}
