package faulttest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"hm/internal/app"
)

// end judges how the run ended: everything as the Cloud Controller wants it within the bound (I9), the nodes' states
// equal (I7), and no process gone by itself (I10).
func (j *judge) end() {
	last := max(j.Healed, j.Converged)
	switch took := j.Converged - j.lastFault(j.Converged); {
	case j.TooBusy():
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
		if !strings.Contains(r.Detail, endedMeanwhile) && j.reachable(r.App, r.At) {
			j.add("requests", r.At, "a user's request to app %.8s was not answered, although it ran: %s", r.App.String(), r.Detail)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.Nodes)) {
		for _, how := range j.Nodes[id].Ended {
			j.add("I10", last, "%s ended by itself: %s", id, how)
		}
	}
}

// TooBusy reports whether what runs never agreed with what is wanted, and the machine stood still so often that nobody
// can expect it: then I9 is not judged.
func (r *Record) TooBusy() bool {
	return r.Converged == 0 && r.Watched-r.lastFault(r.Watched) < r.Policy.Bound
}

// lastFault gives when the last fault had ended, until a time. A stall of the machine counts as a fault: links are late
// after it, and leaders change.
func (r *Record) lastFault(until time.Duration) time.Duration {
	last := r.Healed
	for _, s := range r.Stalls {
		if s.Until <= until && s.Until-s.From > r.Policy.Period/2 {
			last = max(last, s.Until)
		}
	}
	return last
}

// endedMeanwhile is what the router answers if the instance that it chose ended while it had the request.
const endedMeanwhile = "endpoint_failure"

// reachable reports whether an instance of an app lived, and its DEA was heard, long enough for the router to know it. A
// router forgets the routes of a DEA that is cut off from NATS alone, whatever hm does.
func (j *judge) reachable(droplet app.GUID, at time.Duration) bool {
	const periods = 6
	for _, l := range j.Lives {
		if l.App.Droplet != droplet || l.Born > at-periods*j.Policy.Period || l.Live < at {
			continue
		}
		heard := 0
		for n := range periods {
			until := at - time.Duration(n)*j.Policy.Period
			if slices.ContainsFunc(l.Heard, func(h Hearing) bool { return h.live() && within(h.At, until, j.Policy.Period) }) {
				heard++
			}
		}
		if heard == periods {
			return true
		}
	}
	return false
}
