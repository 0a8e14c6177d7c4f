package raftfsm

import (
	"cmp"
	"iter"
	"slices"

	"hm/actual"
	"hm/internal/app"
)

// DEA is what is recorded of one DEA, instances aside.
type DEA struct {
	ID        string
	Rev       uint64 // Raft index of its last change
	FirstSeen app.Time
	ChangedAt app.Time
	GoneAt    app.Time // when it was recorded as gone, 0 while it is not
	Len       int      // instances
}

// DEA gives what is recorded of a DEA, gone ones included.
func (s *State) DEA(id string) (DEA, bool) {
	if d := s.deaByID(id); d != nil {
		return d.DEA, true
	}
	return DEA{}, false
}

// DEAs yields every recorded DEA, gone ones included, sorted by id.
func (s *State) DEAs() iter.Seq[DEA] {
	return func(yield func(DEA) bool) {
		s.names.Scan(func(n deaName) bool { return yield((*s.deas.get(n.num)).DEA) })
	}
}

// DEAInstances appends a DEA's instances to dst. Their order means nothing and differs between nodes.
func (s *State) DEAInstances(dst []actual.Instance, id string) []actual.Instance {
	d := s.deaByID(id)
	if d == nil {
		return dst
	}
	dst = slices.Grow(dst, len(d.inst))
	for i := range d.inst {
		dst = append(dst, d.instance(i, s.apps.get(uint32(d.inst[i].app)).key))
	}
	return dst
}

// Located gives a DEA's instances, sorted by app, index and instance, with what is recorded beyond their listing.
func (s *State) Located(id string) (out []actual.Located) {
	d := s.deaByID(id)
	if d == nil {
		return nil
	}
	for i := range d.inst {
		out = append(out, s.located(d, i, s.apps.get(uint32(d.inst[i].app)).key))
	}
	slices.SortFunc(out, func(a, b actual.Located) int {
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID))
	})
	return out
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
