package fleet

import (
	"cmp"
	"container/heap"
	"time"
)

// pool is the DEAs that take new instances, the one with the fewest first. It stands for the DEAs' advertisements, by
// which the Cloud Controller places (N28): a DEA that fell silent is still chosen until its last advertisement expires.
// Not safe for concurrent use.
type pool struct{ heap poolHeap }

// poolEntry is what the pool knows of a DEA.
type poolEntry struct {
	dea       *dea
	order     int       // breaks ties: the older DEA first
	instances int       // live ones, by the DEA's count
	placed    int       // placed by the Cloud Controller since the DEA's last heartbeat
	held      int       // of a DEA that died: the live ones of its last advertisement
	expires   time.Time // when a silent DEA leaves the pool; zero while it is connected
	at        int       // position in the heap, -1 when not in the pool
}

func (s *poolEntry) load() int { return s.instances + s.placed + s.held }

// pick chooses the DEA with the fewest instances and counts the new one against it. It returns nil if no DEA takes
// new instances.
func (p *pool) pick(now time.Time) *dea {
	for len(p.heap) > 0 {
		s := p.heap[0]
		if !s.expires.IsZero() && !now.Before(s.expires) {
			p.remove(s)
			continue
		}
		s.placed++
		heap.Fix(&p.heap, s.at)
		return s.dea
	}
	return nil
}

// add lets the DEA take new instances.
func (p *pool) add(s *poolEntry) {
	s.expires, s.placed, s.held = time.Time{}, 0, 0
	if s.at < 0 {
		heap.Push(&p.heap, s)
		return
	}
	heap.Fix(&p.heap, s.at)
}

// remove takes the DEA out; it need not be in.
func (p *pool) remove(s *poolEntry) {
	if s.at >= 0 {
		heap.Remove(&p.heap, s.at)
	}
}

// moved sorts s again after its counts changed.
func (p *pool) moved(s *poolEntry) {
	if s.at >= 0 {
		heap.Fix(&p.heap, s.at)
	}
}

// poolHeap implements heap.Interface.
type poolHeap []*poolEntry

func (h poolHeap) Len() int { return len(h) }
func (h poolHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].load(), h[j].load()), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h poolHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *poolHeap) Push(x any) {
	s := x.(*poolEntry)
	s.at = len(*h)
	*h = append(*h, s)
}
func (h *poolHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.at = -1
	return s
}
