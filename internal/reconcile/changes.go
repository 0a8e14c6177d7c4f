package reconcile

import (
	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// heartbeatChanges compares a heartbeat, which is a full list (N03), with what is recorded of its DEA.
func heartbeatChanges(view *raftfsm.State, hb *actual.Heartbeat) raftfsm.DEAChanges {
	changes := raftfsm.DEAChanges{DEA: hb.DEA}
	recorded := view.DEAInstances(nil, hb.DEA)
	known := make(map[app.GUID]int, len(recorded))
	for n := range recorded {
		known[recorded[n].GUID] = n
	}
	for _, inst := range hb.Instances {
		n, ok := known[inst.GUID]
		if !ok || recorded[n] != inst {
			changes.Upserts = append(changes.Upserts, inst)
		}
		delete(known, inst.GUID)
	}
	for _, inst := range recorded {
		if _, gone := known[inst.GUID]; gone {
			changes.Removes = append(changes.Removes, inst.GUID)
		}
	}
	return changes
}

// listChanges compares a DEA's list with the one that it told before, which is what is recorded. Mostly the two are
// the same but for a few entries, in the same places.
func listChanges(dea string, old, now []actual.Instance) raftfsm.DEAChanges {
	changes := raftfsm.DEAChanges{DEA: dea}
	var left, come []*actual.Instance // entries without a partner in their place
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
			left, i = append(left, o), i+1
		case j+1 < len(now) && now[j+1].GUID == o.GUID:
			come, j = append(come, n), j+1
		default:
			left, come, i, j = append(left, o), append(come, n), i+1, j+1
		}
	}
	for ; i < len(old); i++ {
		left = append(left, &old[i])
	}
	for ; j < len(now); j++ {
		come = append(come, &now[j])
	}
	known := make(map[app.GUID]*actual.Instance, len(left))
	for _, o := range left {
		known[o.GUID] = o
	}
	for _, n := range come {
		if o, moved := known[n.GUID]; !moved || *o != *n {
			changes.Upserts = append(changes.Upserts, *n)
		}
		delete(known, n.GUID)
	}
	for _, o := range left {
		if _, gone := known[o.GUID]; gone {
			changes.Removes = append(changes.Removes, o.GUID)
		}
	}
	return changes
}
