package raftfsm

import (
	"cmp"
	"maps"
	"slices"

	"hm/actual"
	"hm/internal/app"
)

func (s *model) applyDEAChanges(r DEAChanges) error {
	if !actual.ValidDEA(r.DEA) {
		return ErrInvalid
	}
	for _, i := range r.Upserts {
		if !validKey(i.App) || i.GUID.IsZero() || i.Index > actual.MaxIndex || i.State < 1 || i.State > 6 {
			return ErrInvalid
		}
	}
	d := s.deas[r.DEA]
	after := map[app.GUID]modelInstance{}
	if d != nil && d.GoneAt == 0 {
		after = maps.Clone(d.inst)
	}
	for _, g := range r.Removes {
		delete(after, g)
	}
	for _, i := range r.Upserts {
		i.Since = min(max(i.Since, 0), MaxSince)
		after[i.GUID] = modelInstance{i, s.heardAt(d, i)}
	}
	if len(after) > actual.MaxInstances {
		return ErrInvalid
	}
	first := false
	if d == nil || d.GoneAt != 0 {
		s.born++
		d = &modelDEA{DEA: DEA{ID: r.DEA, FirstSeen: s.now, ChangedAt: s.now, Rev: s.rev}, born: s.born, inst: map[app.GUID]modelInstance{}}
		s.deas[r.DEA] = d
		first = true
	}
	if maps.Equal(d.inst, after) {
		return nil
	}
	d.Rev, d.ChangedAt = s.rev, s.now
	before := d.inst
	grew := map[app.Key]bool{}
	fresh := map[CrashRef]bool{}
	for g, i := range after {
		found := false
		for _, o := range s.deas {
			if x, ok := o.inst[g]; ok && x.App == i.App {
				found = true
			}
		}
		if !found {
			grew[i.App] = true
			ref := CrashRef{App: i.App, Index: i.Index}
			fresh[ref] = true
			if c := s.crashes[ref]; first && i.State == actual.Crashed && c.Count > 0 && !c.Answered && c.Exited != g {
				s.app(i.App)
				s.markIfNew(ref, g, actual.CrashCounted)
			}
		}
	}
	d.inst = after
	var changed []CrashRef
	lost := map[CrashRef][]app.GUID{}
	for g, i := range before {
		if after[g] != i {
			ref := CrashRef{App: i.App, Index: i.Index}
			changed = append(changed, ref)
			if i.State == actual.Crashed {
				lost[ref] = append(lost[ref], g)
			}
		}
	}
	for g, i := range after {
		if before[g] != i {
			s.app(i.App)
			changed = append(changed, CrashRef{App: i.App, Index: i.Index})
		}
	}
	for k := range grew {
		s.app(k).grewAt = s.now
	}
	s.changed(changed, lost, fresh)
	return nil
}

// heardAt returns when an instance that d lists was recorded in its present state. d is nil if the DEA is not recorded.
func (s *model) heardAt(d *modelDEA, i actual.Instance) app.Time {
	if d != nil {
		if o, ok := d.inst[i.GUID]; ok && o.App == i.App {
			if o.State == i.State {
				return o.heard
			}
			return s.now
		}
	}
	var newest *modelDEA
	for _, o := range s.deas {
		if x, ok := o.inst[i.GUID]; ok && x.App == i.App && (newest == nil || o.born > newest.born) {
			newest = o
		}
	}
	if newest != nil && newest.inst[i.GUID].State == i.State {
		return newest.inst[i.GUID].heard
	}
	return s.now
}

// changed updates what depends on the instances at these indices.
func (s *model) changed(refs []CrashRef, lost map[CrashRef][]app.GUID, fresh map[CrashRef]bool) {
	slices.SortFunc(refs, func(a, b CrashRef) int { return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index)) })
	for _, c := range slices.Compact(refs) {
		s.touch(c.App)
		for _, g := range lost[c] {
			if m, ok := s.marks[CrashRef{c.App, c.Index, g}]; ok {
				s.setMark(c, g, m.mark)
			}
		}
		s.answer(c, lost[c])
		if r, ok := s.crashes[c]; ok && fresh[c] {
			r.Tries, r.TriedAt = 0, 0
			s.crashes[c] = r
		}
		s.refresh(c)
	}
}

func (s *model) clearDEA(d *modelDEA) {
	var changed []CrashRef
	lost := map[CrashRef][]app.GUID{}
	for g, i := range d.inst {
		ref := CrashRef{App: i.App, Index: i.Index}
		changed = append(changed, ref)
		if i.State == actual.Crashed {
			lost[ref] = append(lost[ref], g)
		}
	}
	d.inst = map[app.GUID]modelInstance{}
	d.Len = 0
	s.changed(changed, lost, nil)
}
