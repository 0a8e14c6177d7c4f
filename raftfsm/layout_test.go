package raftfsm

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

func TestInstancesArePacked(t *testing.T) {
	if n := unsafe.Sizeof(packed{}); n != 36 {
		t.Errorf("an instance record has %d bytes", n)
	}
	for _, ms := range []int64{0, 1, 1_700_000_000_000, MaxSince} {
		i := testInstance(testKey(0), 0, 65535, 2)
		i.Since = ms
		if p := pack(i, 7); p.since.ms() != ms {
			t.Errorf("since %d became %d", ms, p.since.ms())
		}
	}
	if clampSince(-5) != 0 || clampSince(MaxSince+1) != MaxSince {
		t.Error("times outside the range are not recorded as its bounds")
	}
}

// The index against a map, with enough keys for every sort of collision, and frozen copies that must not move.
func TestDropletIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var keys []app.Key
	for d := range 8000 {
		droplet := randomGUID(r, "uh"[d%2])
		for range 1 + d%3 {
			keys = append(keys, app.Key{Droplet: droplet, Version: randomGUID(r, 'u')})
		}
	}
	var apps pages[appRec]
	for _, k := range keys {
		apps.push(appRec{key: k})
	}
	var x dropletIndex
	in := make([]bool, len(keys))
	check := func(x *dropletIndex, in []bool) {
		t.Helper()
		for h, k := range keys {
			if got, ok := x.find(&apps, k); ok != in[h] || ok && got != Handle(h) {
				t.Fatalf("key %d: found %v as %d, should be %v", h, ok, got, in[h])
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
	x.remove(&apps, 0) // what is not there
	in[0] = false
	check(&x, in)
	check(&frozen, then)
	versions := 0
	x.each(&apps, keys[len(keys)-1].Droplet, func(Handle) bool { versions++; return false })
	if versions > 1 {
		t.Error("each went on after false")
	}
}

func TestPages(t *testing.T) {
	type view struct {
		pages[int]
		by int // element i is i times by
	}
	var p pages[int]
	const n = 3*pageLen*chunkLen + 7
	var views []view
	for i := range n {
		p.push(i)
		if i%(n/9) == 0 {
			views = append(views, view{p.freeze(), 1})
		}
	}
	for by := 2; by < 5; by++ {
		for i := range n {
			*p.mut(uint32(i)) = i * by
		}
		views = append(views, view{p.freeze(), by})
	}
	for v, view := range views {
		for i := range view.len() {
			if *view.get(uint32(i)) != i*view.by {
				t.Fatalf("view %d: element %d is %d, want %d", v, i, *view.get(uint32(i)), i*view.by)
			}
		}
	}
	if views[0].len() != 1 || p.len() != n {
		t.Fatalf("lengths %d, %d", views[0].len(), p.len())
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	s := sampleState(t).Freeze()
	k := testKey(0)
	dst := s.Instances(nil, k)
	for name, fn := range map[string]func(){
		"EachInstance": func() { s.EachInstance(func(Handle, uint32, actual.State) {}) },
		"EachDesired":  func() { s.EachDesired(func(Handle, desired.App) bool { return true }) },
		"Instances":    func() { dst = s.Instances(dst[:0], k) },
		"App":          func() { s.App(k) },
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestHolders(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var l holders
		var n uint8
		in := map[uint32]bool{}
		type view struct {
			holders
			n    uint8
			said []uint32
		}
		var views []view
		for range 60 {
			v := uint32(r.IntN(12))
			if in[v] {
				n = l.remove(n, v)
				delete(in, v)
			} else {
				n = l.add(n, v)
				in[v] = true
			}
			if got := slices.Sorted(slices.Values(l.list(n))); !slices.Equal(got, slices.Sorted(maps.Keys(in))) {
				t.Fatalf("list %v, want %v", got, in)
			}
			views = append(views, view{l, n, slices.Clone(l.list(n))})
		}
		for _, v := range views {
			if !slices.Equal(v.list(v.n), v.said) {
				t.Fatalf("a copy changed from %v to %v", v.said, v.list(v.n))
			}
		}
	}
	if n := unsafe.Sizeof(appRec{}); n != 104 {
		t.Errorf("an app record has %d bytes; DESIGN.md says 104", n)
	}
}
