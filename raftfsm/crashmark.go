package raftfsm

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// maxMarks is how many crash marks an index keeps of instances that no DEA lists any more. Then the oldest is dropped.
const maxMarks = 64

// CrashMarked is the crash mark of one instance.
type CrashMarked struct {
	CrashRef
	Mark actual.CrashMark
	At   app.Time // when the mark was set, or when the DEA listed the instance for the last time
}

// markRec is the crash mark of one instance. It stays when no DEA lists the instance any more: a DEA may list it again.
type markRec struct {
	key   app.Key
	index uint32
	guid  app.GUID
	mark  actual.CrashMark
	at    app.Time
}

func compareMark(a, b *markRec) int {
	if n := a.key.Compare(b.key); n != 0 { // nearly always
		return n
	}
	if n := cmp.Compare(a.index, b.index); n != 0 {
		return n
	}
	return a.guid.Compare(b.guid)
}

// lostCrash is a crashed instance that is being removed.
type lostCrash struct {
	place uint64
	guid  app.GUID
}

// lostAt returns the crashed instances of app h at index that are being removed. t.lost is sorted by place.
func (t *scratch) lostAt(h Handle, index uint32) []lostCrash {
	place := uint64(h)<<32 | uint64(index)
	from, _ := slices.BinarySearchFunc(t.lost, place, func(l lostCrash, place uint64) int {
		return cmp.Compare(l.place, place)
	})
	to := from
	for to < len(t.lost) && t.lost[to].place == place {
		to++
	}
	return t.lost[from:to]
}

// markOf returns the mark of a crash.
func (s *State) markOf(k app.Key, index uint32, g app.GUID) actual.CrashMark {
	if s.marks.Len() == 0 {
		return actual.CrashNew
	}
	m, ok := s.marks.Get(markRec{key: k, index: index, guid: g})
	if !ok {
		return actual.CrashNew
	}
	return m.mark
}

// markCounted marks the crash of instance g as counted: a restart of app h at index was scheduled for it. The restart
// also answers the other crashes that are listed there, so they are marked too.
func (s *State) markCounted(h Handle, index uint32, g app.GUID) {
	k := s.apps.key(h)
	listed := append(s.crashedAt(h, index), g)
	for _, g := range listed {
		if !g.IsZero() && s.markOf(k, index, g) == actual.CrashNew {
			s.setMark(h, index, g, actual.CrashCounted)
		}
	}
}

// markOld marks a crash as counted that a DEA lists in its first heartbeat while a restart at the index is awaited: the
// crash may be older than the one that the restart is for.
func (s *State) markOld(h Handle, index uint32, g app.GUID) {
	k := s.apps.key(h)
	c, ok := s.crash(k, index)
	if ok && c.Count > 0 && !c.Answered && c.Exited != g && s.markOf(k, index, g) == actual.CrashNew {
		s.setMark(h, index, g, actual.CrashCounted)
	}
}

// markAnswered marks every crash that is or was listed at index of app h as answered: an instance is live there. It
// drops the marks of crashed instances that are live again.
func (s *State) markAnswered(h Handle, index uint32) {
	k := s.apps.key(h)
	crashed := s.crashedAt(h, index)
	for _, l := range s.scratch.lostAt(h, index) {
		crashed = append(crashed, l.guid)
	}
	for _, m := range s.marksOf(k, &index) {
		crashed = append(crashed, m.guid)
	}
	for _, g := range crashed {
		switch was := s.markOf(k, index, g); {
		case s.liveAt(h, index, g):
			s.dropMark(h, index, g)
		case was != actual.CrashAnswered:
			s.setMark(h, index, g, actual.CrashAnswered)
		}
	}
}

// markLost sets the time of the marks whose instances are being removed.
func (s *State) markLost(h Handle, index uint32) {
	k := s.apps.key(h)
	for _, l := range s.scratch.lostAt(h, index) {
		if m := s.markOf(k, index, l.guid); m != actual.CrashNew {
			s.setMark(h, index, l.guid, m)
		}
	}
}

// setMark marks a crash.
func (s *State) setMark(h Handle, index uint32, g app.GUID, mark actual.CrashMark) {
	s.touch(h)
	m := markRec{key: s.apps.key(h), index: index, guid: g, mark: mark, at: s.now}
	old, had := s.marks.Set(m)
	if had {
		s.sum.sub(s.scratch.enc.mark(&old))
	} else {
		s.apps.mut(h).crashes++
	}
	s.sum.add(s.scratch.enc.mark(&m))
	if !had {
		s.boundMarks(h, index)
	}
}

// boundMarks drops the oldest mark of an unlisted instance if the index has too many of them.
func (s *State) boundMarks(h Handle, index uint32) {
	k := s.apps.key(h)
	all := s.marksOf(k, &index)
	if len(all) <= maxMarks {
		return
	}
	listed := s.crashedAt(h, index)
	var oldest *markRec
	unlisted := 0
	for i := range all {
		if slices.Contains(listed, all[i].guid) {
			continue
		}
		if unlisted++; oldest == nil || all[i].at < oldest.at {
			oldest = &all[i]
		}
	}
	if unlisted > maxMarks {
		s.dropMark(h, index, oldest.guid)
	}
}

func (s *State) dropMark(h Handle, index uint32, g app.GUID) {
	old, ok := s.marks.Delete(markRec{key: s.apps.key(h), index: index, guid: g})
	if !ok {
		return
	}
	s.touch(h)
	s.sum.sub(s.scratch.enc.mark(&old))
	s.apps.mut(h).crashes--
}

// marksOf returns the marks of an app, or those at one index if index is not nil, sorted.
func (s *State) marksOf(k app.Key, index *uint32) (out []markRec) {
	if s.marks.Len() == 0 {
		return nil
	}
	pivot := markRec{key: k}
	if index != nil {
		pivot.index = *index
	}
	s.marks.Ascend(pivot, func(m markRec) bool {
		if m.key != k || index != nil && m.index != *index {
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// allMarks yields every mark, sorted.
func (s *State) allMarks() iter.Seq[markRec] {
	return func(yield func(markRec) bool) {
		s.marks.Scan(yield)
	}
}

// UnlistedMarks yields the crash marks of instances that are not listed as crashed, sorted by app, index and instance.
func (s *State) UnlistedMarks() iter.Seq[CrashMarked] {
	return func(yield func(CrashMarked) bool) {
		for m := range s.allMarks() {
			h, ok := s.lookup.find(&s.apps, m.key)
			if !ok || slices.Contains(s.crashedAt(h, m.index), m.guid) {
				continue
			}
			if !yield(CrashMarked{CrashRef{m.key, m.index, m.guid}, m.mark, m.at}) {
				return
			}
		}
	}
}

func persistMarks(s *State, w *snapshotWriter) error {
	var m wire.SnapshotMarks
	for r := range s.allMarks() {
		m.Marks = append(m.Marks, &wire.SnapshotMark{
			App: appendKey(nil, r.key), Index: r.index, Instance: r.guid.AppendWire(nil), Mark: uint32(r.mark), At: int64(r.at),
		})
		if len(m.Marks) == snapshotChunk {
			if err := w.record(SectionMarks, &m); err != nil {
				return err
			}
			m.Marks = m.Marks[:0]
		}
	}
	if len(m.Marks) == 0 {
		return nil
	}
	return w.record(SectionMarks, &m)
}

func restoreMarks(r *restorer, body []byte) error {
	var m wire.SnapshotMarks
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	for _, w := range m.Marks {
		k, err1 := oneKey(w.App, "app")
		g, err2 := oneGUID(w.Instance, "instance")
		mark, err3 := small[actual.CrashMark](w.Mark, "mark")
		if err := firstError(known(w), err1, err2, err3); err != nil {
			return err
		}
		h, ok := r.s.lookup.find(&r.s.apps, k)
		if !ok || g.IsZero() || w.Index > actual.MaxIndex || mark != actual.CrashCounted && mark != actual.CrashAnswered {
			return fmt.Errorf("invalid crash mark %d of instance %q of app %s, index %d", mark, g, k, w.Index)
		}
		rec := markRec{key: k, index: w.Index, guid: g, mark: mark, at: app.Time(w.At)}
		if last, any := r.s.marks.Max(); any && compareMark(&last, &rec) >= 0 {
			return fmt.Errorf("the crash mark of instance %s of app %s is out of order", g, k)
		}
		r.s.marks.Set(rec)
		r.s.apps.mut(h).crashes++
		r.s.sum.add(r.s.scratch.enc.mark(&rec))
	}
	return nil
}
