package raftfsm

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func TestHolders(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var l holders
		var n uint8
		in := map[uint32]bool{}
		type view struct {
			holders
			n    uint8
			want []uint32
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
			if !slices.Equal(v.list(v.n), v.want) {
				t.Fatalf("a copy changed from %v to %v", v.want, v.list(v.n))
			}
		}
	}
	if n := unsafe.Sizeof(appRec{}); n != 104 {
		t.Errorf("an app record has %d bytes; DESIGN.md says 104", n)
	}
}
