package api

import (
	"testing"
	"time"
)

// TestGroupMembership: times in seconds, with a period of 10 s; what the node knows, whether a peer can answer, and
// whether the node must be in the group then.
func TestGroupMembership(t *testing.T) {
	type step struct {
		at          int
		knows, peer bool
		in          bool
	}
	for name, steps := range map[string][]step{
		"it knows enough":                        {{0, true, false, true}, {1, true, true, true}, {100, true, false, true}},
		"alone it answers that nothing is known": {{0, false, false, true}, {1, false, false, true}},
		"it leaves at once":                      {{0, true, true, true}, {1, false, true, false}, {2, false, true, false}},
		"a new node leaves at once":              {{0, false, true, false}},
		"it comes back when it has known for a period": {
			{0, false, true, false}, {1, true, true, false}, {10, true, true, false}, {11, true, true, true},
		},
		"it must know for a whole period": {
			{0, false, true, false}, {1, true, true, false}, {5, false, true, false}, {6, true, true, false}, {15, true, true, false}, {16, true, true, true},
		},
		"when the others can no longer answer it comes back at once": {{0, false, true, false}, {1, false, false, true}},
		"it leaves once in a period": {
			{0, false, true, false}, {1, false, false, true}, {2, false, true, true}, {10, false, true, true}, {11, false, true, false}, {12, false, false, true}, {13, false, true, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := groupMembership{in: true}
			start := time.Now()
			for _, l := range steps {
				a.update(start.Add(time.Duration(l.at)*time.Second), l.knows, l.peer, 10*time.Second)
				if a.in != l.in {
					t.Fatalf("at %d s it is in the group: %v, want %v", l.at, a.in, l.in)
				}
			}
		})
	}
}
