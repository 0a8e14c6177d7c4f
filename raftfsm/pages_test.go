package raftfsm

import (
	"testing"
)

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
