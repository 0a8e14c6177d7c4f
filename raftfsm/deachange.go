package raftfsm

import (
	"cmp"
	"slices"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/internal/app"
)

// planDEAChanges puts into scratch.drop and scratch.add which instances of the DEA record base r removes and adds. It
// returns how many instances the DEA would have. It does not change the state.
func (s *State) planDEAChanges(base *deaRec, r DEAChanges) int {
	t := s.scratch
	t.drop = append(t.drop[:0], make([]bool, len(base.inst))...)
	t.add = t.add[:0]
	n := len(base.inst)
	drop := func(i int) {
		if !t.drop[i] {
			t.drop[i] = true
			n--
		}
	}
	find := t.finder(base, len(r.Removes)+len(r.Upserts))
	for _, g := range r.Removes {
		if i := find(g); i >= 0 {
			drop(i)
		}
	}
	replaced := t.repeats(r.Upserts)
	t.apps, t.hashes = s.lookup.findAll(&s.apps, r.Upserts, t.apps, t.hashes)
	for u := range r.Upserts {
		up := &r.Upserts[u]
		if replaced(u) {
			continue
		}
		known, h := t.apps[u] != 0, Handle(0)
		if known {
			h = t.apps[u] - 1
		}
		c := newcomer{packed: pack(*up, h), text: up.GUID, from: int32(u), interned: known}
		if i := find(up.GUID); i >= 0 {
			o := &base.inst[i]
			same := known && o.app == h && o.state == c.state
			if same {
				c.heard = o.heard
			}
			if same && o.index == c.index && o.since == c.since {
				if t.drop[i] { // removed and added again
					t.drop[i] = false
					n++
				}
				continue
			}
			drop(i)
			c.recorded = known && o.app == h
		}
		t.add = append(t.add, c)
		n++
	}
	return n
}

// linear is the number of comparisons up to which a linear search for guids is as fast as a map.
const linear = 2048

// finder returns a function that returns the position of a guid among d's instances, or -1.
func (t *scratch) finder(d *deaRec, searches int) func(app.GUID) int {
	if searches*len(d.inst) <= linear {
		return func(g app.GUID) int { return d.locate(g, 0, len(d.inst)) }
	}
	if t.byGUID == nil {
		t.byGUID = make(map[app.GUID]int32)
	}
	clear(t.byGUID)
	for i := range d.inst {
		t.byGUID[d.guid(i)] = int32(i)
	}
	return func(g app.GUID) int {
		if i, ok := t.byGUID[g]; ok {
			return int(i)
		}
		return -1
	}
}

// repeats returns a function that reports whether a later upsert has the same guid as upsert i.
func (t *scratch) repeats(ups []actual.Instance) func(i int) bool {
	if len(ups)*len(ups) <= linear {
		return func(i int) bool {
			for j := i + 1; j < len(ups); j++ {
				if ups[j].GUID == ups[i].GUID {
					return true
				}
			}
			return false
		}
	}
	if t.last == nil {
		t.last = make(map[app.GUID]int32)
	}
	clear(t.last)
	for i := range ups {
		t.last[ups[i].GUID] = int32(i)
	}
	return func(i int) bool { return t.last[ups[i].GUID] != int32(i) }
}

// prepareNewcomers sets the handles and times of the newcomers in scratch.add, and notes the apps that grow. first is
// true if the DEA gets a new record.
func (a *applier) prepareNewcomers(base *deaRec, r DEAChanges, n int, first bool) {
	s, t := a.State, a.scratch
	t.fresh = t.fresh[:0]
	evacuating := 0
	for i := range t.add {
		c := &t.add[i]
		if !c.interned {
			c.app = s.intern(r.Upserts[c.from].App)
		}
		switch c.state {
		case actual.Crashed:
			a.crashed(r.DEA, c, first)
		case actual.Evacuating:
			evacuating++
		}
		if !c.recorded {
			if other := s.recorded(c.app, c.text); other == nil {
				s.touch(c.app)
				s.apps.mut(c.app).grewAt = s.now
				t.fresh = append(t.fresh, c.place())
				if first && c.state == actual.Crashed {
					s.markOld(c.app, uint32(c.index), c.text)
				}
			} else if other.state == c.state {
				c.heard = other.heard // the DEA was restarted: the instance is as old as before
			}
		}
		if c.heard == (millis{}) {
			c.heard = millisOf(int64(s.now))
		}
	}
	slices.Sort(t.fresh)
	if evacuating > 0 && !base.evacuates() {
		a.fact(DEAFact{DEA: r.DEA, Change: DEAEvacuating, Instances: n, Evacuating: evacuating})
	}
}

// crashed adds the fact of a crash that a heartbeat tells of. A DEA that is heard for the first time lists crashes that
// may be old, unless another record of it has the instance in another state.
func (a *applier) crashed(dea string, c *newcomer, first bool) {
	if first && a.recorded(c.app, c.text) == nil || a.crashKnown(c.app, uint32(c.index), c.text) {
		return
	}
	a.fact(CrashFact{App: a.apps.key(c.app), Index: uint32(c.index), Instance: c.text, DEA: dea})
}

// recorded returns the instance of the app with this guid, or nil if no DEA lists it. If several DEAs list it, the one
// that was recorded last counts.
func (s *State) recorded(h Handle, g app.GUID) (found *packed) {
	born := uint64(0)
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		if i := d.locate(g, lo, hi); i >= 0 && d.born > born {
			found, born = &d.inst[i], d.born
		}
	}
	return found
}

// nextDEA returns a DEA's next record without its instances. old is the present record, or nil.
func (s *State) nextDEA(old *deaRec, id string) *deaRec {
	if old != nil && old.GoneAt == 0 {
		return &deaRec{DEA: DEA{ID: old.ID, Rev: s.rev, FirstSeen: old.FirstSeen, ChangedAt: s.now},
			num: old.num, born: old.born, seed: old.seed}
	}
	s.births++
	s.counts.DEAs++
	d := &deaRec{DEA: DEA{ID: id, Rev: s.rev, FirstSeen: s.now, ChangedAt: s.now},
		born: s.births, seed: xxh3.HashString(id)}
	if old != nil {
		s.counts.GoneDEAs--
		d.ID, d.num = old.ID, old.num
		return d
	}
	d.num = s.newDEA()
	s.names.Set(deaName{id: id, num: d.num})
	return d
}

func (s *State) newDEA() uint32 {
	t := s.scratch
	if n := len(t.freeDEAs); n > 0 {
		num := t.freeDEAs[n-1]
		t.freeDEAs = t.freeDEAs[:n-1]
		return num
	}
	return s.deas.push(nil)
}

// sortAdd sorts add by place. It moves each newcomer once: they are large.
func (t *scratch) sortAdd() {
	if len(t.add) < 2 {
		return
	}
	t.order = t.order[:0]
	for i := range t.add {
		t.order = append(t.order, addPlace{t.add[i].place(), int32(i)})
	}
	slices.SortFunc(t.order, func(a, b addPlace) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.nth, b.nth))
	})
	t.sorted = t.sorted[:0]
	for _, o := range t.order {
		t.sorted = append(t.sorted, t.add[o.nth])
	}
	t.add, t.sorted = t.sorted, t.add
}

// addPlace is the place of scratch.add[nth].
type addPlace struct {
	place uint64
	nth   int32
}

// replaceDEA replaces a DEA's record by next. It fills next with the n instances that base has without scratch.drop and
// with scratch.add. old is the replaced record, or nil; base is old, or an empty record.
func (s *State) replaceDEA(old, base, next *deaRec, n int) {
	t := s.scratch
	t.places, t.lost = t.places[:0], t.lost[:0]
	for i, gone := range t.drop {
		if gone {
			p := &base.inst[i]
			s.sum.sub(t.enc.instance(base.seed, p, base.guid(i), s.apps.key(p.app)))
			s.countInstance(p.state, p.app, -1)
			t.places = append(t.places, p.place())
			if p.state == actual.Crashed {
				t.lost = append(t.lost, lostCrash{p.place(), base.guid(i)})
			}
		}
	}
	for i := range t.add {
		c := &t.add[i]
		s.sum.add(t.enc.instance(next.seed, &c.packed, c.text, s.apps.key(c.app)))
		s.countInstance(c.state, c.app, 1)
		t.places = append(t.places, c.place())
	}
	t.sortAdd()
	next.inst, next.side = base.merge(t.drop, t.add, n)
	next.Len = len(next.inst)
	if old != nil {
		s.sum.sub(t.enc.dea(old))
	}
	s.sum.add(t.enc.dea(next))
	*s.deas.mut(next.num) = next
	s.updateApps(base, next)
}

func (s *State) countInstance(st actual.State, h Handle, by int) {
	s.counts.Instances += by
	switch st {
	case actual.Starting:
		s.counts.Starting += by
	case actual.Running:
		s.counts.Running += by
	case actual.Crashed:
		s.counts.Crashed += by
		s.apps.mut(h).crashes += uint32(by)
	case actual.Evacuating:
		s.counts.Evacuating += by
	}
}

// updateApps updates the records of the apps at scratch.places after a DEA's record changed from base to next.
func (s *State) updateApps(base, next *deaRec) {
	places, lost := s.scratch.places, s.scratch.lost
	slices.Sort(places)
	slices.SortFunc(lost, func(a, b lostCrash) int { return cmp.Compare(a.place, b.place) })
	places = slices.Compact(places)
	for i := 0; i < len(places); {
		h := Handle(places[i] >> 32)
		s.touch(h)
		oldLo, oldHi := base.of(h)
		lo, hi := next.of(h)
		rec := s.apps.mut(h)
		rec.instances += uint32((hi - lo) - (oldHi - oldLo))
		switch {
		case oldLo == oldHi && lo < hi:
			s.apps.addDEA(h, next.num)
		case oldLo < oldHi && lo == hi:
			s.apps.removeDEA(h, next.num)
		}
		crashes := rec.crashes > 0 || len(s.scratch.lost) > 0
		for ; i < len(places) && Handle(places[i]>>32) == h; i++ {
			if crashes {
				s.indexChanged(h, uint32(places[i]))
			}
		}
	}
}
