package raftfsm

import (
	"fmt"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// CrashRef names one crash record.
type CrashRef struct {
	App   app.Key
	Index uint32
}

// CrashesForgotten drops crash records. One that does not exist is ignored.
type CrashesForgotten struct{ Crashes []CrashRef }

// Kind is KindCrashesForgotten.
func (CrashesForgotten) Kind() Kind { return KindCrashesForgotten }

func applyCrashesForgotten(a *application, r CrashesForgotten) error {
	for _, ref := range r.Crashes {
		if h, ok := a.lookup.find(&a.apps, ref.App); ok {
			a.dropCrash(h, ref.Index)
		}
	}
	return nil
}

// crash gives the crash record of an index, empty but for Index if there is none.
func (s *State) crash(k app.Key, index uint32) (actual.Crash, bool) {
	pivot := crashRec{key: k, Crash: actual.Crash{Index: index}}
	if s.crashes.Len() == 0 {
		return pivot.Crash, false
	}
	c, ok := s.crashes.Get(&pivot)
	if !ok {
		return pivot.Crash, false
	}
	return c.Crash, true
}

// setCrash records c for app h, with RunningSince and Ran brought in line with its instances. Once another instance is
// live, an exit heard before is answered: it must not make a later loss look like a crash.
func (s *State) setCrash(h Handle, c actual.Crash) {
	running := s.anyAt(h, c.Index, isRunning)
	if !c.Exited.IsZero() && s.liveBeside(h, c.Index, c.Exited) {
		c.Exited, c.ExitedAt = app.GUID{}, 0
	}
	switch {
	case running && c.RunningSince == 0:
		c.RunningSince = s.now
	case !running && c.RunningSince != 0:
		c.Ran += s.now.Sub(c.RunningSince)
		c.RunningSince = 0
	}
	s.touch(h)
	rec := &crashRec{key: s.apps.get(uint32(h)).key, Crash: c}
	old, had := s.crashes.Set(rec)
	if had {
		s.sum.sub(s.scratch.enc.crash(old.key, &old.Crash))
	} else {
		s.apps.mut(uint32(h)).crashes++
	}
	s.sum.add(s.scratch.enc.crash(rec.key, &rec.Crash))
}

func isRunning(st actual.State) bool { return st == actual.Running }

// watch is told that instances of app h at index changed: the index's crash record, if there is one, keeps how
// long an instance has been running (W20).
func (s *State) watch(h Handle, index uint32) {
	c, ok := s.crash(s.apps.get(uint32(h)).key, index)
	if !ok {
		return
	}
	answered := !c.Exited.IsZero() && s.liveBeside(h, index, c.Exited)
	if answered || s.anyAt(h, index, isRunning) != (c.RunningSince != 0) {
		s.setCrash(h, c)
	}
}

// forgetExits forgets the exits noted of app h at indices that are not wanted, as the app's row is now: they would make
// a crash of a start that somebody asks for much later.
func (s *State) forgetExits(h Handle) {
	rec := s.apps.get(uint32(h))
	if rec.crashes == 0 {
		return
	}
	row := rec.row()
	for _, c := range s.Crashes(rec.key) {
		switch {
		case c.Exited.IsZero() || row.Wanted() && c.Index < row.Instances:
		case c.Count == 0:
			s.dropCrash(h, c.Index)
		default:
			c.Exited, c.ExitedAt = app.GUID{}, 0
			s.setCrash(h, c)
		}
	}
}

func (s *State) dropCrash(h Handle, index uint32) {
	old, ok := s.crashes.Delete(&crashRec{key: s.apps.get(uint32(h)).key, Crash: actual.Crash{Index: index}})
	if !ok {
		return
	}
	s.touch(h)
	s.sum.sub(s.scratch.enc.crash(old.key, &old.Crash))
	s.apps.mut(uint32(h)).crashes--
}

func (s *State) dropCrashes(h Handle) {
	for _, c := range s.Crashes(s.apps.get(uint32(h)).key) {
		s.dropCrash(h, c.Index)
	}
}

func encodeCrashesForgotten(r CrashesForgotten) ([]byte, error) {
	m := wire.CrashRefs{Index: make([]uint32, len(r.Crashes))}
	for i, ref := range r.Crashes {
		m.Keys = appendKey(m.Keys, ref.App)
		m.Index[i] = ref.Index
	}
	return marshal(&m)
}

func decodeCrashesForgotten(b []byte) (CrashesForgotten, error) {
	var m wire.CrashRefs
	if err := unmarshal(b, &m); err != nil {
		return CrashesForgotten{}, err
	}
	var r CrashesForgotten
	keys := column{b: m.Keys}
	for _, index := range m.Index {
		r.Crashes = append(r.Crashes, CrashRef{App: keys.key(), Index: index})
	}
	return r, keys.end("keys")
}

func persistCrashes(s *State, w *snapshotWriter) error {
	m := wire.SnapshotCrashes{}
	for k, c := range s.AllCrashes() {
		m.Crashes = append(m.Crashes, &wire.SnapshotCrash{
			App: appendKey(nil, k), Index: c.Index, Count: c.Count, First: int64(c.First), Last: int64(c.Last),
			Instance: c.Instance.AppendWire(nil), Exited: c.Exited.AppendWire(nil), RunningSince: int64(c.RunningSince), Ran: int64(c.Ran), ExitedAt: int64(c.ExitedAt),
		})
		if len(m.Crashes) == snapshotChunk {
			if err := w.record(SectionCrashes, &m); err != nil {
				return err
			}
			m.Crashes = m.Crashes[:0]
		}
	}
	if len(m.Crashes) == 0 {
		return nil
	}
	return w.record(SectionCrashes, &m)
}

func restoreCrashes(r *restorer, body []byte) error {
	var m wire.SnapshotCrashes
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	for _, c := range m.Crashes {
		k, err1 := oneKey(c.App, "app")
		instance, err2 := oneGUID(c.Instance, "instance")
		exited, err3 := oneGUID(c.Exited, "exited")
		if err := firstError(known(c), err1, err2, err3); err != nil {
			return err
		}
		h, ok := r.s.lookup.find(&r.s.apps, k)
		if !ok || c.Index > actual.MaxIndex {
			return fmt.Errorf("crash record of app %s, index %d, which cannot be", k, c.Index)
		}
		rec := &crashRec{key: k, Crash: actual.Crash{Index: c.Index, Count: c.Count, First: app.Time(c.First), Last: app.Time(c.Last),
			Instance: instance, Exited: exited, RunningSince: app.Time(c.RunningSince), Ran: time.Duration(c.Ran), ExitedAt: app.Time(c.ExitedAt)}}
		if last, any := r.s.crashes.Max(); any && compareCrash(last, rec) >= 0 {
			return fmt.Errorf("crash record of app %s, index %d, out of order", k, c.Index)
		}
		r.s.crashes.Set(rec)
		r.s.apps.mut(uint32(h)).crashes++
		r.s.sum.add(r.s.scratch.enc.crash(k, &rec.Crash))
	}
	return nil
}
