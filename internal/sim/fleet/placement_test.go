package fleet

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestPoolPicksTheEmptiest compares the heap with a plain search.
func TestPoolPicksTheEmptiest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	var p pool
	entries := make([]*poolEntry, 20)
	for i := range entries {
		entries[i] = &poolEntry{order: i, at: -1, instances: rng.IntN(5)}
		entries[i].dea = &dea{id: string(rune('a' + i))}
		p.add(entries[i])
	}
	for range 2000 {
		s := entries[rng.IntN(len(entries))]
		switch rng.IntN(4) {
		case 0:
			p.remove(s)
		case 1:
			p.add(s)
		case 2:
			s.instances = rng.IntN(8)
			p.moved(s)
		case 3:
			s.expires = now.Add(time.Duration(rng.IntN(3)-1) * time.Second)
		}
		var want *poolEntry
		for _, s := range entries {
			if s.at < 0 || !s.expires.IsZero() && !now.Before(s.expires) {
				continue
			}
			if want == nil || s.load() < want.load() {
				want = s
			}
		}
		got := p.pick(now)
		if want == nil {
			if got != nil {
				t.Fatalf("picked %s of none", got.id)
			}
			continue
		}
		if got != want.dea {
			t.Fatalf("picked %v, want %s", got, want.dea.id)
		}
	}
}
