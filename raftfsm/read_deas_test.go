package raftfsm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestDEAAtIsDEA holds that a place that is kept never gives another DEA, or an old record: DEAs are forgotten, others take
// their places, and the state is restored from a snapshot.
func TestDEAAtIsDEA(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	l := newLog(t)
	var places [12]DEAPlace
	name := func(n int) string { return fmt.Sprintf("dea-%d", n) }
	moved := 0
	for range 600 {
		n := r.IntN(len(places))
		switch d, known := l.DEA(name(n)); {
		case !known || d.GoneAt != 0 && r.IntN(2) == 0:
			l.must(DEAChanges{DEA: name(n)})
		case d.GoneAt != 0:
			l.must(DEAsForgotten{DEAs: []string{name(n)}})
		default:
			l.must(DEAsGone{DEAs: []string{name(n)}})
		}
		if r.IntN(40) == 0 {
			l.State = restoredCopy(t, l.State)
		}
		for n := range places {
			want, known := l.DEA(name(n))
			before := places[n]
			got, found := l.DEAAt(&places[n], name(n))
			if got != want || found != known {
				t.Fatalf("%s at place %d: %+v, %v; want %+v, %v", name(n), before, got, found, want, known)
			}
			if before != 0 && before != places[n] {
				moved++
			}
		}
	}
	if moved == 0 {
		t.Error("no DEA was ever at another place than before, so the test checked little")
	}
}
