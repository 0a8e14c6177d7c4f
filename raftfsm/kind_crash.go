package raftfsm

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// CrashRef names one crash record or one crash mark.
type CrashRef struct {
	App      app.Key
	Index    uint32
	Instance app.GUID // zero: the crash record of the index; else the crash mark of this instance
}

// CrashesForgotten drops crash records and crash marks. It ignores the ones that do not exist.
type CrashesForgotten struct{ Crashes []CrashRef }

// Kind is KindCrashesForgotten.
func (CrashesForgotten) Kind() Kind { return KindCrashesForgotten }

func applyCrashesForgotten(a *applier, r CrashesForgotten) error {
	for _, ref := range r.Crashes {
		if h, ok := a.lookup.find(&a.apps, ref.App); ok {
			if ref.Instance.IsZero() {
				a.dropCrash(h, ref.Index)
			} else {
				a.dropMark(h, ref.Index, ref.Instance)
			}
		}
	}
	return nil
}

// crash returns the crash record of an index. If there is none, only Index is set.
func (s *State) crash(k app.Key, index uint32) (actual.Crash, bool) {
	pivot := crashRec{key: k, Crash: actual.Crash{Index: index}}
	if s.crashes.Len() == 0 {
		return pivot.Crash, false
	}
	r, ok := s.crashes.Get(orderCrash(&pivot))
	if !ok {
		return pivot.Crash, false
	}
	return r.c.Crash, true
}

// setCrash records c for app h. First it updates the fields that depend on the instances at the index. Once another
// instance is live, an earlier crash or exit is answered: a later loss must not look like a crash because of it.
func (s *State) setCrash(h Handle, c actual.Crash) {
	running := s.anyAt(h, c.Index, isRunning)
	if !c.Exited.IsZero() && s.liveBeside(h, c.Index, c.Exited) {
		c.Exited, c.ExitedAt, c.ExitReason = app.GUID{}, 0, 0
	}
	if !c.Answered && c.Count > 0 && s.liveBeside(h, c.Index, c.Instance) {
		c.Answered = true
	}
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
	s.touch(h)
	rec := &crashRec{key: s.apps.key(h), Crash: c}
	old, had := s.crashes.Set(orderCrash(rec))
	if had {
		s.sum.sub(s.scratch.enc.crash(old.c.key, &old.c.Crash))
	} else {
		s.apps.mut(h).crashes++
	}
	s.sum.add(s.scratch.enc.crash(rec.key, &rec.Crash))
}

func isRunning(st actual.State) bool { return st == actual.Running }

// indexChanged updates what depends on the instances of app h at index after they changed. A live instance answers the
// crashes there. The crash record of the index counts how long an instance has been running (W20), and the starts
// without effect (W23): a new instance is an effect.
func (s *State) indexChanged(h Handle, index uint32) {
	s.markLost(h, index)
	if s.anyAt(h, index, actual.State.Live) {
		s.markAnswered(h, index)
	}
	c, ok := s.crash(s.apps.key(h), index)
	if !ok {
		return
	}
	was := c
	if _, fresh := slices.BinarySearch(s.scratch.fresh, placeOf(h, index)); fresh {
		c.Tries, c.TriedAt = 0, 0
	}
	running := s.anyAt(h, index, isRunning)
	if c != was || running && c.Tries > 0 || running != (c.RunningSince != 0) ||
		!c.Exited.IsZero() && s.liveBeside(h, index, c.Exited) ||
		!c.Answered && c.Count > 0 && s.liveBeside(h, index, c.Instance) {
		s.setCrash(h, c)
	}
}

// forgetExits forgets the exits, and the starts without effect, of app h at indices that its desired row does not want.
// Otherwise a start that somebody asks for much later would count as the restart of a crash, or be delayed.
func (s *State) forgetExits(h Handle) {
	if s.apps.get(h).crashes == 0 {
		return
	}
	row := s.apps.row(h)
	for _, c := range s.Crashes(s.apps.key(h)) {
		switch {
		case c.Exited.IsZero() && c.Tries == 0 || row.Wanted() && c.Index < row.Instances:
		case c.Count == 0:
			s.dropCrash(h, c.Index)
		default:
			c.Exited, c.ExitedAt, c.ExitReason = app.GUID{}, 0, 0
			c.Tries, c.TriedAt = 0, 0
			s.setCrash(h, c)
		}
	}
}

// countFailedStart counts a start of app h at index that was claimed at this time and had no effect.
func (s *State) countFailedStart(h Handle, index uint32, at app.Time) {
	if row := s.apps.row(h); !row.Wanted() || index >= row.Instances {
		return
	}
	c, _ := s.crash(s.apps.key(h), index)
	c.Tries, c.TriedAt = min(c.Tries+1, maxTries), at
	s.setCrash(h, c)
}

// maxTries is the highest count of starts without effect.
const maxTries = 1 << 20

func (s *State) dropCrash(h Handle, index uint32) {
	old, ok := s.crashes.Delete(orderCrash(&crashRec{key: s.apps.key(h), Crash: actual.Crash{Index: index}}))
	if !ok {
		return
	}
	s.touch(h)
	s.sum.sub(s.scratch.enc.crash(old.c.key, &old.c.Crash))
	s.apps.mut(h).crashes--
}

func (s *State) dropCrashes(h Handle) {
	k := s.apps.key(h)
	for _, c := range s.Crashes(k) {
		s.dropCrash(h, c.Index)
	}
	for _, m := range s.marksOf(h) {
		s.dropMark(h, m.index(), m.guid)
	}
}

func encodeCrashesForgotten(r CrashesForgotten) ([]byte, error) {
	m := wire.CrashRefs{Index: make([]uint32, len(r.Crashes))}
	for i, ref := range r.Crashes {
		m.Keys = appendKey(m.Keys, ref.App)
		m.Index[i] = ref.Index
		m.Instances = ref.Instance.AppendWire(m.Instances)
	}
	return marshal(&m)
}

func decodeCrashesForgotten(b []byte) (CrashesForgotten, error) {
	var m wire.CrashRefs
	if err := unmarshal(b, &m); err != nil {
		return CrashesForgotten{}, err
	}
	var r CrashesForgotten
	keys, instances := column{b: m.Keys}, column{b: m.Instances}
	for _, index := range m.Index {
		r.Crashes = append(r.Crashes, CrashRef{App: keys.key(), Index: index, Instance: instances.guid()})
	}
	return r, firstError(keys.end("keys"), instances.end("instances"))
}

func persistCrashes(s *State, w *snapshotWriter) error {
	m := wire.SnapshotCrashes{}
	for k, c := range s.AllCrashes() {
		m.Crashes = append(m.Crashes, &wire.SnapshotCrash{
			App: appendKey(nil, k), Index: c.Index, Count: c.Count, First: int64(c.First), Last: int64(c.Last),
			Instance: c.Instance.AppendWire(nil), Exited: c.Exited.AppendWire(nil), RunningSince: int64(c.RunningSince),
			Ran: int64(c.Ran), ExitedAt: int64(c.ExitedAt), ExitReason: uint32(c.ExitReason), Answered: c.Answered,
			Tries: c.Tries, TriedAt: int64(c.TriedAt),
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
		reason, err4 := small[actual.ExitReason](c.ExitReason, "exit reason")
		if err := firstError(known(c), err1, err2, err3, err4); err != nil {
			return err
		}
		h, ok := r.s.lookup.find(&r.s.apps, k)
		if !ok || c.Index > actual.MaxIndex {
			return fmt.Errorf("invalid crash record of app %s, index %d: the app is not recorded, or the index is too large",
				k, c.Index)
		}
		rec := &crashRec{key: k, Crash: actual.Crash{
			Index: c.Index, Count: c.Count, First: app.Time(c.First), Last: app.Time(c.Last),
			Instance: instance, Exited: exited, RunningSince: app.Time(c.RunningSince), Ran: time.Duration(c.Ran),
			ExitedAt: app.Time(c.ExitedAt), ExitReason: reason, Answered: c.Answered, Tries: c.Tries, TriedAt: app.Time(c.TriedAt),
		}}
		if last, any := r.s.crashes.Max(); any && last.compare(orderCrash(rec)) >= 0 {
			return fmt.Errorf("the crash record of app %s, index %d is out of order", k, c.Index)
		}
		r.s.crashes.Set(orderCrash(rec))
		r.s.apps.mut(h).crashes++
		r.s.sum.add(r.s.scratch.enc.crash(k, &rec.Crash))
	}
	return nil
}

// Crashes returns an app's crash records, sorted by index.
func (s *State) Crashes(k app.Key) []actual.Crash {
	var out []actual.Crash
	s.crashes.Ascend(orderCrash(&crashRec{key: k}), func(r orderedCrash) bool {
		if r.c.key != k {
			return false
		}
		out = append(out, r.c.Crash)
		return true
	})
	return out
}

// AllCrashes yields every crash record, sorted by app and index.
func (s *State) AllCrashes() iter.Seq2[app.Key, actual.Crash] {
	return func(yield func(app.Key, actual.Crash) bool) {
		s.crashes.Scan(func(r orderedCrash) bool { return yield(r.c.key, r.c.Crash) })
	}
}
