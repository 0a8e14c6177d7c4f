package raftfsm

import (
	"encoding/binary"
	"sort"

	"hm/actual"
	"hm/internal/app"
)

// deaRec is the record of one DEA. It never changes: a change makes a new one.
type deaRec struct {
	DEA         // Len is only up to date in the newest record; use len(inst)
	num  uint32 // slot in State.deas
	born uint64 // number of the DEA record, counted over all DEAs: if two DEAs list one guid, the higher number counts
	seed uint64 // hash of ID
	inst []packed
	side []app.GUID // guids without a binary form
}

// guid returns the guid of instance i.
func (d *deaRec) guid(i int) app.GUID {
	p := &d.inst[i]
	if p.form == formSide {
		return d.side[binary.LittleEndian.Uint32(p.guid[:])]
	}
	return app.FromBinary(p.guid, p.form)
}

func (d *deaRec) instance(i int, k app.Key) actual.Instance {
	p := &d.inst[i]
	return actual.Instance{App: k, GUID: d.guid(i), Index: uint32(p.index), State: p.state, Since: p.since.ms()}
}

// locate returns the position of a guid among instances lo to hi, or -1.
func (d *deaRec) locate(g app.GUID, lo, hi int) int {
	b, form := g.Binary()
	if form == 0 {
		for i := lo; i < hi; i++ {
			if d.inst[i].form == formSide && d.guid(i) == g {
				return i
			}
		}
		return -1
	}
	for i := lo; i < hi; i++ {
		if p := &d.inst[i]; p.guid == b && p.form == form {
			return i
		}
	}
	return -1
}

// of returns the range of an app's instances.
func (d *deaRec) of(h Handle) (lo, hi int) { return d.between(uint64(h)<<32, (uint64(h)+1)<<32) }

// at returns the range of an app's instances at one index.
func (d *deaRec) at(h Handle, index uint32) (lo, hi int) {
	from := placeOf(h, index)
	return d.between(from, from+1)
}

func (d *deaRec) between(from, to uint64) (lo, hi int) {
	lo = sort.Search(len(d.inst), func(i int) bool { return d.inst[i].place() >= from })
	for hi = lo; hi < len(d.inst) && d.inst[hi].place() < to; hi++ {
	}
	return lo, hi
}

// merge returns the instances of d without the ones marked in drop and with the ones in add, which must be sorted by
// place. The result has n instances, and side is the side slice for it.
func (d *deaRec) merge(drop []bool, add []newcomer, n int) (inst []packed, side []app.GUID) {
	if n == 0 {
		return nil, nil
	}
	inst = make([]packed, 0, n)
	for i := range d.inst {
		for len(add) > 0 && add[0].place() < d.inst[i].place() {
			inst, side = store(inst, side, add[0].packed, add[0].text)
			add = add[1:]
		}
		switch {
		case drop[i]:
		case d.inst[i].form == formSide:
			inst, side = store(inst, side, d.inst[i], d.guid(i))
		default:
			inst = append(inst, d.inst[i])
		}
	}
	for i := range add {
		inst, side = store(inst, side, add[i].packed, add[i].text)
	}
	return inst, side
}

// store appends p, which has the guid g.
func store(inst []packed, side []app.GUID, p packed, g app.GUID) ([]packed, []app.GUID) {
	if p.form != 'u' && p.form != 'h' {
		p.form, p.guid = formSide, [16]byte{}
		binary.LittleEndian.PutUint32(p.guid[:], uint32(len(side)))
		side = append(side, g)
	}
	return append(inst, p), side
}

// newcomer is an instance that is about to be recorded on a DEA.
type newcomer struct {
	packed
	text     app.GUID // the guid
	from     int32    // position among the upserts
	interned bool     // packed.app is set
	recorded bool     // the DEA lists this guid for this app already
}
