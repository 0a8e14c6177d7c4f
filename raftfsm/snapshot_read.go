package raftfsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// ErrSnapshot is wrapped by every error about the content of a snapshot. Errors of the reader do not wrap it.
var ErrSnapshot = errors.New("invalid snapshot")

// SnapshotRecord is one record of a snapshot.
type SnapshotRecord struct {
	Section Section
	Version uint32
	Body    []byte // protobuf; valid only during the call of fn
}

// ReadSnapshot reads a whole snapshot, checks its frame, record count and checksum, and calls fn, which may be nil,
// with each record. Restoring and inspecting a snapshot both use it. The records may be damaged unless ReadSnapshot
// returns without an error. Whatever r contains, ReadSnapshot keeps at most a few MiB in memory.
func ReadSnapshot(r io.Reader, fn func(SnapshotRecord) error) (SnapshotHeader, error) {
	head, start, err := readHeader(r)
	if err != nil {
		return SnapshotHeader{}, err
	}
	z, err := zstd.NewReader(r,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return head, fmt.Errorf("reading the snapshot: %w", err)
	}
	defer z.Close()
	sr := &snapshotReader{in: bufio.NewReaderSize(z, 256<<10), check: xxh3.New()}
	_, _ = sr.check.Write(start) // a hash never fails
	for {
		rec, end, err := sr.next()
		if err != nil {
			return head, fmt.Errorf("reading record %d of the snapshot: %w", sr.count, endsEarly(err))
		}
		if end {
			return head, nil
		}
		if fn != nil {
			if err := fn(rec); err != nil {
				return head, fmt.Errorf("record %d of the snapshot (%s): %w", sr.count-1, rec.Section, err)
			}
		}
	}
}

// readHeader also returns the bytes that it has read: the checksum covers them.
func readHeader(r io.Reader) (SnapshotHeader, []byte, error) {
	start := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(r, start); err != nil {
		return SnapshotHeader{}, nil, fmt.Errorf("reading the snapshot's header: %w", endsEarly(err))
	}
	format, err := snapshotFormatOf(start)
	if err != nil {
		return SnapshotHeader{}, nil, err
	}
	size := binary.LittleEndian.Uint32(start[len(snapshotMagic)+4:])
	if size > maxHeader {
		return SnapshotHeader{}, nil, fmt.Errorf(
			"%w: its header has %d bytes, at most %d are allowed", ErrSnapshot, size, maxHeader)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return SnapshotHeader{}, nil, fmt.Errorf("reading the snapshot's header: %w", endsEarly(err))
	}
	var m wire.SnapshotHeader
	if err := unmarshal(body, &m); err != nil {
		return SnapshotHeader{}, nil, fmt.Errorf("%w: its header: %w", ErrSnapshot, err)
	}
	head := SnapshotHeader{Format: int(format), Index: m.Index, Term: m.Term, Time: app.Time(m.Time)}
	if head.HashVersion = m.HashVersion; head.HashVersion == 0 {
		head.HashVersion = 2 // before the header had the field
	}
	if len(m.Hash) != len(head.Hash) || head.Time < 0 || head.Time > MaxTime {
		return SnapshotHeader{}, nil, fmt.Errorf(
			"%w: its header has a hash of %d bytes and the time %d", ErrSnapshot, len(m.Hash), m.Time)
	}
	head.Hash = Hash(m.Hash)
	return head, append(start, body...), nil
}

// SnapshotStart is how many bytes of a snapshot CheckSnapshotStart needs.
const SnapshotStart = len(snapshotMagic) + 4

// CheckSnapshotStart reports from a snapshot's first SnapshotStart bytes why this version cannot read it; nil if nothing
// in them says so. It is an ErrNewer if a newer version of hm wrote the snapshot.
func CheckSnapshotStart(start []byte) error {
	_, err := snapshotFormatOf(start)
	return err
}

// SnapshotFormatOf gives the format of a snapshot by its first SnapshotStart bytes, also one that this version does not
// read; false if they do not begin a snapshot.
func SnapshotFormatOf(start []byte) (format uint32, ok bool) {
	if len(start) < SnapshotStart || string(start[:len(snapshotMagic)]) != snapshotMagic {
		return 0, false
	}
	return binary.LittleEndian.Uint32(start[len(snapshotMagic):]), true
}

func snapshotFormatOf(start []byte) (uint32, error) {
	switch format, ok := SnapshotFormatOf(start); {
	case !ok:
		return 0, fmt.Errorf("%w: it does not begin like a snapshot of hm, or a transfer has changed its line ends", ErrSnapshot)
	case format == 0:
		return 0, fmt.Errorf("%w: it has format 0, and the first one was 1", ErrSnapshot)
	case format > SnapshotFormat:
		return 0, fmt.Errorf(
			"%w: it has format %d, this version of hm reads formats up to %d: use the version that wrote it, or a newer one (%w)",
			ErrSnapshot, format, SnapshotFormat, ErrNewer)
	default:
		return format, nil
	}
}

func endsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrSnapshot)
	}
	return err
}

type snapshotReader struct {
	in    *bufio.Reader
	check *xxh3.Hasher
	count uint64
	bytes uint64
	frame []byte
	body  []byte
}

// next reads a record or the footer. Nothing may follow the footer.
func (r *snapshotReader) next() (rec SnapshotRecord, end bool, err error) {
	r.frame = r.frame[:0]
	sec, err := r.number("section")
	if err != nil {
		return rec, false, err
	}
	if Section(sec) == sectionEnd {
		return rec, true, r.footer()
	}
	version, err := r.number("version")
	if err != nil {
		return rec, false, err
	}
	size, err := r.number("size")
	if err != nil {
		return rec, false, err
	}
	if size > maxRecord {
		return rec, false, fmt.Errorf("%w: a record of %d bytes, at most %d are allowed", ErrSnapshot, size, maxRecord)
	}
	if r.bytes += size; r.bytes > maxSnapshot {
		return rec, false, fmt.Errorf("%w: its records have more than %d bytes", ErrSnapshot, uint64(maxSnapshot))
	}
	if err := r.read(int(size)); err != nil {
		return rec, false, err
	}
	_, _ = r.check.Write(r.frame)
	_, _ = r.check.Write(r.body)
	r.count++
	return SnapshotRecord{Section: Section(sec), Version: uint32(version), Body: r.body}, false, nil
}

// number reads one number of a record's frame.
func (r *snapshotReader) number(name string) (uint64, error) {
	v, err := binary.ReadUvarint(r.in)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return 0, err
	case err != nil:
		return 0, fmt.Errorf("%w: the %s of a record: %w", ErrSnapshot, name, err)
	case v > 1<<32-1:
		return 0, fmt.Errorf("%w: the %s of a record is %d", ErrSnapshot, name, v)
	}
	r.frame = binary.AppendUvarint(r.frame, v)
	return v, nil
}

// read fills body in steps, so that a wrong length does not allocate more than the snapshot really has.
func (r *snapshotReader) read(size int) error {
	const step = 256 << 10
	r.body = r.body[:0]
	for len(r.body) < size {
		at := len(r.body)
		n := min(step, size-at)
		if cap(r.body) < at+n {
			grown := make([]byte, at, min(size, max(at+n, 2*cap(r.body))))
			copy(grown, r.body)
			r.body = grown
		}
		r.body = r.body[:at+n]
		if _, err := io.ReadFull(r.in, r.body[at:]); err != nil {
			return err
		}
	}
	return nil
}

func (r *snapshotReader) footer() error {
	var b [24]byte
	if _, err := io.ReadFull(r.in, b[:]); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(b[:8]); n != r.count {
		return fmt.Errorf("%w: its footer counts %d records, but it has %d", ErrSnapshot, n, r.count)
	}
	_, _ = r.check.Write(r.frame)
	_, _ = r.check.Write(b[:8])
	if r.check.Sum128().Bytes() != [16]byte(b[8:]) {
		return fmt.Errorf("%w: its checksum is wrong: it is damaged", ErrSnapshot)
	}
	switch _, err := r.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows its end", ErrSnapshot)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: something follows its end: %v", ErrSnapshot, err)
	}
	return nil
}

// RestoreState builds a State from a snapshot. It accepts only what WriteSnapshot writes, and checks that the state has
// the hash in the header. A hash of another HashVersion cannot be checked; the checksum of the whole file is.
func RestoreState(r io.Reader) (*State, error) {
	s, head, err := restore(r)
	if err != nil {
		return nil, err
	}
	if h := s.Hash(); h != head.Hash && head.HashVersion == HashVersion {
		return nil, fmt.Errorf("%w: its state has the hash %s, but its header says %s", ErrSnapshot, h, head.Hash)
	}
	return s, nil
}

// restore is RestoreState without the check of the hash.
func restore(r io.Reader) (*State, SnapshotHeader, error) {
	rs := newRestorer()
	head, err := ReadSnapshot(r, rs.record)
	if err != nil {
		return nil, head, err
	}
	if !rs.meta {
		return nil, head, fmt.Errorf("%w: it has no %s record", ErrSnapshot, SectionMeta)
	}
	rs.s.index, rs.s.term, rs.s.now = head.Index, head.Term, head.Time
	return rs.s, head, nil
}

// restorer builds a State from records.
type restorer struct {
	s       *State
	last    Section
	meta    bool
	desired app.GUID // droplet of the newest desired row
	born    map[uint64]bool
	guids   map[app.GUID]struct{} // instances of the newest DEA
}

func newRestorer() *restorer {
	return &restorer{s: NewState(), born: make(map[uint64]bool), guids: make(map[app.GUID]struct{})}
}

func (r *restorer) record(rec SnapshotRecord) error {
	if rec.Section < r.last {
		return fmt.Errorf("%w: the section is out of order", ErrSnapshot)
	}
	r.last = rec.Section
	for _, sec := range sections {
		if sec.number != rec.Section {
			continue
		}
		if rec.Version != recordVersion {
			return fmt.Errorf("%w: the record has version %d, this version of hm reads %d",
				ErrSnapshot, rec.Version, recordVersion)
		}
		if err := sec.restore(r, rec.Body); err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		return nil
	}
	return fmt.Errorf(
		"%w: this version of hm does not know the section: use the version that wrote it, or a newer one", ErrSnapshot)
}
