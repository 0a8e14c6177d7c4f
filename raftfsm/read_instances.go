package raftfsm

import (
	"slices"

	"hm/actual"
	"hm/internal/app"
)

// EachCopy calls fn for every instance of a droplet, in all its versions, on the DEAs for which on returns true. The
// order is undefined. A guid that two DEAs list comes twice (W10).
func (s *State) EachCopy(droplet app.GUID, on func(dea string) bool, fn func(dea string, i *actual.Instance)) {
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		k := s.apps.key(h)
		for _, num := range s.apps.deas(h) {
			d := *s.deas.get(num)
			if !on(d.ID) {
				continue
			}
			lo, hi := d.of(h)
			for i := lo; i < hi; i++ {
				inst := d.instance(i, k)
				fn(d.ID, &inst)
			}
		}
		return true
	})
}

// Instances appends an app's instances to dst, sorted by index, then guid. If two DEAs list one guid, only the instance
// on the DEA that was recorded later is appended (W10).
func (s *State) Instances(dst []actual.Located, k app.Key) []actual.Located {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return dst
	}
	start := len(dst)
	deas := s.apps.deas(h)
	for _, num := range deas {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			dst = append(dst, s.located(d, i, k))
		}
	}
	if len(deas) > 1 {
		dst = dst[:start+s.latest(dst[start:])]
	}
	slices.SortFunc(dst[start:], func(a, b actual.Located) int {
		if a.Index != b.Index {
			return int(a.Index) - int(b.Index)
		}
		return a.GUID.Compare(b.GUID)
	})
	return dst
}

// latest moves one instance of each guid to the front of list, the one on the DEA that was recorded last. It returns
// the number of guids.
func (s *State) latest(list []actual.Located) int {
	const few = 32 // up to this many instances comparing all guids is as fast as a map
	var seen map[app.GUID]int
	if len(list) > few {
		seen = make(map[app.GUID]int, len(list))
	}
	n := 0
	for _, x := range list {
		at, twice := seen[x.GUID]
		if seen == nil {
			at = slices.IndexFunc(list[:n], func(o actual.Located) bool { return o.GUID == x.GUID })
			twice = at >= 0
		}
		if twice {
			if s.deaByID(x.DEA).born > s.deaByID(list[at].DEA).born {
				list[at] = x
			}
			continue
		}
		if seen != nil {
			seen[x.GUID] = n
		}
		list[n] = x
		n++
	}
	return n
}

// located returns instance i of a DEA. It belongs to app k.
func (s *State) located(d *deaRec, i int, k app.Key) actual.Located {
	x := actual.Located{Instance: d.instance(i, k), DEA: d.ID, Heard: app.Time(d.inst[i].heard.ms())}
	if x.State == actual.Crashed {
		x.Mark = s.markOf(d.inst[i].app, x.Index, x.GUID)
	}
	return x
}

// EachInstanceOf calls fn for every instance of an app, in any order, and returns the app's record. heard is when the
// instance was recorded in its state. A guid that two DEAs list comes twice (W10). It allocates nothing.
func (s *State) EachInstanceOf(k app.Key, fn func(index uint32, st actual.State, heard app.Time)) (App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return App{}, false
	}
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			p := &d.inst[i]
			fn(uint32(p.index), p.state, app.Time(p.heard.ms()))
		}
	}
	return s.appOf(h), true
}

// EachInstance calls fn for every instance, DEA by DEA. heard is when it was recorded in its state. A guid that two DEAs
// list comes twice (W10). It allocates nothing.
func (s *State) EachInstance(fn func(h Handle, index uint32, st actual.State, heard app.Time)) {
	for num := range s.deas.len() {
		d := *s.deas.get(uint32(num))
		if d == nil {
			continue
		}
		for i := range d.inst {
			p := &d.inst[i]
			fn(p.app, uint32(p.index), p.state, app.Time(p.heard.ms()))
		}
	}
}
