package raftfsm

import (
	"cmp"
	"encoding/binary"

	"hm/actual"
)

// packed is one recorded instance in 36 bytes without a pointer (DESIGN.md has the layout).
type packed struct {
	guid  [16]byte // the guid's bytes; with formSide its position in deaRec.side
	since millis   // state timestamp by the DEA's clock; only shown
	heard millis   // hm time at which the instance was recorded in this state
	form  byte     // form of guid: 'u' or 'h' of app.GUID.Binary, or formSide
	state actual.State
	index uint16 // holds up to actual.MaxIndex
	app   Handle
}

// millis is a number of milliseconds from 0 to MaxSince, little-endian.
type millis [6]byte

func millisOf(ms int64) (m millis) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(clampSince(ms)))
	copy(m[:], b[:])
	return m
}

func (m *millis) ms() int64 {
	var b [8]byte
	copy(b[:], m[:])
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// formSide marks a guid without a binary form: its text is in the DEA's side slice.
const formSide = 's'

func pack(i actual.Instance, h Handle) packed {
	p := packed{state: i.State, app: h, index: uint16(i.Index), since: millisOf(i.Since)}
	p.guid, p.form = i.GUID.Binary()
	return p
}

func clampSince(ms int64) int64 { return min(max(ms, 0), MaxSince) }

// place is the app and the index in one number.
func (p *packed) place() uint64 { return placeOf(p.app, uint32(p.index)) }

func placeOf(h Handle, index uint32) uint64 { return uint64(h)<<32 | uint64(index) }

func comparePlace(a, b packed) int { return cmp.Compare(a.place(), b.place()) }
