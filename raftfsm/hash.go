package raftfsm

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// HashVersion is the version of the hash. It is raised with every change to what is hashed, or how. Hashes of different
// versions cannot be compared. What is new and not set adds nothing to the hash, so it needs no new version.
const HashVersion = 2

// Hash is the fingerprint of a State (I7): the sum of the hashes of all its records and of its header. Equal states
// have equal hashes, whatever the order in which they were recorded and the layout in memory.
type Hash [16]byte

// String returns h in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// sum is a 128-bit sum of record hashes. When a record changes, its old hash is subtracted and its new hash is added.
type sum struct{ hi, lo uint64 }

func (s *sum) add(v xxh3.Uint128) {
	var c uint64
	s.lo, c = bits.Add64(s.lo, v.Lo, 0)
	s.hi, _ = bits.Add64(s.hi, v.Hi, c)
}

func (s *sum) sub(v xxh3.Uint128) {
	var b uint64
	s.lo, b = bits.Sub64(s.lo, v.Lo, 0)
	s.hi, _ = bits.Sub64(s.hi, v.Hi, b)
}

// The first byte of a hashed encoding: what was encoded.
const (
	hashedHeader byte = iota + 1
	hashedApp
	hashedDEA
	hashedInstance
	hashedCommand
	hashedCrash
	hashedHold
	hashedStaged
	hashedMark
	hashedCluster
)

// encoding is the encoding of one record for its hash.
type encoding []byte

func (e *encoding) reset(what byte)   { *e = append((*e)[:0], what) }
func (e *encoding) u8(v uint8)        { *e = append(*e, v) }
func (e *encoding) u32(v uint32)      { *e = binary.LittleEndian.AppendUint32(*e, v) }
func (e *encoding) u64(v uint64)      { *e = binary.LittleEndian.AppendUint64(*e, v) }
func (e *encoding) time(t app.Time)   { e.u64(uint64(t)) }
func (e *encoding) guid(g app.GUID)   { *e = g.AppendWire(*e) }
func (e *encoding) key(k app.Key)     { e.guid(k.Droplet); e.guid(k.Version) }
func (e *encoding) id(id commands.ID) { *e = append(*e, id[:]...) }
func (e *encoding) text(s string)     { e.u32(uint32(len(s))); *e = append(*e, s...) }

func (e *encoding) flag(b bool) {
	if b {
		e.u8(1)
		return
	}
	e.u8(0)
}

// letterCase adds nothing if there are no capitals: older versions did not record the letter case.
func (e *encoding) letterCase(c app.KeyLetterCase) {
	if c != (app.KeyLetterCase{}) {
		e.u32(uint32(c.Droplet))
		e.u32(uint32(c.Version))
	}
}

func (e encoding) hash() xxh3.Uint128 { return xxh3.Hash128(e) }

func (e *encoding) app(k app.Key, a *appRec, c app.KeyLetterCase) xxh3.Uint128 {
	e.reset(hashedApp)
	e.key(k)
	e.flag(a.has)
	e.u8(uint8(a.run))
	e.u8(uint8(a.pkg))
	e.u32(a.desired)
	e.u64(a.rev)
	e.time(a.grewAt)
	e.letterCase(c)
	return e.hash()
}

func (e *encoding) dea(d *deaRec) xxh3.Uint128 {
	e.reset(hashedDEA)
	e.text(d.ID)
	e.u64(d.Rev)
	e.u64(d.born)
	e.time(d.FirstSeen)
	e.time(d.ChangedAt)
	e.time(d.GoneAt)
	return e.hash()
}

// instance hashes one instance of the DEA with this seed.
func (e *encoding) instance(seed uint64, p *packed, g app.GUID, k app.Key) xxh3.Uint128 {
	e.reset(hashedInstance)
	e.u8(uint8(p.state))
	e.u32(uint32(p.index))
	*e = append(*e, p.since[:]...)
	*e = append(*e, p.heard[:]...)
	e.guid(g)
	e.key(k)
	return xxh3.Hash128Seed(*e, seed)
}

func (e *encoding) command(c *commands.Command) xxh3.Uint128 {
	e.reset(hashedCommand)
	e.id(c.ID)
	e.u8(uint8(c.Action))
	e.key(c.App)
	e.u32(c.Index)
	e.guid(c.Instance)
	e.u8(uint8(c.Reason))
	e.u64(math.Float64bits(c.Priority))
	e.u8(uint8(c.State))
	e.time(c.CreatedAt)
	e.time(c.DueAt)
	e.time(c.ClaimedAt)
	e.time(c.SentAt)
	e.u64(c.Term)
	e.u32(c.CrashCount)
	e.guid(c.Crashed)
	e.u32(c.Tries)
	return e.hash()
}

func (e *encoding) crash(k app.Key, c *actual.Crash) xxh3.Uint128 {
	e.reset(hashedCrash)
	e.key(k)
	e.u32(c.Index)
	e.u32(c.Count)
	e.time(c.First)
	e.time(c.Last)
	e.guid(c.Instance)
	e.guid(c.Exited)
	e.time(c.RunningSince)
	e.u64(uint64(c.Ran))
	e.time(c.ExitedAt)
	e.u8(uint8(c.ExitReason))
	e.flag(c.Answered)
	e.u32(c.Tries)
	e.time(c.TriedAt)
	return e.hash()
}

func (e *encoding) mark(k *app.Key, m *markRec) xxh3.Uint128 {
	e.reset(hashedMark)
	e.key(*k)
	e.u32(m.index())
	e.guid(m.guid)
	e.u8(uint8(m.mark))
	e.time(m.at)
	return e.hash()
}

func (e *encoding) hold(h *Hold) xxh3.Uint128 {
	e.reset(hashedHold)
	e.text(h.Name)
	e.text(h.Reason)
	e.text(h.By)
	e.time(h.SetAt)
	e.time(h.Until)
	e.u32(h.StopLimit)
	e.u32(h.AppsBefore)
	e.text(string(h.Lost))
	return e.hash()
}

// staged hashes staged part n.
func (e *encoding) staged(n int, d *DesiredChanges) xxh3.Uint128 {
	e.reset(hashedStaged)
	e.u32(uint32(n))
	e.u64(d.Generation)
	e.u32(uint32(len(d.Upserts)))
	for i := range d.Upserts {
		a := &d.Upserts[i]
		e.key(a.Key)
		e.u32(a.Instances)
		e.u8(uint8(a.State))
		e.u8(uint8(a.Package))
		e.letterCase(a.LetterCase)
	}
	for _, k := range d.Removes {
		e.key(k)
	}
	return e.hash()
}

// Hash returns the fingerprint of the state. It takes a constant time: Apply keeps the sum of the records' hashes.
func (s *State) Hash() Hash {
	e := make(encoding, 0, 256)
	e.reset(hashedHeader)
	e.u64(s.index)
	e.u64(s.term)
	e.time(s.now)
	e.u64(s.rev)
	e.u64(s.births)
	e.u64(s.counts.SentStarts)
	e.u64(s.counts.SentStops)
	e.u64(s.meta.Generation)
	e.time(s.meta.CommittedAt)
	e.text(s.meta.Source)
	e.flag(s.meta.Complete)
	s.future.hash(&e)
	total := s.sum
	total.add(e.hash())
	var h Hash
	binary.BigEndian.PutUint64(h[:8], total.hi)
	binary.BigEndian.PutUint64(h[8:], total.lo)
	return h
}
