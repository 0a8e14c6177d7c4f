package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"hm/internal/app"
)

// formatVersion is the format of the file. A file with another one is set aside.
const formatVersion = 1

// The versions of the file, and of the requests between nodes; see package formats.
const (
	FileFormat  = formatVersion
	PeerVersion = peerVersion
)

// meta is what the file says about its events. It is stored in the same transaction as they are.
type meta struct {
	stored   uint64 // everything up to this index of the log is stored, but for the gaps and for what was pruned
	newest   mark   // the newest entry with events that was stored
	own      uint64 // count of this node's own events, ever
	entries  [classes]uint64
	bytes    [classes]uint64 // of keys and encoded events
	gaps     []span          // sorted; ranges of the log whose events are not stored
	position Position        // of the newest cluster's event that was stored
}

// mark identifies an entry of a log: another log has another entry there.
type mark struct {
	index, term uint64
	at          app.Time
}

// span is a range of indices of the log, both included.
type span struct{ from, to uint64 }

// maxGaps bounds the gaps. If there are more, the two that lie next to each other become one.
const maxGaps = 64

var errMeta = errors.New("the journal's own record of its content cannot be read")

func (m *meta) encode() []byte {
	b := []byte{0, 0, 0, 0}
	for _, v := range []uint64{
		m.stored, m.newest.index, m.newest.term, uint64(m.newest.at), m.own, m.position.Index, uint64(m.position.Ordinal),
	} {
		b = binary.AppendUvarint(b, v)
	}
	for c := range m.entries {
		b = binary.AppendUvarint(binary.AppendUvarint(b, m.entries[c]), m.bytes[c])
	}
	b = binary.AppendUvarint(b, uint64(len(m.gaps)))
	for _, g := range m.gaps {
		b = binary.AppendUvarint(binary.AppendUvarint(b, g.from), g.to)
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

func decodeMeta(b []byte) (m meta, err error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return meta{}, fmt.Errorf("%w: its checksum is wrong", errMeta)
	}
	r := reader{b: b[4:]}
	m.stored = r.uvarint()
	m.newest = mark{r.uvarint(), r.uvarint(), app.Time(r.uvarint())}
	m.own = r.uvarint()
	m.position.Index = r.uvarint()
	ordinal := r.uvarint()
	m.position.Ordinal = uint32(ordinal)
	for c := range m.entries {
		m.entries[c], m.bytes[c] = r.uvarint(), r.uvarint()
	}
	n := r.uvarint()
	if r.bad || n > maxGaps || ordinal>>32 != 0 {
		return meta{}, fmt.Errorf("%w: a number is missing or out of range", errMeta)
	}
	before := uint64(0)
	for range n {
		g := span{r.uvarint(), r.uvarint()}
		if g.from <= before || g.to < g.from || g.to > m.stored {
			return meta{}, fmt.Errorf("%w: its gaps are out of order", errMeta)
		}
		before = g.to
		m.gaps = append(m.gaps, g)
	}
	if r.bad || len(r.b) > 0 {
		return meta{}, fmt.Errorf("%w: a number is missing, or bytes follow", errMeta)
	}
	return m, nil
}

// missing reports whether the index lies in a gap.
func (m *meta) missing(index uint64) bool {
	for _, g := range m.gaps {
		if g.from <= index && index <= g.to {
			return true
		}
	}
	return false
}

// skip notes that the entries after what is stored, up to the index, are not known.
func (m *meta) skip(to uint64) {
	if to <= m.stored {
		return
	}
	m.addGap(span{m.stored + 1, to})
	m.stored = to
}

// addGap adds a gap and joins it with those that it touches.
func (m *meta) addGap(g span) {
	var gaps []span
	added := false
	for _, o := range m.gaps {
		switch {
		case o.to+1 < g.from:
			gaps = append(gaps, o)
		case g.to+1 < o.from:
			if !added {
				gaps, added = append(gaps, g), true
			}
			gaps = append(gaps, o)
		default:
			g = span{min(g.from, o.from), max(g.to, o.to)}
		}
	}
	if !added {
		gaps = append(gaps, g)
	}
	for len(gaps) > maxGaps {
		near := 1
		for i := range gaps[1:] {
			if gaps[i+1].from-gaps[i].to < gaps[near].from-gaps[near-1].to {
				near = i + 1
			}
		}
		gaps[near-1].to = gaps[near].to
		gaps = append(gaps[:near], gaps[near+1:]...)
	}
	m.gaps = gaps
}

// fill removes a range from the gaps.
func (m *meta) fill(known span) {
	var gaps []span
	for _, g := range m.gaps {
		if g.to < known.from || known.to < g.from {
			gaps = append(gaps, g)
			continue
		}
		if g.from < known.from {
			gaps = append(gaps, span{g.from, known.from - 1})
		}
		if known.to < g.to {
			gaps = append(gaps, span{known.to + 1, g.to})
		}
	}
	m.gaps = gaps[:min(len(gaps), maxGaps)]
}
