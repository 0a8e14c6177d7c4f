package faulttest

import (
	"maps"
	"slices"
)

// end judges how the run ended: everything as the Cloud Controller wants it within the bound (I9), the nodes' states
// equal (I7), and no process gone by itself (I10).
func (j *judge) end() {
	last := max(j.Healed, j.Converged)
	switch took := j.Converged - j.Healed; {
	case j.Converged == 0:
		j.add("I9", last, "what runs does not agree with what is wanted, %s after the last fault ended", seconds(j.Policy.Bound))
	case took > j.Policy.Bound:
		j.add("I9", last, "what runs agrees with what is wanted only %s after the last fault ended, the bound is %s", seconds(took), seconds(j.Policy.Bound))
	}
	states := map[uint64]string{}
	for _, id := range slices.Sorted(maps.Keys(j.Hashes)) {
		h := j.Hashes[id]
		if other, known := states[h.Index]; known && other != h.Hash {
			j.add("I7", last, "%s has another state than a peer at index %d", id, h.Index)
		} else if !known {
			states[h.Index] = h.Hash
		}
	}
	for _, r := range j.Refused {
		j.add("requests", last, "a user's request to an app that ran was not answered: %s", r)
	}
	for _, id := range slices.Sorted(maps.Keys(j.Nodes)) {
		for _, how := range j.Nodes[id].Ended {
			j.add("I10", last, "%s ended by itself: %s", id, how)
		}
	}
}
