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
	place uint64 // the app and the index
	guid  app.GUID
	mark  actual.CrashMark
	at    app.Time
}

func (m *markRec) app() Handle   { return Handle(m.place >> 32) }
func (m *markRec) index() uint32 { return uint32(m.place) }

func (m *markRec) less(o *markRec) bool {
	if m.place != o.place { // nearly always
		return m.place < o.place
	}
	return m.guid.Compare(o.guid) < 0
}

// lostCrash is a crashed instance that is being removed.
type lostCrash struct {
	place uint64
	guid  app.GUID
}

// lostAt returns the crashed instances of app h at index that are being removed. t.lost is sorted by place.
func (t *scratch) lostAt(h Handle, index uint32) []lostCrash {
	place := placeOf(h, index)
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
func (s *State) markOf(h Handle, index uint32, g app.GUID) actual.CrashMark {
	if s.marks.Len() == 0 {
		return actual.CrashNew
	}
	m, ok := s.marks.Get(markRec{place: placeOf(h, index), guid: g})
	if !ok {
		return actual.CrashNew
	}
	return m.mark
}

// markCounted marks the crash of instance g as counted: a restart of app h at index was scheduled for it. The restart
// also answers the other crashes that are listed there, so they are marked too.
func (s *State) markCounted(h Handle, index uint32, g app.GUID) {
	listed := append(s.crashedAt(h, index), g)
	for _, g := range listed {
		if !g.IsZero() && s.markOf(h, index, g) == actual.CrashNew {
			s.setMark(h, index, g, actual.CrashCounted)
		}
	}
}

// markOld marks a crash as counted that a DEA lists in its first heartbeat while a restart at the index is awaited: the
// crash may be older than the one that the restart is for.
func (s *State) markOld(h Handle, index uint32, g app.GUID) {
	c, ok := s.crash(s.apps.key(h), index)
	if ok && c.Count > 0 && !c.Answered && c.Exited != g && s.markOf(h, index, g) == actual.CrashNew {
		s.setMark(h, index, g, actual.CrashCounted)
	}
}

// markAnswered marks every crash that is or was listed at index of app h as answered: an instance is live there. It
// drops the marks of crashed instances that are live again.
func (s *State) markAnswered(h Handle, index uint32) {
	crashed := s.crashedAt(h, index)
	for _, l := range s.scratch.lostAt(h, index) {
		crashed = append(crashed, l.guid)
	}
	for _, m := range s.marksAt(h, index) {
		crashed = append(crashed, m.guid)
	}
	for _, g := range crashed {
		switch was := s.markOf(h, index, g); {
		case s.liveAt(h, index, g):
			s.dropMark(h, index, g)
		case was != actual.CrashAnswered:
			s.setMark(h, index, g, actual.CrashAnswered)
		}
	}
}

// markLost sets the time of the marks whose instances are being removed.
func (s *State) markLost(h Handle, index uint32) {
	for _, l := range s.scratch.lostAt(h, index) {
		if m := s.markOf(h, index, l.guid); m != actual.CrashNew {
			s.setMark(h, index, l.guid, m)
		}
	}
}

// setMark marks a crash.
func (s *State) setMark(h Handle, index uint32, g app.GUID, mark actual.CrashMark) {
	s.touch(h)
	m := markRec{place: placeOf(h, index), guid: g, mark: mark, at: s.now}
	k := s.apps.key(h)
	old, had := s.marks.Set(m)
	if had {
		s.sum.sub(s.scratch.enc.mark(&k, &old))
	} else {
		s.apps.mut(h).crashes++
	}
	s.sum.add(s.scratch.enc.mark(&k, &m))
	if !had {
		s.boundMarks(h, index)
	}
}

// boundMarks drops the oldest mark of an unlisted instance if the index has too many of them.
func (s *State) boundMarks(h Handle, index uint32) {
	all := s.marksAt(h, index)
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
	old, ok := s.marks.Delete(markRec{place: placeOf(h, index), guid: g})
	if !ok {
		return
	}
	s.touch(h)
	k := s.apps.key(h)
	s.sum.sub(s.scratch.enc.mark(&k, &old))
	s.apps.mut(h).crashes--
}

// marksOf returns the marks of an app, sorted by index and instance.
func (s *State) marksOf(h Handle) []markRec {
	return s.marksFrom(placeOf(h, 0), func(m *markRec) bool { return m.app() == h })
}

// marksAt returns the marks at an index of an app, sorted by instance.
func (s *State) marksAt(h Handle, index uint32) []markRec {
	place := placeOf(h, index)
	return s.marksFrom(place, func(m *markRec) bool { return m.place == place })
}

// marksFrom returns the marks from a place on for which in returns true, up to the first for which it does not.
func (s *State) marksFrom(place uint64, in func(m *markRec) bool) (out []markRec) {
	if s.marks.Len() == 0 {
		return nil
	}
	s.marks.Ascend(markRec{place: place}, func(m markRec) bool {
		if !in(&m) {
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// allMarks yields every mark. Those of an app come together, sorted by index and instance; the order of the apps is
// undefined.
func (s *State) allMarks() iter.Seq[markRec] {
	return func(yield func(markRec) bool) {
		s.marks.Scan(yield)
	}
}

// UnlistedMarks yields the crash marks of instances that are not listed as crashed. Those of an app come together, sorted
// by index and instance; the order of the apps is undefined.
func (s *State) UnlistedMarks() iter.Seq[CrashMarked] {
	return func(yield func(CrashMarked) bool) {
		s.marks.Scan(func(m markRec) bool {
			if slices.Contains(s.crashedAt(m.app(), m.index()), m.guid) {
				return true
			}
			return yield(CrashMarked{CrashRef{s.apps.key(m.app()), m.index(), m.guid}, m.mark, m.at})
		})
	}
}

func persistMarks(s *State, w *snapshotWriter) error {
	all := make([]placedMark, 0, s.marks.Len())
	for r := range s.allMarks() {
		all = append(all, placedMark{placeOf(Handle(w.position[r.app()]), r.index()), r})
	}
	slices.SortStableFunc(all, func(a, b placedMark) int { return cmp.Compare(a.written, b.written) })
	var m wire.SnapshotMarks
	for i := range all {
		r := &all[i].markRec
		m.Marks = append(m.Marks, &wire.SnapshotMark{
			App: appendKey(nil, s.apps.key(r.app())), Index: r.index(), Instance: r.guid.AppendWire(nil),
			Mark: uint32(r.mark), At: int64(r.at),
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

// placedMark is a crash mark that is written to a snapshot.
type placedMark struct {
	written uint64 // the app's position in the snapshot and the index, in one number
	markRec
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
		// The apps of a snapshot are in the order of their keys, and so are their handles.
		rec := markRec{place: placeOf(h, w.Index), guid: g, mark: mark, at: app.Time(w.At)}
		if last, any := r.s.marks.Max(); any && !last.less(&rec) {
			return fmt.Errorf("the crash mark of instance %s of app %s is out of order", g, k)
		}
		r.s.marks.Set(rec)
		r.s.apps.mut(h).crashes++
		r.s.sum.add(r.s.scratch.enc.mark(&k, &rec))
	}
	return nil
}
