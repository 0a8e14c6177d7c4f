package reconcile

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// Intake keeps what was heard until it is recorded. Every node has one: that of a follower knows
// which DEAs are alive and what the leader has not recorded yet, so that the follower can take over
// at once. It is safe for concurrent use. The feed calls it; no call blocks on the log.
type Intake struct {
	wake   func()      // called when something was heard that is not recorded
	urgent atomic.Bool // something besides heartbeats was heard since the loop's newest step

	mu          sync.Mutex
	log         Log
	live        *actual.Liveness
	deas        map[string]*heardDEA
	byDigest    map[actual.Digest]*heardDEA
	dirty       map[string]*heardDEA // their newest heartbeat is not recorded yet
	exits       []waitingExit
	lost        uint64                // exits not taken because the buffer was full
	recentExits recentExits           // instances whose exit was heard recently
	epoch       uint64                // of the link, as given to Link
	updated     map[app.GUID]struct{} // apps that the Cloud Controller says have changed
	keeps       bool                  // heartbeats are kept after they are recorded
	compare     comparer
	troubles    troubles // messages and entries that cannot be read
	doubled     doubled  // ids that two DEAs use
	leadership  leadership
	led         bool // a node is known to lead, so that the record is not old

	lag       lag
	hearing   hearingCount
	recorded  Observer   // Times.HeartbeatRecorded
	forgotten []app.Time // when lost DEAs were last heard, as long as a peer may still count them
}

// maxExits bounds the exits that wait to be recorded. The next heartbeat shows what a dropped exit
// would have.
const maxExits = 10_000

// waitingExit is an exit and when it was heard, by the intake's clock.
type waitingExit struct {
	actual.Exit
	at app.Time
}

// heardDEA is one DEA's newest heartbeat.
type heardDEA struct {
	id     string
	digest actual.Digest
	place  raftfsm.DEAPlace  // of its record
	saidAt app.Time          // when the newest heartbeat was sent at the earliest, by the intake's clock
	there  app.Time          // the same of the newest message that shows that the DEA is there
	way    way               // over which the DEA was heard last
	rev    uint64            // revision of the DEA's record that the heartbeat with this digest agrees with
	unled  bool              // that was found out while no node was known to lead: the record may have been old
	newest *actual.Heartbeat // the newest heartbeat, if it is not recorded yet; else nil
	kept   []actual.Instance // after Keep: the record at rev, in the DEA's order

	capitals map[app.GUID]app.LetterCase // of the newest heartbeat

	changes   raftfsm.DEAChanges // from the record at changesOf to newest
	changesOf uint64
	compared  bool // changes and changesOf belong to newest
	proposed  bool // Changes has given them out
	accepted  bool // this leader has recorded what Changes gave out
	offered   bool // Changes has given out those of a heartbeat since unrecordedSince

	partial         bool     // changes leave out a part of the heartbeat for some time
	unrecordedSince app.Time // since when there is a heartbeat that is not recorded

	uncertain uncertain // instances whose state the newest heartbeat leaves open
	trouble   trouble   // messages and entries that cannot be read
	idUse     idUse     // whether one DEA uses this id, or two
}

// NewIntake returns an intake that has heard nothing. wake must not block. From log it uses View,
// and Now as its clock: in the daemon a monotonic clock that starts with the process, since hm time
// is known only when the log is (W26).
func NewIntake(log Log, live *actual.Liveness, wake func()) *Intake {
	return &Intake{
		log: log, live: live, wake: wake,
		deas: map[string]*heardDEA{}, byDigest: map[actual.Digest]*heardDEA{}, dirty: map[string]*heardDEA{},
		updated: map[app.GUID]struct{}{},
	}
}

// clock is the intake's own clock, which runs on while hm time is set forward or back.
func (i *Intake) clock() app.Time { return i.log.Now() }

// Keep makes the intake keep each DEA's newest list, so that it finds changes without reading the
// record, and makes it assume that the changes it gave out are recorded. It is for a replay, which
// holds these lists in memory anyway and in which nobody else records anything.
func (i *Intake) Keep() { i.keeps = true }

// Unchanged reports whether a payload with this digest repeats what is recorded. If so, the DEA
// counts as heard and the payload need not be decoded.
func (i *Intake) Unchanged(d actual.Digest) bool { return i.unchanged(d, overNATS) }

func (i *Intake) unchanged(d actual.Digest, over way) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.byDigest[d]
	if h == nil {
		return false
	}
	rec, recorded := i.log.View().DEAAt(&h.place, h.id)
	if h.newest == nil && (!recorded || rec.GoneAt != 0 || rec.Rev != h.rev) {
		return false
	} // else it was heard before and is still to be recorded
	now := i.log.Now()
	i.live.Heard(h.id, recorded, now)
	h.way = over
	h.saidAt = now.Add(-i.lag.now())
	h.there = h.saidAt
	h.unled = !i.led
	delete(i.leadership.awaits, h.id)
	i.noteReadable(h)
	i.noteMessage(h, d, now)
	return true
}

// Heartbeat takes a decoded heartbeat.
func (i *Intake) Heartbeat(hb actual.Heartbeat, d actual.Digest) { i.heartbeat(hb, d, overNATS) }

func (i *Intake) heartbeat(hb actual.Heartbeat, d actual.Digest, over way) {
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
	h.way = over
	delete(i.leadership.awaits, h.id)
	i.noteReadable(h)
	i.noteMessage(h, d, now)
	merged := i.mergeLists(h, &hb, now)
	unplacedChanged := i.noteEntries(h, merged, now)
	h.uncertain.update(merged, now)
	h.saidAt = now.Add(-i.lag.now())
	h.there = h.saidAt
	h.digest, h.newest, h.compared, h.proposed = d, merged, false, false
	h.accepted = false
	if !h.idUse.merges { // else what it means depends on the other DEA's list
		i.byDigest[d] = h
	}
	h.capitals = hb.LetterCases
	i.dirty[h.id] = h
	changed := !i.settle(view, h)
	i.noteReplaced(view, h, &hb, now)
	i.mu.Unlock()
	if changed || unplacedChanged {
		i.wake()
	}
}

// wakeSoon wakes the loop for something that must not wait as long as a heartbeat.
func (i *Intake) wakeSoon() {
	i.urgent.Store(true)
	i.wake()
}

// Exit takes a droplet.exited.
func (i *Intake) Exit(e actual.Exit) {
	i.mu.Lock()
	now := i.log.Now()
	i.recentExits.add(e, now, i.live.TTL)
	if len(i.exits) < maxExits {
		i.exits = append(i.exits, waitingExit{e, now})
	} else {
		i.lost++
	}
	i.mu.Unlock()
	i.wakeSoon()
}

// maxUpdated bounds the announced apps that are not read yet. Beyond it everything is read.
const maxUpdated = 100

// Updated takes a droplet.updated: the desired state of an app has changed, so an early read is
// worthwhile (R39).
func (i *Intake) Updated(droplet app.GUID) {
	i.mu.Lock()
	if len(i.updated) <= maxUpdated {
		i.updated[droplet] = struct{}{}
	}
	i.mu.Unlock()
	i.wakeSoon()
}

// settle drops h's newest heartbeat if the record agrees with it. It reports whether the record
// agrees.
func (i *Intake) settle(view *raftfsm.State, h *heardDEA) bool {
	if h.newest == nil {
		return true
	}
	rec, ok := view.DEAAt(&h.place, h.id)
	if !ok || rec.GoneAt != 0 {
		return false
	}
	if i.mayBeOlder(h, rec) {
		if changes := i.changes(view, h, rec.Rev); len(changes.Upserts) > 0 || len(changes.Removes) > 0 {
			i.await(h)
		}
		i.discard(h)
		return true
	}
	if agrees := h.proposed && (i.keeps || h.accepted && !h.partial) && rec.Rev != h.changesOf; !agrees {
		if changes := i.changes(view, h, rec.Rev); len(changes.Upserts) > 0 || len(changes.Removes) > 0 {
			return false
		}
	}
	if h.kept = nil; i.keeps && h.newest.Rejected == 0 && h.newest.Untimed == 0 && !h.partial {
		h.kept = h.newest.Instances
	}
	if h.partial { // the same heartbeat may have other changes later
		delete(i.byDigest, h.digest)
	}
	if h.offered {
		h.offered = false
		observe(i.recorded, i.log.Now().Sub(h.unrecordedSince))
	}
	h.newest, h.rev, h.unled, h.changes = nil, rec.Rev, !i.led, raftfsm.DEAChanges{}
	delete(i.dirty, h.id)
	return true
}

// changes compares the newest heartbeat of a DEA with its record at revision rev; 0 if it has no
// record.
func (i *Intake) changes(view *raftfsm.State, h *heardDEA, rev uint64) raftfsm.DEAChanges {
	if !h.compared || h.changesOf != rev {
		if h.kept != nil && h.rev == rev {
			h.changes = listChanges(h.id, h.kept, h.newest.Instances)
		} else {
			h.changes = i.compare.changes(view, h.newest)
		}
		h.compared, h.changesOf, h.proposed, h.accepted = true, rev, false, false
	}
	changes := h.changes
	now := i.log.Now()
	var overruled, withheld bool
	changes.Upserts, overruled = i.recentExits.overrule(view, h.id, changes.Upserts, now, i.live.TTL)
	changes, withheld = h.uncertain.withhold(view, changes, now, i.live.TTL)
	h.partial = overruled || withheld || h.idUse.merges
	return changes
}

// Settle drops the heartbeats that the record agrees with now: on the leader after proposals, on a
// follower after the leader recorded them. It returns how many DEAs are left.
func (i *Intake) Settle(view *raftfsm.State) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, h := range i.dirty {
		i.settle(view, h)
	}
	return len(i.dirty)
}

// Changes gives the records that bring the record up to what was heard, for at most max DEAs, in
// the order of their ids.
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
			h.proposed, h.offered = true, true
		}
	}
	return records
}

// Recorded notes that this leader has recorded what Changes gave out, all of it and nothing else. Then the record of each
// of these DEAs is known to agree with the heartbeat from which its changes came, without a comparison.
func (i *Intake) Recorded(changes []raftfsm.Record) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range changes {
		if c, ok := r.(raftfsm.DEAChanges); ok {
			if h := i.dirty[c.DEA]; h != nil && h.proposed {
				h.accepted = true
			}
		}
	}
}

// TakeExits gives the exits that were heard since the last call, oldest first.
func (i *Intake) TakeExits() []waitingExit {
	i.mu.Lock()
	defer i.mu.Unlock()
	exits := i.exits
	i.exits = nil
	return exits
}

// TakeUpdated gives the apps whose change the Cloud Controller announced since the last call,
// sorted. If there are more than maxUpdated, others may be missing.
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

// Link notes that the NATS link came up, went down, or had a gap (then it is up again). epoch is
// the number of the period that begins now; Epoch gives it back.
func (i *Intake) Link(up bool, epoch uint64) {
	i.mu.Lock()
	now := i.log.Now()
	i.live.Link(up, now)
	i.lag.set(i.live, 0, now)
	i.troubles.linkChanged(now)
	i.epoch = epoch
	i.hearing = hearingCount{}
	i.mu.Unlock()
	i.wakeSoon()
}

// Epoch is the number of the link's present period without a gap. If two calls give the same,
// nothing was missed between them.
func (i *Intake) Epoch() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.epoch
}

// toHMTime converts a time of the intake's clock to hm time. now is the present hm time.
func (i *Intake) toHMTime(t, now app.Time) app.Time { return now.Add(t.Sub(i.log.Now())) }

// Fresh reports whether hm may act on what was heard, whether the link is up, and since when it has
// been so. now is the present hm time.
func (i *Intake) Fresh(now app.Time) (fresh, up bool, since app.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	up, since = i.live.Up()
	return i.live.Fresh(i.log.Now()), up, i.toHMTime(since, now)
}

// FreshWithin gives when the link's freshness window ends, and when what was heard becomes stale
// unless a DEA is heard before; 0 if not known. now is the present hm time.
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

// LastHeard is when this node last heard a DEA, 0 if never. now is the present hm time.
func (i *Intake) LastHeard(dea string, now app.Time) app.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := i.live.LastHeard(dea)
	if at == 0 {
		return 0
	}
	return i.toHMTime(at, now)
}

// Quiet reports whether a recorded instance may be gone: its DEA has missed a heartbeat, or the
// DEA's newest message cannot be read or leaves the instance's state open.
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

// Silent gives the recorded DEAs that have been silent for a whole time to live, sorted; how many
// DEAs are recorded as present; and when the next one will be silent unless it is heard before, 0
// if not known. now is the present hm time. While what was heard is not fresh no DEA is silent: if
// all are silent at once, the fault is elsewhere.
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

// Unknown gives the DEAs of which this node does not know what runs there, sorted: those that are recorded as gone and
// that it does not hear, and those that it has not heard since it could hear again and that are not silent yet. While this
// node cannot tell whom it hears, it gives none.
func (i *Intake) Unknown(view *raftfsm.State) (unknown []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	returning := i.live.Returning(now)
	if view.Counts().GoneDEAs == 0 && !returning || !i.live.Fresh(now) {
		return nil
	}
	for d := range view.DEAs() {
		if d.GoneAt != 0 && (i.live.LastHeard(d.ID) == 0 || i.live.Silent(d.ID, now)) ||
			d.GoneAt == 0 && returning && i.live.Unreturned(d.ID, now) {
			unknown = append(unknown, d.ID)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// Forget drops what is known about DEAs that are silent and no longer recorded as present.
func (i *Intake) Forget(view *raftfsm.State) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	i.lag.update(i.live, now)
	i.recentExits.prune(now, i.live.TTL)
	i.endDoubled(now)
	for id, h := range i.deas {
		if len(h.idUse.lists) > 0 {
			h.idUse.expire(now, i.live.CountsFrom(now), i.live.TTL)
		}
		if !i.live.Silent(id, now) {
			continue
		}
		if rec, ok := view.DEA(id); ok && rec.GoneAt == 0 {
			continue
		}
		delete(i.deas, id)
		delete(i.byDigest, h.digest)
		delete(i.dirty, id)
		delete(i.leadership.awaits, id)
		i.troubles.forget(h)
		delete(i.doubled.ids, id)
		i.forgotten = append(i.forgotten, i.live.LastHeard(id))
		i.live.Forget(id)
	}
	i.forgotten = slices.DeleteFunc(i.forgotten, func(at app.Time) bool { return now.Sub(at) >= i.live.TTL+maxWordAge })
}
