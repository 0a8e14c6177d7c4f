package raftfsm

import (
	"encoding/binary"
	"sort"

	"hm/actual"
	"hm/internal/app"
)

// deaRec is what is recorded of one DEA. It never changes: a change makes a new one.
type deaRec struct {
	DEA         // Len is not kept up; it is len(inst)
	num  uint32 // its slot
	born uint64 // counts up with every DEA that is recorded anew: of two records of one guid the later born DEA's counts
	seed uint64 // hash of ID
	inst []packed
	side []app.GUID // guids that have no binary form
}

// guid gives the guid of instance i.
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

// locate finds a guid among instances lo to hi; -1 if it is not there.
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

// of gives the range of an app's instances.
func (d *deaRec) of(h Handle) (lo, hi int) { return d.between(uint64(h)<<32, (uint64(h)+1)<<32) }

// at gives the range of an app's instances at one index.
func (d *deaRec) at(h Handle, index uint32) (lo, hi int) {
	from := uint64(h)<<32 | uint64(index)
	return d.between(from, from+1)
}

func (d *deaRec) between(from, to uint64) (lo, hi int) {
	lo = sort.Search(len(d.inst), func(i int) bool { return d.inst[i].place() >= from })
	for hi = lo; hi < len(d.inst) && d.inst[hi].place() < to; hi++ {
	}
	return lo, hi
}

// merge gives d's instances without those marked in drop, with add, which must be sorted by place: n in all. side
// is the side slice that belongs to the result.
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

// store appends p, whose guid is g.
func store(inst []packed, side []app.GUID, p packed, g app.GUID) ([]packed, []app.GUID) {
	if p.form != 'u' && p.form != 'h' {
		p.form, p.guid = formSide, [16]byte{}
		binary.LittleEndian.PutUint32(p.guid[:], uint32(len(side)))
		side = append(side, g)
	}
	return append(inst, p), side
}

// newcomer is an instance that is about to be recorded.
type newcomer struct {
	packed
	text     app.GUID // its guid
	from     int32    // its place among the upserts
	interned bool     // packed.app is known
	recorded bool     // its guid is recorded of the app already
}
