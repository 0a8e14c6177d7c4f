package raftfsm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// MaxSince is the largest recorded actual.Instance.Since, in milliseconds since 1970. A value outside 0 to MaxSince is
// recorded as the nearer bound.
const MaxSince = 1<<48 - 1

// DEAChanges is the difference between one DEA's heartbeat and its record. An unknown or gone DEA gets a new record. An
// upsert replaces the instance with its guid; if two upserts have one guid the later counts. The record is refused
// whole if anything in it is invalid, or if the DEA would have more than actual.MaxInstances instances.
type DEAChanges struct {
	DEA     string
	Upserts []actual.Instance
	Removes []app.GUID // applied before Upserts: a guid in both stays
}

// Kind is KindDEAChanges.
func (DEAChanges) Kind() Kind { return KindDEAChanges }

// DEAsGone says that DEAs no longer send heartbeats. Their instances are removed; the DEAs stay recorded, with GoneAt.
// A DEA that is unknown or gone already is ignored.
type DEAsGone struct{ DEAs []string }

// Kind is KindDEAsGone.
func (DEAsGone) Kind() Kind { return KindDEAsGone }

// DEAsForgotten drops the records of gone DEAs. It is refused if one of the DEAs is not gone. An unknown DEA is
// ignored.
type DEAsForgotten struct{ DEAs []string }

// Kind is KindDEAsForgotten.
func (DEAsForgotten) Kind() Kind { return KindDEAsForgotten }

func applyDEAChanges(a *applier, r DEAChanges) error {
	if err := r.check(); err != nil {
		return err
	}
	old := a.deaByID(r.DEA)
	base := old
	if base == nil {
		base = &deaRec{}
	}
	n := a.planDEAChanges(base, r)
	if n > actual.MaxInstances {
		return fmt.Errorf("%w: DEA %s would have %d instances, at most %d are allowed",
			ErrInvalid, r.DEA, n, actual.MaxInstances)
	}
	if old != nil && old.GoneAt == 0 && len(a.scratch.add) == 0 && n == len(old.inst) {
		return nil
	}
	first := old == nil || old.GoneAt != 0
	switch {
	case old == nil:
		a.fact(DEAFact{DEA: r.DEA, Change: DEAHeard, Instances: n})
	case first:
		a.fact(DEAFact{DEA: r.DEA, Change: DEABack, Instances: n, Since: old.GoneAt})
	}
	a.prepareNewcomers(base, r, n, first)
	a.replaceDEA(old, base, a.nextDEA(old, r.DEA), n)
	return nil
}

func (r DEAChanges) check() error {
	if !actual.ValidDEA(r.DEA) {
		return fmt.Errorf("%w: %.40q is not a valid DEA id", ErrInvalid, r.DEA)
	}
	for i := range r.Upserts {
		u := &r.Upserts[i]
		switch {
		case !validKey(u.App) || u.GUID.IsZero():
			return fmt.Errorf("%w: instance %d of DEA %s has no droplet, version or guid", ErrInvalid, i, r.DEA)
		case u.Index > actual.MaxIndex:
			return fmt.Errorf("%w: instance %s has index %d, the largest allowed is %d",
				ErrInvalid, u.GUID, u.Index, actual.MaxIndex)
		case !u.State.Known():
			return fmt.Errorf("%w: instance %s has state %d", ErrInvalid, u.GUID, u.State)
		}
	}
	return nil
}

func applyDEAsGone(a *applier, r DEAsGone) error {
	for _, id := range r.DEAs {
		if d := a.deaByID(id); d != nil && d.GoneAt == 0 {
			a.fact(DEAFact{DEA: d.ID, Change: DEALost, Instances: len(d.inst), Live: d.live()})
			a.setDEAGone(d)
		}
	}
	return nil
}

// setDEAGone removes a DEA's instances and records it as gone.
func (s *State) setDEAGone(d *deaRec) {
	t := s.scratch
	t.add, t.drop, t.fresh = t.add[:0], t.drop[:0], t.fresh[:0]
	for range d.inst {
		t.drop = append(t.drop, true)
	}
	next := &deaRec{DEA: DEA{ID: d.ID, Rev: s.rev, FirstSeen: d.FirstSeen, ChangedAt: s.now, GoneAt: s.now},
		num: d.num, born: d.born, seed: d.seed}
	s.counts.DEAs--
	s.counts.GoneDEAs++
	s.replaceDEA(d, d, next, 0)
}

func applyDEAsForgotten(a *applier, r DEAsForgotten) error {
	for _, id := range r.DEAs {
		if d := a.deaByID(id); d != nil && d.GoneAt == 0 {
			return fmt.Errorf("forgetting DEA %s: %w", id, ErrNotGone)
		}
	}
	for _, id := range r.DEAs {
		if d := a.deaByID(id); d != nil {
			a.sum.sub(a.scratch.enc.dea(d))
			a.names.Delete(deaName{id: id})
			*a.deas.mut(d.num) = nil
			a.scratch.freeDEAs = append(a.scratch.freeDEAs, d.num)
			a.counts.GoneDEAs--
			a.fact(DEAFact{DEA: d.ID, Change: DEAForgotten})
		}
	}
	return nil
}

// deaByID returns a DEA's record, or nil if the DEA is unknown.
func (s *State) deaByID(id string) *deaRec {
	n, ok := s.names.Get(deaName{id: id})
	if !ok {
		return nil
	}
	return *s.deas.get(n.num)
}

func encodeDEAChanges(r DEAChanges) ([]byte, error) {
	m := wire.DEAChanges{
		Dea:     []byte(r.DEA),
		App:     make([]uint32, len(r.Upserts)),
		Guids:   make([]byte, 0, len(r.Upserts)*guidWire),
		Index:   make([]uint32, len(r.Upserts)),
		States:  make([]byte, len(r.Upserts)),
		Since:   make([]int64, len(r.Upserts)),
		Removes: appendGUIDs(nil, r.Removes),
	}
	seen := make(map[app.Key]uint32)
	var before int64
	for i := range r.Upserts {
		u := &r.Upserts[i]
		n, ok := seen[u.App]
		if !ok {
			n = uint32(len(seen))
			seen[u.App] = n
			m.Keys = appendKey(m.Keys, u.App)
		}
		m.App[i], m.Index[i], m.States[i] = n, u.Index, byte(u.State)
		m.Guids = u.GUID.AppendWire(m.Guids)
		m.Since[i] = u.Since - before
		before = u.Since
	}
	return marshal(&m)
}

func decodeDEAChanges(b []byte) (DEAChanges, error) {
	var m wire.DEAChanges
	if err := unmarshal(b, &m); err != nil {
		return DEAChanges{}, err
	}
	r := DEAChanges{DEA: string(m.Dea)}
	n := len(m.App)
	if len(m.Index) != n || len(m.States) != n || len(m.Since) != n {
		return r, fmt.Errorf("columns of %d, %d, %d and %d rows: they must have the same number",
			n, len(m.Index), len(m.States), len(m.Since))
	}
	var keys []app.Key
	for c := (column{b: m.Keys}); ; {
		if !c.more() {
			if err := c.end("keys"); err != nil {
				return r, err
			}
			break
		}
		keys = append(keys, c.key())
	}
	if n > 0 {
		r.Upserts = make([]actual.Instance, n)
	}
	guids := column{b: m.Guids}
	var since int64
	for i := range r.Upserts {
		if int(m.App[i]) >= len(keys) {
			return r, fmt.Errorf("instance %d belongs to app %d, but there are only %d apps", i, m.App[i], len(keys))
		}
		since += m.Since[i]
		r.Upserts[i] = actual.Instance{App: keys[m.App[i]], GUID: guids.guid(), Index: m.Index[i],
			State: actual.State(m.States[i]), Since: since}
	}
	removes := column{b: m.Removes}
	for removes.more() {
		r.Removes = append(r.Removes, removes.guid())
	}
	return r, firstError(guids.end("guids"), removes.end("removes"))
}

func encodeDEAs(ids []string) ([]byte, error) {
	m := wire.DEAs{Ids: make([][]byte, len(ids))}
	for i, id := range ids {
		m.Ids[i] = []byte(id)
	}
	return marshal(&m)
}

func decodeDEAs(b []byte) ([]string, error) {
	var m wire.DEAs
	if err := unmarshal(b, &m); err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range m.Ids {
		ids = append(ids, string(id))
	}
	return ids, nil
}

func encodeDEAsGone(r DEAsGone) ([]byte, error) { return encodeDEAs(r.DEAs) }

func decodeDEAsGone(b []byte) (DEAsGone, error) {
	ids, err := decodeDEAs(b)
	return DEAsGone{DEAs: ids}, err
}

func encodeDEAsForgotten(r DEAsForgotten) ([]byte, error) { return encodeDEAs(r.DEAs) }

func decodeDEAsForgotten(b []byte) (DEAsForgotten, error) {
	ids, err := decodeDEAs(b)
	return DEAsForgotten{DEAs: ids}, err
}

func persistDEAs(s *State, w *snapshotWriter) error {
	var m wire.SnapshotDEA
	var order []placed
	var err error
	s.names.Scan(func(n deaName) bool {
		d := *s.deas.get(n.num)
		order = order[:0]
		for i := range d.inst {
			p := &d.inst[i]
			order = append(order, placed{placeOf(Handle(w.position[p.app]), uint32(p.index)), i})
		}
		slices.SortFunc(order, func(a, b placed) int {
			if a.place != b.place {
				return cmp.Compare(a.place, b.place)
			}
			return d.guid(a.i).Compare(d.guid(b.i))
		})
		m.Id, m.Rev, m.Born = append(m.Id[:0], d.ID...), d.Rev, d.born
		m.FirstSeen, m.ChangedAt, m.GoneAt = int64(d.FirstSeen), int64(d.ChangedAt), int64(d.GoneAt)
		m.App, m.Index, m.States = m.App[:0], m.Index[:0], m.States[:0]
		m.Guids, m.Since, m.Heard = m.Guids[:0], m.Since[:0], m.Heard[:0]
		var lastApp uint32
		var lastSince, lastHeard int64
		for _, o := range order {
			p := &d.inst[o.i]
			at, since, heard := uint32(o.place>>32), p.since.ms(), p.heard.ms()
			m.App = append(m.App, at-lastApp)
			m.Index = append(m.Index, uint32(p.index))
			m.States = append(m.States, byte(p.state))
			m.Guids = d.guid(o.i).AppendWire(m.Guids)
			m.Since = append(m.Since, since-lastSince)
			m.Heard = append(m.Heard, heard-lastHeard)
			lastApp, lastSince, lastHeard = at, since, heard
		}
		err = w.record(SectionDEA, &m)
		return err == nil
	})
	return err
}

// placed is an instance of a DEA that is written to a snapshot.
type placed struct {
	place uint64 // the app's position in the snapshot and the index, in one number
	i     int    // position in deaRec.inst
}

func restoreDEA(r *restorer, body []byte) error {
	var m wire.SnapshotDEA
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	s, n := r.s, len(m.App)
	id := string(m.Id)
	last, any := s.names.Max()
	switch {
	case !actual.ValidDEA(id):
		return fmt.Errorf("%.40q is not a valid DEA id", id)
	case any && last.id >= id:
		return fmt.Errorf("DEA %s is out of order", id)
	case len(m.Index) != n || len(m.States) != n || len(m.Since) != n || len(m.Heard) != n:
		return fmt.Errorf("DEA %s: columns of %d, %d, %d, %d and %d rows: they must have the same number",
			id, n, len(m.Index), len(m.States), len(m.Since), len(m.Heard))
	case n > actual.MaxInstances || n > 0 && m.GoneAt != 0:
		return fmt.Errorf("DEA %s cannot have %d instances", id, n)
	case m.Born == 0 || m.Born > s.births || r.born[m.Born]:
		return fmt.Errorf("DEA %s has the number %d, which is not unique or not from 1 to %d", id, m.Born, s.births)
	}
	r.born[m.Born] = true
	d := &deaRec{DEA: DEA{ID: id, Rev: m.Rev, FirstSeen: app.Time(m.FirstSeen), ChangedAt: app.Time(m.ChangedAt),
		GoneAt: app.Time(m.GoneAt), Len: n}, born: m.Born, seed: xxh3.HashString(id)}
	if err := r.fill(d, &m); err != nil {
		return fmt.Errorf("DEA %s: %w", id, err)
	}
	d.num = s.deas.push(d)
	s.names.Set(deaName{id: id, num: d.num})
	s.sum.add(s.scratch.enc.dea(d))
	if d.GoneAt != 0 {
		s.counts.GoneDEAs++
	} else {
		s.counts.DEAs++
	}
	for i := 0; i < n; {
		h := d.inst[i].app
		lo := i
		for i < n && d.inst[i].app == h {
			i++
		}
		a := s.apps.mut(h)
		a.instances += uint32(i - lo)
		s.apps.addDEA(h, d.num)
	}
	return nil
}

// fill restores the instances of d. They must be sorted by app, index and guid, and no guid may come twice.
func (r *restorer) fill(d *deaRec, m *wire.SnapshotDEA) error {
	s, t := r.s, r.s.scratch
	if len(m.App) > 0 {
		d.inst = make([]packed, 0, len(m.App))
	}
	guids := column{b: m.Guids}
	var at uint32
	var since, heard int64
	var before app.GUID
	clear(r.guids)
	for i := range m.App {
		at += m.App[i]
		since += m.Since[i]
		heard += m.Heard[i]
		g := guids.guid()
		st := actual.State(m.States[i])
		switch {
		case guids.err != nil:
			return guids.end("guids")
		case int(at) >= s.apps.len():
			return fmt.Errorf("instance %s belongs to app %d of %d", g, at, s.apps.len())
		case g.IsZero() || m.Index[i] > actual.MaxIndex || !st.Known() || since < 0 || since > MaxSince ||
			heard < 0 || heard > MaxSince:
			return fmt.Errorf("invalid instance %q at index %d in state %d since %d, recorded at %d",
				g, m.Index[i], st, since, heard)
		}
		k := s.apps.key(Handle(at))
		p := pack(actual.Instance{GUID: g, Index: m.Index[i], State: st, Since: since}, Handle(at))
		p.heard = millisOf(heard)
		if i > 0 {
			if n := comparePlace(d.inst[i-1], p); n > 0 || n == 0 && before.Compare(g) >= 0 {
				return fmt.Errorf("instance %s is out of order", g)
			}
		}
		if _, twice := r.guids[g]; twice {
			return fmt.Errorf("instance %s comes twice", g)
		}
		r.guids[g] = struct{}{}
		before = g
		s.sum.add(t.enc.instance(d.seed, &p, g, k))
		s.countInstance(st, Handle(at), 1)
		d.inst, d.side = store(d.inst, d.side, p, g)
	}
	return guids.end("guids")
}
