package raftfsm

import (
	"hm/actual"
	"hm/internal/app"
)

// EachCopy calls fn for every instance record of a droplet, in all its versions, on the DEAs for which on holds, in any
// order. A guid that is recorded on two DEAs comes twice (W10).
func (s *State) EachCopy(droplet app.GUID, on func(dea string) bool, fn func(dea string, i *actual.Instance)) {
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		rec := s.apps.get(uint32(h))
		for _, num := range rec.deas() {
			d := *s.deas.get(num)
			if !on(d.ID) {
				continue
			}
			lo, hi := d.of(h)
			for i := lo; i < hi; i++ {
				inst := d.instance(i, rec.key)
				fn(d.ID, &inst)
			}
		}
		return true
	})
}

// EachOn calls fn for those of the given instances that are recorded on a DEA, in any order.
func (s *State) EachOn(dea string, guids []app.GUID, fn func(actual.Instance)) {
	d := s.deaByID(dea)
	if d == nil {
		return
	}
	tell := func(i int) { fn(d.instance(i, s.apps.get(uint32(d.inst[i].app)).key)) }
	if len(guids)*len(d.inst) <= linear {
		for _, g := range guids {
			if i := d.locate(g, 0, len(d.inst)); i >= 0 {
				tell(i)
			}
		}
		return
	}
	asked := make(map[app.GUID]struct{}, len(guids))
	for _, g := range guids {
		asked[g] = struct{}{}
	}
	for i := range d.inst {
		if _, is := asked[d.guid(i)]; is {
			tell(i)
		}
	}
}
