package raftfsm

import (
	"cmp"
	"iter"
	"slices"

	"hm/actual"
	"hm/internal/app"
)

// DEA is the record of one DEA without its instances.
type DEA struct {
	ID        string
	Rev       uint64 // revision of its last change
	FirstSeen app.Time
	ChangedAt app.Time
	GoneAt    app.Time // when it was recorded as gone; 0: it is not gone
	Len       int      // number of instances
}

// DEA returns the record of a DEA, also of a gone one.
func (s *State) DEA(id string) (DEA, bool) {
	if d := s.deaByID(id); d != nil {
		return d.DEA, true
	}
	return DEA{}, false
}

// DEAPlace says where the record of a DEA was found. The zero value says nothing.
type DEAPlace uint32

// DEAAt is DEA for a caller that asks for the same DEA again and again: at, which it keeps, spares the search by name.
func (s *State) DEAAt(at *DEAPlace, id string) (DEA, bool) {
	if n := uint32(*at) - 1; *at != 0 && int(n) < s.deas.len() {
		if d := *s.deas.get(n); d != nil && d.ID == id {
			return d.DEA, true
		}
	}
	d := s.deaByID(id)
	if d == nil {
		return DEA{}, false
	}
	*at = DEAPlace(d.num + 1)
	return d.DEA, true
}

// DEAs yields every recorded DEA, gone ones included, sorted by id.
func (s *State) DEAs() iter.Seq[DEA] {
	return func(yield func(DEA) bool) {
		s.names.Scan(func(n deaName) bool { return yield((*s.deas.get(n.num)).DEA) })
	}
}

// DEAInstances appends a DEA's instances to dst. Their order is undefined and differs between nodes.
func (s *State) DEAInstances(dst []actual.Instance, id string) []actual.Instance {
	d := s.deaByID(id)
	if d == nil {
		return dst
	}
	dst = slices.Grow(dst, len(d.inst))
	s.apps.fetch(d.inst)
	for i := range d.inst {
		dst = append(dst, d.instance(i, s.apps.key(d.inst[i].app)))
	}
	return dst
}

// EachStateOn calls fn with the state of every instance that a DEA lists, in any order. It allocates nothing.
func (s *State) EachStateOn(dea string, fn func(actual.State)) {
	if d := s.deaByID(dea); d != nil {
		for i := range d.inst {
			fn(d.inst[i].state)
		}
	}
}

// Located returns a DEA's instances, sorted by app, index and guid, with the times and marks that are recorded of them.
func (s *State) Located(id string) (out []actual.Located) {
	d := s.deaByID(id)
	if d == nil {
		return nil
	}
	for i := range d.inst {
		out = append(out, s.located(d, i, s.apps.key(d.inst[i].app)))
	}
	slices.SortFunc(out, func(a, b actual.Located) int {
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID))
	})
	return out
}

// EachOn calls fn for each of the given instances that a DEA lists, in any order.
func (s *State) EachOn(dea string, guids []app.GUID, fn func(actual.Instance)) {
	d := s.deaByID(dea)
	if d == nil {
		return
	}
	visit := func(i int) { fn(d.instance(i, s.apps.key(d.inst[i].app))) }
	if len(guids)*len(d.inst) <= linear {
		for _, g := range guids {
			if i := d.locate(g, 0, len(d.inst)); i >= 0 {
				visit(i)
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
			visit(i)
		}
	}
}
