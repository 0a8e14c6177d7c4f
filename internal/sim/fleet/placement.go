package fleet

import (
	"cmp"
	"container/heap"
	"time"
)

// pool is the DEAs that take new instances, the one with the fewest first. It stands for the DEAs' advertisements, by
// which the Cloud Controller places (N28): a DEA that fell silent is still chosen until its last advertisement expires.
// Not safe for concurrent use.
type pool struct{ seats seats }

// seat is a DEA's place in the pool.
type seat struct {
	dea       *dea
	order     int       // breaks ties: the older DEA first
	instances int       // live ones, by the DEA's count
	placed    int       // placed by the Cloud Controller since the DEA's last heartbeat
	held      int       // of a DEA that died: the live ones of its last advertisement
	expires   time.Time // when a silent DEA leaves the pool; zero while it is connected
	at        int       // position in the heap, -1 when not in the pool
}

func (s *seat) load() int { return s.instances + s.placed + s.held }

// pick chooses the DEA with the fewest instances and counts the new one against it. It returns nil if no DEA takes
// new instances.
func (p *pool) pick(now time.Time) *dea {
	for len(p.seats) > 0 {
		s := p.seats[0]
		if !s.expires.IsZero() && !now.Before(s.expires) {
			p.remove(s)
			continue
		}
		s.placed++
		heap.Fix(&p.seats, s.at)
		return s.dea
	}
	return nil
}

// add lets the DEA take new instances.
func (p *pool) add(s *seat) {
	s.expires, s.placed, s.held = time.Time{}, 0, 0
	if s.at < 0 {
		heap.Push(&p.seats, s)
		return
	}
	heap.Fix(&p.seats, s.at)
}

// remove takes the DEA out; it need not be in.
func (p *pool) remove(s *seat) {
	if s.at >= 0 {
		heap.Remove(&p.seats, s.at)
	}
}

// moved tells the pool that the counts of s changed.
func (p *pool) moved(s *seat) {
	if s.at >= 0 {
		heap.Fix(&p.seats, s.at)
	}
}

// seats implements heap.Interface.
type seats []*seat

func (h seats) Len() int { return len(h) }
func (h seats) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].load(), h[j].load()), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h seats) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *seats) Push(x any) {
	s := x.(*seat)
	s.at = len(*h)
	*h = append(*h, s)
}
func (h *seats) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.at = -1
	return s
}
