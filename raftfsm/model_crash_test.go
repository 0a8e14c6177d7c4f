package raftfsm

import (
	"maps"
	"slices"

	"hm/actual"
	"hm/internal/app"
)

func (s *model) applyExit(x actual.Exit) error {
	if !validKey(x.App) || x.Instance.IsZero() || x.Index > actual.MaxIndex || x.Reason < 1 || x.Reason > 5 {
		return ErrInvalid
	}
	recorded := false
	for _, id := range slices.Sorted(maps.Keys(s.deas)) {
		d := s.deas[id]
		i, ok := d.inst[x.Instance]
		if !ok || i.App != x.App {
			continue
		}
		recorded = true
		was := i.State
		switch {
		case x.Reason == actual.ExitCrashed:
			i.State = actual.Crashed
		case (x.Reason == actual.ExitShutdown || x.Reason == actual.ExitEvacuation) && (i.State.Live() || i.State == actual.Unknown):
			i.State = actual.Evacuating
		}
		if i.State != was {
			i.heard = s.now
			d.inst[x.Instance] = i
			d.Rev, d.ChangedAt = s.rev, s.now
			s.changed([]CrashRef{{App: i.App, Index: i.Index}}, nil, nil)
		}
	}
	a := s.apps[x.App]
	if recorded || x.Reason > actual.ExitEvacuation || a == nil || !a.row.Wanted() || x.Index >= a.row.Instances {
		return nil
	}
	for _, i := range s.Instances(nil, x.App) {
		if i.Index == x.Index && i.State.Live() {
			return nil
		}
	}
	ref := CrashRef{App: x.App, Index: x.Index}
	c, ok := s.crashes[ref]
	if _, marked := s.marks[CrashRef{x.App, x.Index, x.Instance}]; marked || ok && (c.Instance == x.Instance || c.Exited == x.Instance) {
		return nil
	}
	c.Index, c.Exited, c.ExitedAt, c.ExitReason, c.Tries, c.TriedAt = x.Index, x.Instance, s.now, x.Reason, 0, 0
	s.crashes[ref] = c
	s.touch(x.App)
	s.refresh(ref)
	return nil
}

// answer marks the crashes at an index as answered if an instance is live there.
func (s *model) answer(ref CrashRef, lost []app.GUID) {
	live := map[app.GUID]bool{}
	for _, i := range s.Instances(nil, ref.App) {
		if i.Index == ref.Index && i.State.Live() {
			live[i.GUID] = true
		}
	}
	if len(live) == 0 {
		return
	}
	crashed := append(s.crashedAt(ref), lost...)
	for r := range s.marks {
		if r.App == ref.App && r.Index == ref.Index {
			crashed = append(crashed, r.Instance)
		}
	}
	for _, g := range crashed {
		at := CrashRef{ref.App, ref.Index, g}
		switch {
		case live[g]:
			delete(s.marks, at)
		case s.marks[at].mark != actual.CrashAnswered:
			s.setMark(ref, g, actual.CrashAnswered)
		}
	}
}

func (s *model) crashedAt(ref CrashRef) (guids []app.GUID) {
	for _, d := range s.deas {
		for g, i := range d.inst {
			if i.App == ref.App && i.Index == ref.Index && i.State == actual.Crashed {
				guids = append(guids, g)
			}
		}
	}
	return guids
}

func (s *model) setMark(ref CrashRef, g app.GUID, mark actual.CrashMark) {
	s.marks[CrashRef{ref.App, ref.Index, g}] = modelMark{mark, s.now}
}

func (s *model) markIfNew(ref CrashRef, g app.GUID, mark actual.CrashMark) {
	if s.marks[CrashRef{ref.App, ref.Index, g}].mark == actual.CrashNew {
		s.setMark(ref, g, mark)
	}
}

// refresh updates the crash record of an index after its instances changed.
func (s *model) refresh(ref CrashRef) {
	c, ok := s.crashes[ref]
	if !ok {
		return
	}
	running, answered, ran := false, false, false
	for _, i := range s.Instances(nil, ref.App) {
		running = running || i.Index == ref.Index && i.State == actual.Running
		answered = answered || i.Index == ref.Index && i.State.Live() && i.GUID != c.Exited
		ran = ran || i.Index == ref.Index && i.State.Live() && i.GUID != c.Instance
	}
	if answered {
		c.Exited, c.ExitedAt, c.ExitReason = app.GUID{}, 0, 0
	}
	c.Answered = c.Answered || c.Count > 0 && ran
	if running {
		c.Tries, c.TriedAt = 0, 0
	}
	switch {
	case running && c.RunningSince == 0:
		c.RunningSince = s.now
	case !running && c.RunningSince != 0:
		c.Ran += s.now.Sub(c.RunningSince)
		c.RunningSince = 0
	}
	s.crashes[ref] = c
}
