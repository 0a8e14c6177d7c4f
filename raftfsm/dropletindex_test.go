package raftfsm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"hm/internal/app"
)

// The index has the same content as a map, with enough keys for every kind of collision. Frozen copies never change.
func TestDropletIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var keys []app.Key
	for d := range 8000 {
		droplet := randomGUID(r, "uh"[d%2])
		if d%50 == 0 {
			droplet = app.MustGUID(fmt.Sprintf("droplet-%d", d))
		}
		for v := range 1 + d%3 {
			version := randomGUID(r, 'u')
			if (d+v)%50 == 1 {
				version = app.MustGUID(fmt.Sprintf("version-%d", v))
			}
			keys = append(keys, app.Key{Droplet: droplet, Version: version})
		}
	}
	apps := newAppTable()
	for _, k := range keys {
		apps.push(k, appRec{})
	}
	var x dropletIndex
	in := make([]bool, len(keys))
	check := func(x *dropletIndex, in []bool) {
		t.Helper()
		for h, k := range keys {
			if got, ok := x.find(&apps, k); ok != in[h] || ok && got != Handle(h) {
				t.Fatalf("key %d: found %v with handle %d, want found %v", h, ok, got, in[h])
			}
		}
	}
	frozen, then := x.freeze(), append([]bool(nil), in...)
	for round := range 6 {
		for range 3 * len(keys) {
			h := r.IntN(len(keys))
			if in[h] && r.IntN(6) >= round%3 {
				x.remove(&apps, Handle(h))
				in[h] = false
			} else if !in[h] {
				x.add(&apps, Handle(h))
				in[h] = true
			}
		}
		check(&x, in)
		check(&frozen, then)
		frozen, then = x.freeze(), append([]bool(nil), in...)
	}
	x.remove(&apps, 0)
	x.remove(&apps, 0) // removed already
	in[0] = false
	check(&x, in)
	check(&frozen, then)
	versions := 0
	x.each(&apps, keys[len(keys)-1].Droplet, func(Handle) bool { versions++; return false })
	if versions > 1 {
		t.Error("each continued after fn returned false")
	}
}
