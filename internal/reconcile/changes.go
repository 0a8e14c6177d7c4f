package reconcile

import (
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// comparer compares heartbeats with the record. It keeps its memory from one comparison to the next. It is not safe for
// concurrent use.
type comparer struct {
	recorded []actual.Instance
	known    map[app.GUID]int32 // where in recorded
}

// largeList is the length of a list from which on a comparer does not keep its memory: hardly a DEA runs so many.
const largeList = 4_096

// changes compares a heartbeat, which is a full list (N03), with the record of its DEA. An
// instance whose state timestamp cannot be read keeps the recorded one.
func (c *comparer) changes(view *raftfsm.State, hb *actual.Heartbeat) raftfsm.DEAChanges {
	changes := raftfsm.DEAChanges{DEA: hb.DEA}
	recorded := view.DEAInstances(c.recorded[:0], hb.DEA)
	if c.known == nil {
		c.known = make(map[app.GUID]int32, len(recorded))
	}
	known := c.known
	for n := range recorded {
		known[recorded[n].GUID] = int32(n)
	}
	if len(recorded) == 0 {
		changes.Upserts = make([]actual.Instance, 0, len(hb.Instances))
	}
	for i := range hb.Instances {
		inst := &hb.Instances[i]
		n, ok := known[inst.GUID]
		delete(known, inst.GUID)
		switch {
		case !ok:
			changes.Upserts = append(changes.Upserts, *inst)
		case recorded[n] == *inst:
		case hb.Untimed > 0 && inst.Since == 0:
			timed := *inst
			if timed.Since = recorded[n].Since; timed != recorded[n] {
				changes.Upserts = append(changes.Upserts, timed)
			}
		default:
			changes.Upserts = append(changes.Upserts, *inst)
		}
	}
	if len(known) > 0 {
		changes.Removes = make([]app.GUID, 0, len(known))
		for i := range recorded {
			if _, gone := known[recorded[i].GUID]; gone {
				changes.Removes = append(changes.Removes, recorded[i].GUID)
			}
		}
		clear(known)
	}
	if c.recorded = recorded; len(recorded) > largeList {
		*c = comparer{}
	}
	return changes
}

// listChanges compares a DEA's list with its list before, which is what is recorded. Mostly the two
// differ in a few entries only and have the same order.
func listChanges(dea string, old, now []actual.Instance) raftfsm.DEAChanges {
	changes := raftfsm.DEAChanges{DEA: dea}
	var buf [2][16]int32
	left, come := buf[0][:0], buf[1][:0] // entries that are not at the same place in the other list
	i, j := 0, 0
	for i < len(old) && j < len(now) {
		o, n := &old[i], &now[j]
		switch {
		case o.GUID == n.GUID:
			if *o != *n {
				changes.Upserts = append(changes.Upserts, *n)
			}
			i, j = i+1, j+1
		case i+1 < len(old) && old[i+1].GUID == n.GUID:
			left, i = append(left, int32(i)), i+1
		case j+1 < len(now) && now[j+1].GUID == o.GUID:
			come, j = append(come, int32(j)), j+1
		default:
			left, come, i, j = append(left, int32(i)), append(come, int32(j)), i+1, j+1
		}
	}
	for ; i < len(old); i++ {
		left = append(left, int32(i))
	}
	for ; j < len(now); j++ {
		come = append(come, int32(j))
	}
	return pairUp(changes, old, now, left, come)
}

// fewPairs is up to how many comparisons a linear search is as fast as a table.
const fewPairs = 512

// pairUp adds to changes what follows from the entries at left in old and at come in now. An entry
// in both has moved or changed; the others are removed or new.
func pairUp(changes raftfsm.DEAChanges, old, now []actual.Instance, left, come []int32) raftfsm.DEAChanges {
	partner := func(g app.GUID) int {
		return slices.IndexFunc(left, func(i int32) bool { return i >= 0 && old[i].GUID == g })
	}
	if len(left)*len(come) > fewPairs {
		known := make(map[app.GUID]int, len(left))
		for at, i := range left {
			known[old[i].GUID] = at
		}
		partner = func(g app.GUID) int {
			if at, ok := known[g]; ok {
				delete(known, g) // each entry has one partner
				return at
			}
			return -1
		}
	}
	changes.Upserts = slices.Grow(changes.Upserts, len(come))
	gone := len(left)
	for _, j := range come {
		n := &now[j]
		at := partner(n.GUID)
		if at < 0 || old[left[at]] != *n {
			changes.Upserts = append(changes.Upserts, *n)
		}
		if at >= 0 {
			left[at] = -1
			gone--
		}
	}
	if gone > 0 {
		changes.Removes = make([]app.GUID, 0, gone)
	}
	for _, i := range left {
		if i >= 0 {
			changes.Removes = append(changes.Removes, old[i].GUID)
		}
	}
	return changes
}
