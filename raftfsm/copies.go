package raftfsm

import (
	"hm/actual"
	"hm/internal/app"
)

// EachCopy calls fn for every instance record of a droplet, in all its versions, in any order. A guid that is recorded on
// two DEAs comes twice (W10).
func (s *State) EachCopy(droplet app.GUID, fn func(actual.Located)) {
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		rec := s.apps.get(uint32(h))
		for _, num := range rec.deas() {
			d := *s.deas.get(num)
			lo, hi := d.of(h)
			for i := lo; i < hi; i++ {
				fn(actual.Located{Instance: d.instance(i, rec.key), DEA: d.ID})
			}
		}
		return true
	})
}
