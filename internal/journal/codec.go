package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"unicode/utf8"

	"hm/internal/app"
)

// An encoded event is: its checksum (4 bytes, CRC-32C of the rest), its time (8 bytes), its kind (a length byte and the
// text), a number with one bit for each further field that it has, and these fields in the order of the bits. Numbers
// are uvarints, and signed ones are zigzag varints. Texts have a uvarint length before them. Numbers of fixed length
// are big-endian. Its ID is not part of it.

// Limits of one event. Texts are cut to them before they are stored; longer ones are refused when they are read.
const (
	maxText     = 1 << 10 // bytes of a text
	maxKindLen  = 64      // bytes of a kind
	maxCounts   = 64      // counts of one event
	maxEncoded  = 128 << 10
	headerBytes = 4 + 8 + 1
)

// The bits of the fields. A released bit keeps its meaning for ever.
const (
	hasApp = 1 << iota
	hasIndex
	hasInstance
	hasDEA
	hasCommand
	hasAction
	hasReason
	hasRule
	hasDue
	hasDelay
	hasName
	hasBy
	hasDetail
	hasCounts
	hasNode
	hasCreated
	hasSent
	hasPriority
	hasFlags // one past the last field
)

var (
	errDecode  = errors.New("the event cannot be read")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// appendEvent appends the encoded event to dst, without its position. Texts that are too long are cut.
func appendEvent(dst []byte, e *Event) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.At))
	kind := clip(string(e.Kind), maxKindLen)
	dst = append(append(dst, byte(len(kind))), kind...)
	flags := uint64(0)
	set := func(is bool, flag uint64) {
		if is {
			flags |= flag
		}
	}
	set(e.App != app.Key{}, hasApp)
	set(e.Index != 0, hasIndex)
	set(!e.Instance.IsZero(), hasInstance)
	set(e.Due != 0, hasDue)
	set(e.DelayMS != 0, hasDelay)
	set(e.Created != 0, hasCreated)
	set(e.Sent != 0, hasSent)
	set(e.Priority != 0, hasPriority)
	set(len(e.Counts) > 0, hasCounts)
	for i, text := range e.texts() {
		set(*text != "", textFlags[i])
	}
	dst = binary.AppendUvarint(dst, flags)
	for flag := uint64(1); flag < hasFlags; flag <<= 1 {
		if flags&flag != 0 {
			dst = e.appendField(dst, flag)
		}
	}
	binary.BigEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

// textFlags are the bits of the fields that texts gives, in the same order.
var textFlags = [...]uint64{hasDEA, hasCommand, hasAction, hasReason, hasRule, hasName, hasBy, hasDetail, hasNode}

func (e *Event) texts() [len(textFlags)]*string {
	return [...]*string{&e.DEA, &e.Command, &e.Action, &e.Reason, &e.Rule, &e.Name, &e.By, &e.Detail, &e.ID.Node}
}

func (e *Event) text(flag uint64) *string { return e.texts()[slices.Index(textFlags[:], flag)] }

func (e *Event) appendField(dst []byte, flag uint64) []byte {
	switch flag {
	case hasApp:
		return e.App.Version.AppendWire(e.App.Droplet.AppendWire(dst))
	case hasIndex:
		return binary.AppendVarint(dst, int64(e.Index))
	case hasInstance:
		return e.Instance.AppendWire(dst)
	case hasDue:
		return binary.AppendVarint(dst, int64(e.Due))
	case hasDelay:
		return binary.AppendVarint(dst, e.DelayMS)
	case hasCreated:
		return binary.AppendVarint(dst, int64(e.Created))
	case hasSent:
		return binary.AppendVarint(dst, int64(e.Sent))
	case hasPriority:
		return binary.AppendUvarint(dst, math.Float64bits(e.Priority))
	case hasCounts:
		counts := e.Counts[:min(len(e.Counts), maxCounts)]
		dst = binary.AppendUvarint(dst, uint64(len(counts)))
		for _, c := range counts {
			dst = binary.AppendVarint(appendText(dst, c.Name), c.N)
		}
		return dst
	}
	return appendText(dst, *e.text(flag))
}

func appendText(dst []byte, s string) []byte {
	s = clip(s, maxText)
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// clip cuts a text to at most n bytes, between two characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decodeEvent reads what appendEvent wrote. It refuses everything else, and keeps no reference to b.
func decodeEvent(b []byte) (Event, error) {
	if len(b) < headerBytes || len(b) > maxEncoded {
		return Event{}, fmt.Errorf("%w: it has %d bytes", errDecode, len(b))
	}
	if binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return Event{}, fmt.Errorf("%w: its checksum is wrong", errDecode)
	}
	e := Event{At: eventTime(b)}
	n := int(b[headerBytes-1])
	if n > maxKindLen || n > len(b)-headerBytes {
		return Event{}, fmt.Errorf("%w: its kind has %d bytes", errDecode, n)
	}
	e.Kind = Kind(b[headerBytes : headerBytes+n])
	r := reader{b: b[headerBytes+n:]}
	flags := r.uvarint()
	if flags >= hasFlags {
		return Event{}, fmt.Errorf("%w: it has fields that this version does not know", errDecode)
	}
	for flag := uint64(1); flag < hasFlags; flag <<= 1 {
		if flags&flag != 0 {
			e.readField(&r, flag)
		}
	}
	if r.bad || len(r.b) > 0 {
		return Event{}, fmt.Errorf("%w: a field ends early, is out of range, or has bytes after it", errDecode)
	}
	return e, nil
}

// eventTime and eventKind read the beginning of an encoded event that is long enough.
func eventTime(b []byte) app.Time { return app.Time(binary.BigEndian.Uint64(b[4:])) }

func eventKind(b []byte) []byte {
	return b[headerBytes:min(headerBytes+int(b[headerBytes-1]), len(b))]
}

func (e *Event) readField(r *reader, flag uint64) {
	switch flag {
	case hasApp:
		e.App = app.Key{Droplet: r.guid(), Version: r.guid()}
	case hasIndex:
		e.Index = int(r.varint())
	case hasInstance:
		e.Instance = r.guid()
	case hasDue:
		e.Due = app.Time(r.varint())
	case hasDelay:
		e.DelayMS = r.varint()
	case hasCreated:
		e.Created = app.Time(r.varint())
	case hasSent:
		e.Sent = app.Time(r.varint())
	case hasPriority:
		e.Priority = math.Float64frombits(r.uvarint())
		r.bad = r.bad || math.IsNaN(e.Priority)
	case hasCounts:
		n := r.uvarint()
		if r.bad || n == 0 || n > maxCounts {
			r.bad = true
			return
		}
		e.Counts = make([]Count, n)
		for i := range e.Counts {
			e.Counts[i] = Count{Name: r.text(), N: r.varint()}
		}
	default:
		*e.text(flag) = r.text()
	}
}

// reader reads fields one after the other. After the first that is malformed it gives zero values.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 { return readNumber(r, binary.Uvarint) }

func (r *reader) varint() int64 { return readNumber(r, binary.Varint) }

func readNumber[T uint64 | int64](r *reader, read func([]byte) (T, int)) T {
	v, n := read(r.b)
	if n <= 0 || r.bad {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if r.bad || n > maxText || n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) guid() app.GUID {
	if r.bad {
		return app.GUID{}
	}
	g, rest, err := app.CutWire(r.b)
	if err != nil {
		r.bad = true
		return app.GUID{}
	}
	r.b = rest
	return g
}

// keyLen is the length of an event's key: index, ordinal and own count, big-endian. So keys sort as IDs do.
const keyLen = 8 + 4 + 8

func appendKey(dst []byte, id ID) []byte {
	dst = binary.BigEndian.AppendUint64(dst, id.Index)
	dst = binary.BigEndian.AppendUint32(dst, id.Ordinal)
	return binary.BigEndian.AppendUint64(dst, id.Own)
}

// decodeKey gives the ID without its node.
func decodeKey(k []byte) (ID, bool) {
	if len(k) != keyLen {
		return ID{}, false
	}
	return ID{
		Position: Position{binary.BigEndian.Uint64(k), binary.BigEndian.Uint32(k[8:])},
		Own:      binary.BigEndian.Uint64(k[12:]),
	}, true
}
