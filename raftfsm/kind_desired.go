package raftfsm

import (
	"fmt"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// DesiredChanges is one part of the changes that a complete read of the desired state makes. It is only staged: it has
// no effect until its commit (I6). A part of a newer generation discards the staged parts of older ones. A part is
// refused if its generation is older than the staged one or not newer than the committed one, or if more than
// maxStagedRows rows would be staged. The leader gets the number of a read from State.NextGeneration.
type DesiredChanges struct {
	Generation uint64 // from 1
	Upserts    []desired.App
	Removes    []app.Key // applied before Upserts: a key in both stays
}

// Kind is KindDesiredChanges.
func (DesiredChanges) Kind() Kind { return KindDesiredChanges }

// DesiredCommit applies the staged parts of one generation, all at once. It is refused unless exactly Parts parts of
// the generation are staged and Base is the committed generation. A refused commit drops the staged parts of its
// generation and of older ones, so they never mix with the parts of a later read. A droplet is desired in one version:
// its new row replaces the row of another version.
type DesiredCommit struct {
	Generation uint64
	Parts      int
	Base       uint64 // the committed generation that the changes were computed from
	Source     string // what was read, for people to see; cut to 1 KiB
}

// Kind is KindDesiredCommit.
func (DesiredCommit) Kind() Kind { return KindDesiredCommit }

const maxText = 1 << 10 // bytes of a text that only people read

// maxStagedRows is the most upserts and removes that are staged together: ten times the apps of the largest fleet in
// the benchmarks.
const maxStagedRows = 4 << 20

func applyDesiredChanges(a *applier, r DesiredChanges) error {
	if r.Generation <= a.meta.Generation || len(a.staged) > 0 && r.Generation < a.staged[0].Generation {
		return fmt.Errorf("part of generation %d: %w", r.Generation, ErrGeneration)
	}
	if err := r.check(); err != nil {
		return err
	}
	if len(a.staged) > 0 && r.Generation > a.staged[0].Generation {
		a.dropStaged()
	}
	rows := len(r.Upserts) + len(r.Removes)
	for i := range a.staged {
		rows += len(a.staged[i].Upserts) + len(a.staged[i].Removes)
	}
	if rows > maxStagedRows {
		return fmt.Errorf("%w: %d rows would be staged, at most %d are allowed", ErrInvalid, rows, maxStagedRows)
	}
	a.sum.add(a.scratch.enc.staged(len(a.staged), &r))
	a.staged = append(a.staged, r)
	return nil
}

func (r *DesiredChanges) check() error {
	for i := range r.Upserts {
		if err := checkRow(&r.Upserts[i]); err != nil {
			return fmt.Errorf("desired row %d: %w", i, err)
		}
	}
	for i, k := range r.Removes {
		if !validKey(k) {
			return fmt.Errorf("%w: removed desired row %d has no droplet or no version", ErrInvalid, i)
		}
	}
	return nil
}

func checkRow(d *desired.App) error {
	switch {
	case !validKey(d.Key):
		return fmt.Errorf("%w: the row has no droplet or no version", ErrInvalid)
	case d.Instances > desired.MaxInstances:
		return fmt.Errorf("%w: app %s wants %d instances, at most %d are allowed",
			ErrInvalid, d.Key, d.Instances, desired.MaxInstances)
	case d.State != desired.Started && d.State != desired.Stopped:
		return fmt.Errorf("%w: app %s has run state %d", ErrInvalid, d.Key, d.State)
	case d.Package < desired.Pending || d.Package > desired.Failed:
		return fmt.Errorf("%w: app %s has package state %d", ErrInvalid, d.Key, d.Package)
	case !d.LetterCase.Fits(d.Key):
		return fmt.Errorf("%w: the letter case %x and %x does not fit the guids of app %s",
			ErrInvalid, d.LetterCase.Droplet, d.LetterCase.Version, d.Key)
	}
	return nil
}

func (s *State) dropStaged() {
	for i := range s.staged {
		s.sum.sub(s.scratch.enc.staged(i, &s.staged[i]))
	}
	s.staged = nil
}

func applyDesiredCommit(a *applier, r DesiredCommit) error {
	staged := 0
	if r.Generation <= a.meta.Generation || len(a.staged) > 0 && r.Generation < a.staged[0].Generation {
		return fmt.Errorf("commit of generation %d: %w", r.Generation, ErrGeneration)
	}
	if len(a.staged) > 0 && r.Generation == a.staged[0].Generation {
		staged = len(a.staged)
	}
	if staged != r.Parts {
		a.dropStaged()
		return fmt.Errorf("commit of generation %d: %d of %d parts: %w", r.Generation, staged, r.Parts, ErrIncomplete)
	}
	if r.Base != a.meta.Generation {
		a.dropStaged()
		return fmt.Errorf("commit of generation %d: it is based on generation %d, but %d is recorded: %w",
			r.Generation, r.Base, a.meta.Generation, ErrOutdated)
	}
	fact := ReadFact{Source: clip(r.Source, maxText)}
	before := a.counts
	removed := map[app.GUID]struct{}{} // droplets without a row, so far; of a new version the old row goes first
	for _, part := range a.staged[:staged] {
		for _, k := range part.Removes {
			if h, ok := a.lookup.find(&a.apps, k); ok && a.removeRow(h) {
				removed[k.Droplet] = struct{}{}
			}
		}
		for i := range part.Upserts {
			switch had, changed := a.setRow(&part.Upserts[i]); {
			case !changed:
			case had:
				fact.Changed++
			default:
				d := part.Upserts[i].Key.Droplet
				if _, is := removed[d]; is {
					delete(removed, d)
					fact.Changed++
				} else {
					fact.Added++
				}
			}
		}
	}
	fact.Removed = len(removed)
	fact.Apps, fact.Instances = a.counts.Apps-before.Apps, a.counts.DesiredInstances-before.DesiredInstances
	if fact.Added+fact.Changed+fact.Removed > 0 {
		a.fact(fact)
	}
	a.dropStaged()
	a.meta = DesiredMeta{Generation: r.Generation, CommittedAt: a.now, Source: clip(r.Source, maxText), Complete: true}
	return nil
}

// setRow records a desired row. It replaces the droplet's row in any other version. had reports that the droplet had a
// row before.
func (s *State) setRow(d *desired.App) (had, changed bool) {
	t := s.scratch
	t.versions = t.versions[:0]
	s.lookup.each(&s.apps, d.Key.Droplet, func(h Handle) bool {
		t.versions = append(t.versions, h)
		return true
	})
	h, found := Handle(0), false
	for _, v := range t.versions {
		if s.apps.key(v) == d.Key {
			h, found = v, true
			had = had || s.apps.get(v).has
		} else if s.removeRow(v) {
			had = true
		}
	}
	if !found {
		h = s.newApp(d.Key)
		s.addTouched(h)
	} else if s.row(h) == *d {
		return had, false
	}
	s.touch(h)
	s.countDesired(s.apps.row(h), -1)
	rec := s.apps.mut(h)
	rec.has, rec.desired, rec.run, rec.pkg, rec.rev = true, d.Instances, d.State, d.Package, s.rev
	s.setLetterCase(h, d.LetterCase)
	s.countDesired(*d, 1)
	s.forgetExits(h)
	return had, true
}

// removeRow drops the desired row of an app, and reports whether it had one.
func (s *State) removeRow(h Handle) bool {
	if !s.apps.get(h).has {
		return false
	}
	s.touch(h)
	s.countDesired(s.apps.row(h), -1)
	rec := s.apps.mut(h)
	rec.has, rec.desired, rec.run, rec.pkg, rec.rev = false, 0, 0, 0, 0
	s.setLetterCase(h, app.KeyLetterCase{})
	s.forgetExits(h)
	return true
}

func (s *State) countDesired(d desired.App, by int) {
	if d.Wanted() {
		s.counts.Apps += by
		s.counts.DesiredInstances += by * int(d.Instances)
	}
}

func encodeDesiredChanges(r DesiredChanges) ([]byte, error) { return marshal(wireDesiredChanges(&r)) }

func wireDesiredChanges(r *DesiredChanges) *wire.DesiredChanges {
	m := wire.DesiredChanges{
		Generation: r.Generation,
		Keys:       make([]byte, 0, len(r.Upserts)*keyWire),
		Instances:  make([]uint32, len(r.Upserts)),
		States:     make([]byte, 0, len(r.Upserts)*2),
		Removes:    appendKeys(nil, r.Removes),
	}
	for i := range r.Upserts {
		d := &r.Upserts[i]
		m.Keys = appendKey(m.Keys, d.Key)
		m.Instances[i] = d.Instances
		m.States = append(m.States, byte(d.State), byte(d.Package))
		m.Capitals = appendLetterCase(m.Capitals, i, len(r.Upserts), d.LetterCase)
	}
	return &m
}

func decodeDesiredChanges(b []byte) (DesiredChanges, error) {
	var m wire.DesiredChanges
	if err := unmarshal(b, &m); err != nil {
		return DesiredChanges{}, err
	}
	r := DesiredChanges{Generation: m.Generation}
	if len(m.States) != 2*len(m.Instances) {
		return r, fmt.Errorf("%d desired rows have %d bytes of states", len(m.Instances), len(m.States))
	}
	if err := checkLetterCase(m.Capitals, len(m.Instances)); err != nil {
		return r, err
	}
	keys := column{b: m.Keys}
	if len(m.Instances) > 0 {
		r.Upserts = make([]desired.App, len(m.Instances))
	}
	for i := range r.Upserts {
		r.Upserts[i] = desired.App{Key: keys.key(), Instances: m.Instances[i],
			State: desired.RunState(m.States[2*i]), Package: desired.PackageState(m.States[2*i+1]),
			LetterCase: letterCaseOf(m.Capitals, i)}
	}
	removes := column{b: m.Removes}
	for removes.more() {
		r.Removes = append(r.Removes, removes.key())
	}
	return r, firstError(keys.end("keys"), removes.end("removes"))
}

func encodeDesiredCommit(r DesiredCommit) ([]byte, error) {
	return marshal(&wire.DesiredCommit{
		Generation: r.Generation, Parts: int64(r.Parts), Base: r.Base, Source: []byte(r.Source),
	})
}

func decodeDesiredCommit(b []byte) (DesiredCommit, error) {
	var m wire.DesiredCommit
	err := unmarshal(b, &m)
	return DesiredCommit{Generation: m.Generation, Parts: int(m.Parts), Base: m.Base, Source: string(m.Source)}, err
}

func persistApps(s *State, w *snapshotWriter) error {
	order := s.sortedApps()
	w.position = make([]uint32, s.apps.len())
	var m wire.SnapshotApps
	for from := 0; from < len(order); from += snapshotChunk {
		chunk := order[from:min(from+snapshotChunk, len(order))]
		m.Keys, m.Rows, m.Instances = m.Keys[:0], m.Rows[:0], m.Instances[:0]
		m.Rev, m.GrewAt, m.Capitals = m.Rev[:0], m.GrewAt[:0], m.Capitals[:0]
		var before app.Time
		for i, h := range chunk {
			a := s.apps.get(h)
			w.position[h] = uint32(from + i)
			has := byte(0)
			if a.has {
				has = 1
			}
			m.Keys = appendKey(m.Keys, s.apps.key(h))
			m.Rows = append(m.Rows, has, byte(a.run), byte(a.pkg))
			m.Instances = append(m.Instances, a.desired)
			m.Rev = append(m.Rev, a.rev)
			m.GrewAt = append(m.GrewAt, int64(a.grewAt-before))
			m.Capitals = appendLetterCase(m.Capitals, i, len(chunk), s.letterCase(h))
			before = a.grewAt
		}
		if err := w.record(SectionApps, &m); err != nil {
			return err
		}
	}
	return nil
}

func restoreApps(r *restorer, body []byte) error {
	var m wire.SnapshotApps
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	n := len(m.Instances)
	if len(m.Rows) != 3*n || len(m.Rev) != n || len(m.GrewAt) != n {
		return fmt.Errorf("columns of %d, %d/3, %d and %d rows: they must have the same number",
			n, len(m.Rows), len(m.Rev), len(m.GrewAt))
	}
	if err := checkLetterCase(m.Capitals, n); err != nil {
		return err
	}
	keys := column{b: m.Keys}
	var grewAt app.Time
	for i := range n {
		grewAt += app.Time(m.GrewAt[i])
		k := keys.key()
		rec := appRec{rev: m.Rev[i], grewAt: grewAt, desired: m.Instances[i], has: m.Rows[3*i] == 1,
			run: desired.RunState(m.Rows[3*i+1]), pkg: desired.PackageState(m.Rows[3*i+2])}
		if keys.err != nil {
			break
		}
		if err := r.addApp(k, rec, letterCaseOf(m.Capitals, i)); err != nil {
			return err
		}
	}
	return keys.end("keys")
}

func (r *restorer) addApp(k app.Key, rec appRec, c app.KeyLetterCase) error {
	s := r.s
	if !validKey(k) {
		return fmt.Errorf("an app has no droplet or no version")
	}
	if n := s.apps.len(); n > 0 && s.apps.key(Handle(n-1)).Compare(k) >= 0 {
		return fmt.Errorf("app %s is out of order", k)
	}
	if rec.has {
		row := desired.App{Key: k, Instances: rec.desired, State: rec.run, Package: rec.pkg, LetterCase: c}
		if err := checkRow(&row); err != nil {
			return err
		}
		if k.Droplet == r.desired { // the versions of a droplet follow each other
			return fmt.Errorf("droplet %s is desired in two versions", k.Droplet)
		}
		r.desired = k.Droplet
	} else if rec.desired != 0 || rec.run != 0 || rec.pkg != 0 || rec.rev != 0 || c != (app.KeyLetterCase{}) {
		return fmt.Errorf("app %s is not desired, but has a desired row", k)
	}
	h := s.apps.push(k, rec)
	s.lookup.add(&s.apps, h)
	s.countDesired(s.apps.row(h), 1)
	s.setLetterCase(h, c)
	s.sum.add(s.scratch.enc.app(k, &rec, c))
	return nil
}

func persistStaged(s *State, w *snapshotWriter) error {
	for i := range s.staged {
		if err := w.record(SectionStaged, wireDesiredChanges(&s.staged[i])); err != nil {
			return err
		}
	}
	return nil
}

func restoreStaged(r *restorer, body []byte) error {
	d, err := decodeDesiredChanges(body)
	if err != nil {
		return err
	}
	if len(r.s.staged) > 0 && d.Generation != r.s.staged[0].Generation || d.Generation <= r.s.meta.Generation {
		return fmt.Errorf("a part of generation %d cannot be staged here", d.Generation)
	}
	if err := d.check(); err != nil {
		return err
	}
	r.s.sum.add(r.s.scratch.enc.staged(len(r.s.staged), &d))
	r.s.staged = append(r.s.staged, d)
	return nil
}
