package reconcile

import (
	"maps"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// Two nodes may hear a DEA's messages at different times, and one of them may miss some. So the list
// that a new leader heard last may be older than the one that the leader before it recorded. Lists
// carry no time. A list is newer than the record if this node has heard what is recorded, or if it
// arrived a whole heartbeat period after the record changed, and later by as much as the link is late.
// Else the new leader keeps the record and waits for the DEA's next heartbeat.
//
// The record may also say that a DEA is gone which this node hears: the leader before it did not hear it.
// This node dropped the DEA's list when it agreed with the record, so it knows what runs there only at
// the DEA's next heartbeat. The same holds for a list that was dropped while no node was known to lead, as
// after a start: the record may have been old then, and have become another since. Until that heartbeat the
// new leader sends nothing in any of these cases: not all that it heard is recorded.

// leadership is what the intake of a leader must know of its leadership; zero on a follower.
type leadership struct {
	began app.Time      // time of the newest entry when it began; 0: this node does not lead
	ahead time.Duration // of hm time from the intake's clock
	// awaits are DEAs of whose newest list the record knows nothing, and this node neither. Their next
	// heartbeat tells. The time is when each of them has missed one, by the intake's clock.
	awaits map[string]app.Time
}

// BeginLeading notes that this node leads from now on, in hm time. Before that nothing of what it
// hears is recorded by it.
func (i *Intake) BeginLeading(view *raftfsm.State, now app.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leadership = leadership{began: max(view.Time(), 1), ahead: now.Sub(i.log.Now())}
	i.led = true
	for _, h := range i.deas {
		rec, known := view.DEA(h.id)
		if !known && h.saidAt == 0 {
			continue // a stranger of whom nothing could be decoded: there is no list to wait for
		}
		if h.newest == nil && (!known || rec.GoneAt != 0 || h.unled && rec.Rev != h.rev) {
			i.await(h)
		}
	}
}

// await notes that this leader must hear a DEA again before it knows what the DEA has.
func (i *Intake) await(h *heardDEA) {
	if i.leadership.awaits == nil {
		i.leadership.awaits = map[string]app.Time{}
	}
	i.leadership.awaits[h.id] = i.live.LastHeard(h.id).Add(2 * i.live.Period)
}

// Awaits reports whether this leader waits for the next heartbeat of a DEA. It does not wait for a DEA
// that has missed one.
func (i *Intake) Awaits() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	maps.DeleteFunc(i.leadership.awaits, func(_ string, until app.Time) bool { return now >= until })
	return len(i.leadership.awaits) > 0
}

// Follow notes that this node does not lead, and whether it knows of a node that does. If it knows of none,
// its record may be old.
func (i *Intake) Follow(led bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leadership, i.led = leadership{}, led
}

// mayBeOlder reports whether a DEA's newest heartbeat may be older than its record, which an earlier
// leader made. A replay has no earlier leader.
func (i *Intake) mayBeOlder(h *heardDEA, rec raftfsm.DEA) bool {
	l := i.leadership
	if l.began == 0 || i.keeps || rec.ChangedAt > l.began || rec.Rev == h.rev {
		return false
	}
	return h.saidAt.Add(l.ahead).Sub(rec.ChangedAt) < i.live.Period
}

// discard drops a DEA's newest heartbeat. A repetition of it counts as a new one.
func (i *Intake) discard(h *heardDEA) {
	delete(i.byDigest, h.digest)
	delete(i.dirty, h.id)
	h.newest, h.kept, h.changes, h.compared = nil, nil, raftfsm.DEAChanges{}, false
}
