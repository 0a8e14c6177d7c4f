package raftfsm

import (
	"fmt"

	"hm/commands"
	"hm/internal/app"
)

// MaxTime is the latest hm time: the end of the year 2199. A later entry is refused, because hm time never goes back
// and would stay there. There is room for sums of times: a count of nanoseconds since 1970 overflows in the year 2262.
const MaxTime = app.Time(7258118399999)

// Apply records one entry. It depends on nothing but the state and its arguments, so every replica gets the same state
// and the same Result. The state keeps the records of e: nobody may change them afterwards. An entry with an earlier
// time than Time is applied as if it had that time.
//
// A record that is invalid, or that was decided on something that has changed, is refused in the Result. One record,
// or one command in a record of commands, is recorded whole or not at all. Apply panics only on a frozen state.
func (s *State) Apply(index, term uint64, e Entry) Result {
	if s.frozen {
		panic("raftfsm: Apply on a frozen state: it is a copy, apply to the state that it was made from")
	}
	s.index, s.term = index, term
	if e.At < 0 || e.At > MaxTime {
		return Result{Err: fmt.Errorf("%w: %d ms", ErrTime, int64(e.At))}
	}
	s.now = max(s.now, e.At, 1) // a recorded time of 0 means never
	s.rev = max(s.rev+1, index)
	res := Result{At: s.now}
	a := applier{State: s, res: &res}
	for i, r := range e.Records {
		a.record = i
		if err := a.apply(r); err != nil {
			a.refuse(commands.ID{}, err)
		}
	}
	a.finish()
	return res
}

// applier applies one entry.
type applier struct {
	*State
	res    *Result
	record int // position of the record that is being applied
}

func (a *applier) apply(r Record) error {
	if r == nil {
		return fmt.Errorf("%w: the record is nil", ErrInvalid)
	}
	if _, ok := r.(Unknown); ok {
		return nil
	}
	k := r.Kind()
	if k == 0 || k > MaxKind {
		return fmt.Errorf("%w: this version does not know %s", ErrInvalid, k)
	}
	return kinds[k].apply(a, r)
}

func (a *applier) refuse(id commands.ID, err error) {
	a.res.Refused = append(a.res.Refused, Refusal{Record: a.record, ID: id, Err: err})
}

// finish ends an entry: it removes the apps that nothing refers to any more and adds the others to the hash again.
// While a hold keeps the gate closed crash records stay: the app may be missing because of the error that the hold is
// for (I6).
func (a *applier) finish() {
	t := a.scratch
	if len(t.touched) == 0 {
		return
	}
	a.res.Touched = make([]app.Key, len(t.touched))
	for i, h := range t.touched {
		rec, k := a.apps.get(h), a.apps.key(h)
		a.res.Touched[i] = k
		if !rec.has && rec.instances == 0 {
			if rec.crashes > 0 && !a.held() {
				a.dropCrashes(h)
				rec = a.apps.get(h)
			}
			if rec.crashes == 0 && !a.HasCommands(k) {
				a.release(h)
				continue
			}
		}
		a.sum.add(t.enc.app(k, rec, a.letterCase(h)))
	}
	for _, h := range t.touched {
		t.seen[h/64] &^= 1 << (h % 64)
	}
	t.touched = t.touched[:0]
}

// scratch holds the buffers of Apply, so that they are allocated once. It is not part of the state.
type scratch struct {
	enc      encoding
	touched  []Handle // apps that this entry changed; their hashes are not in the sum until finish
	seen     []uint64 // touched as a bit set
	freeApps []Handle
	freeDEAs []uint32
	byGUID   map[app.GUID]int32
	last     map[app.GUID]int32
	drop     []bool
	apps     []Handle // of the upserts, as findAll gives them
	hashes   []uint64
	add      []newcomer
	sorted   []newcomer // add, while it is sorted
	order    []addPlace
	places   []uint64
	lost     []lostCrash // crashed instances that leave the record
	fresh    []uint64    // places of instances whose guid is new for the app
	versions []Handle
}

// touch must be called before a record of app h is changed.
func (s *State) touch(h Handle) {
	if s.addTouched(h) {
		s.sum.sub(s.scratch.enc.app(s.apps.key(h), s.apps.get(h), s.letterCase(h)))
	}
}

// addTouched notes that this entry changes app h. It returns false if that was noted before.
func (s *State) addTouched(h Handle) bool {
	t := s.scratch
	for int(h/64) >= len(t.seen) {
		t.seen = append(t.seen, 0)
	}
	if t.seen[h/64]&(1<<(h%64)) != 0 {
		return false
	}
	t.seen[h/64] |= 1 << (h % 64)
	t.touched = append(t.touched, h)
	return true
}

// intern finds the record of an app or makes one. A new record counts as touched.
func (s *State) intern(k app.Key) Handle {
	if h, ok := s.lookup.find(&s.apps, k); ok {
		return h
	}
	h := s.newApp(k)
	s.addTouched(h)
	return h
}

func (s *State) newApp(k app.Key) Handle {
	t := s.scratch
	var h Handle
	if n := len(t.freeApps); n > 0 {
		h = t.freeApps[n-1]
		t.freeApps = t.freeApps[:n-1]
		s.apps.set(h, k, appRec{})
	} else {
		h = s.apps.push(k, appRec{})
	}
	s.lookup.add(&s.apps, h)
	return h
}

func (s *State) release(h Handle) {
	s.lookup.remove(&s.apps, h)
	s.apps.set(h, app.Key{}, appRec{})
	s.scratch.freeApps = append(s.scratch.freeApps, h)
}

func validKey(k app.Key) bool { return !k.Droplet.IsZero() && !k.Version.IsZero() }

// clip cuts a text, which only people read, to at most n bytes.
func clip(s string, n int) string { return s[:min(len(s), n)] }
