package raftfsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// Section is the number of a kind of snapshot record. A number is never reused. A snapshot has its sections in
// ascending order.
type Section uint32

// The sections.
const (
	SectionMeta     Section = 1 // single values of the state
	SectionApps     Section = 2
	SectionDEA      Section = 3 // one DEA with its instances
	SectionCommands Section = 4
	SectionCrashes  Section = 5
	SectionHolds    Section = 6
	SectionStaged   Section = 7 // one staged part of a desired read
	SectionMarks    Section = 8 // crash marks
	SectionCluster  Section = 9 // the cluster itself; missing while it has no id and was never restored

	sectionEnd Section = 0 // the footer
)

var sectionNames = [...]string{
	"footer", "meta", "apps", "DEA", "commands", "crashes", "holds", "staged desired changes", "crash marks",
	"cluster",
}

// String returns the name of the section.
func (s Section) String() string {
	if int(s) < len(sectionNames) {
		return sectionNames[s]
	}
	return fmt.Sprintf("section %d", uint32(s))
}

// section has the functions that write and read a section.
type section struct {
	number  Section
	persist func(*State, *snapshotWriter) error
	restore func(*restorer, []byte) error
}

// sections are in the order of a snapshot. A retired section keeps its row and its restore.
var sections = append([]section{
	{SectionMeta, persistMeta, restoreMeta},
	{SectionApps, persistApps, restoreApps},
	{SectionDEA, persistDEAs, restoreDEA},
	{SectionCommands, persistCommands, restoreCommands},
	{SectionCrashes, persistCrashes, restoreCrashes},
	{SectionHolds, persistHolds, restoreHolds},
	{SectionStaged, persistStaged, restoreStaged},
	{SectionMarks, persistMarks, restoreMarks},
	{SectionCluster, persistCluster, restoreCluster},
}, futureSections...)

// SnapshotFormat is the newest format of snapshots that this version reads; it reads all older ones. It writes the oldest
// format that can hold the state: see State.snapshotFormat.
const SnapshotFormat = 1 + futureFormats

// snapshotFormat is the oldest format that has all sections, versions of records, and fields that the state needs. So a
// node of an older version can read a snapshot until something is recorded that it does not know, and that is proposed
// only when every voter knows it.
func (s *State) snapshotFormat() byte { return 1 + s.future.formats() }

// The frame of a snapshot. DESIGN.md describes every byte.
const (
	snapshotMagic = "hmsnap\r\n" // shows at once that a transfer has changed line ends
	recordVersion = 1            // version of the records of every section

	maxHeader     = 4 << 10
	maxRecord     = 4 << 20 // bytes of one record
	maxSnapshot   = 4 << 30 // bytes of all records, uncompressed; 1,000,000 instances take 45 MiB
	snapshotChunk = 1024    // rows in a record that holds many
)

// SnapshotHeader describes the state in a snapshot.
type SnapshotHeader struct {
	Format      int
	Index, Term uint64 // of the newest applied entry
	Time        app.Time
	Hash        Hash // of the whole state
	HashVersion uint32
}

// WriteSnapshot writes the state. Equal states give equal bytes. The state must not change meanwhile: freeze it first.
func (s *State) WriteSnapshot(w io.Writer) error {
	hash := s.Hash()
	head, err := marshal(&wire.SnapshotHeader{Index: s.index, Term: s.term, Time: int64(s.now), Hash: hash[:], HashVersion: HashVersion})
	if err != nil {
		return fmt.Errorf("encoding the snapshot's header: %w", err)
	}
	start := append([]byte(snapshotMagic), s.snapshotFormat(), 0, 0, 0)
	start = binary.LittleEndian.AppendUint32(start, uint32(len(head)))
	start = append(start, head...)
	if _, err := w.Write(start); err != nil {
		return fmt.Errorf("writing the snapshot's header: %w", err)
	}
	z, err := zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return fmt.Errorf("compressing the snapshot: %w", err)
	}
	sw := &snapshotWriter{out: bufio.NewWriterSize(z, 256<<10), check: xxh3.New()}
	_, _ = sw.check.Write(start) // a hash never fails
	for _, sec := range sections {
		if err := sec.persist(s, sw); err != nil {
			_ = z.Close() // the first error is the one to report
			return fmt.Errorf("writing the snapshot's %s: %w", sec.number, err)
		}
	}
	if err := sw.finish(); err != nil {
		_ = z.Close()
		return fmt.Errorf("writing the snapshot's footer: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("writing the end of the snapshot: %w", err)
	}
	return nil
}

// snapshotWriter writes records, counts them and keeps their checksum.
type snapshotWriter struct {
	out   *bufio.Writer
	check *xxh3.Hasher
	count uint64
	buf   []byte

	position []uint32 // by handle: an app's position in the snapshot; set when the apps are written
}

// record writes one record of a section.
func (w *snapshotWriter) record(sec Section, m proto.Message) error {
	size := proto.Size(m)
	if size > maxRecord {
		return fmt.Errorf("a record has %d bytes, at most %d are allowed", size, maxRecord)
	}
	b := binary.AppendUvarint(w.buf[:0], uint64(sec))
	b = binary.AppendUvarint(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(size))
	b, err := proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return err
	}
	w.buf = b
	w.count++
	return w.write(b)
}

func (w *snapshotWriter) write(b []byte) error {
	_, _ = w.check.Write(b)
	_, err := w.out.Write(b)
	return err
}

// finish writes the footer.
func (w *snapshotWriter) finish() error {
	b := binary.AppendUvarint(w.buf[:0], uint64(sectionEnd))
	b = binary.LittleEndian.AppendUint64(b, w.count)
	if err := w.write(b); err != nil {
		return err
	}
	sum := w.check.Sum128().Bytes()
	if _, err := w.out.Write(sum[:]); err != nil {
		return err
	}
	return w.out.Flush()
}

// sortedApps returns the handles in use, in the order of their keys.
func (s *State) sortedApps() []Handle {
	type item struct {
		prefix uint64
		h      Handle
	}
	items := make([]item, 0, s.apps.len())
	var buf [app.MaxGUIDLen]byte
	for h := range s.apps.len() {
		h := Handle(h)
		if !s.apps.get(h).used() {
			continue
		}
		var first [8]byte // keys are sorted by text; the first bytes mostly decide
		copy(first[:], s.apps.droplet(h).AppendTo(buf[:0]))
		items = append(items, item{binary.BigEndian.Uint64(first[:]), h})
	}
	slices.SortFunc(items, func(a, b item) int {
		if n := cmp.Compare(a.prefix, b.prefix); n != 0 {
			return n
		}
		return s.apps.key(a.h).Compare(s.apps.key(b.h))
	})
	out := make([]Handle, len(items))
	for i := range items {
		out[i] = items[i].h
	}
	return out
}

func persistMeta(s *State, w *snapshotWriter) error {
	return w.record(SectionMeta, &wire.SnapshotMeta{
		Revision: s.rev, Births: s.births, SentStarts: s.counts.SentStarts, SentStops: s.counts.SentStops,
		Generation: s.meta.Generation, CommittedAt: int64(s.meta.CommittedAt), Source: []byte(s.meta.Source),
		Complete: s.meta.Complete,
	})
}

func restoreMeta(r *restorer, body []byte) error {
	var m wire.SnapshotMeta
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	if r.meta {
		return fmt.Errorf("the record comes twice")
	}
	if len(m.Source) > maxText {
		return fmt.Errorf("the source of the desired state has %d bytes, at most %d are allowed", len(m.Source), maxText)
	}
	r.meta = true
	r.s.rev, r.s.births = m.Revision, m.Births
	r.s.counts.SentStarts, r.s.counts.SentStops = m.SentStarts, m.SentStops
	r.s.meta = DesiredMeta{Generation: m.Generation, CommittedAt: app.Time(m.CommittedAt), Source: string(m.Source),
		Complete: m.Complete}
	return nil
}
