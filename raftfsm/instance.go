package raftfsm

import (
	"cmp"
	"encoding/binary"

	"hm/actual"
)

// packed is one recorded instance in 36 bytes without a pointer (DESIGN.md has the layout).
type packed struct {
	guid  [16]byte // by form: the guid's bytes, or its place in the DEA's side slice
	since millis   // by the DEA's clock: only shown
	heard millis   // when the instance was recorded in this state
	form  byte     // 'u' or 'h' as app.GUID.Binary says, 's' for the side slice
	state actual.State
	index uint16 // actual.MaxIndex fits
	app   Handle
}

// millis is a time in milliseconds, 0 to MaxSince, little-endian.
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

const formSide = 's'

func pack(i actual.Instance, h Handle) packed {
	p := packed{state: i.State, app: h, index: uint16(i.Index), since: millisOf(i.Since)}
	p.guid, p.form = i.GUID.Binary()
	return p
}

func clampSince(ms int64) int64 { return min(max(ms, 0), MaxSince) }

func (p *packed) place() uint64 { return uint64(p.app)<<32 | uint64(p.index) }

func comparePlace(a, b packed) int { return cmp.Compare(a.place(), b.place()) }
