package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	"hm/actual"
	"hm/raftfsm/internal/wire"
)

var update = flag.Bool("update", false, "write golden files; released snapshot fixtures are only ever added")

func TestSnapshotAndRestore(t *testing.T) {
	for name, s := range map[string]*State{"empty": NewState(), "sample": sampleState(t), "fleet": newFleet(4000, 40).state()} {
		t.Run(name, func(t *testing.T) {
			data := snapshotOf(t, s)
			got, err := RestoreState(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			mustBeEqual(t, "restored state", inventory(got), inventory(s))
			if !bytes.Equal(snapshotOf(t, got), data) {
				t.Error("the restored state has another snapshot")
			}
			found := map[Section]int{}
			head, err := ReadSnapshot(bytes.NewReader(data), func(r SnapshotRecord) error {
				found[r.Section]++
				return nil
			})
			if err != nil || head != (SnapshotHeader{Format: 1, Index: s.Index(), Term: s.Term(), Time: s.Time(), Hash: s.Hash(), HashVersion: HashVersion}) {
				t.Errorf("header %+v, %v", head, err)
			}
			for _, sec := range sections {
				if name == "sample" && found[sec.number] == 0 {
					t.Errorf("the sample has nothing in section %s", sec.number)
				}
			}
		})
	}
}

// Equal entries give equal bytes, whatever the layout in memory: the second state is restored several times.
func TestSnapshotsOfEqualStatesAreEqual(t *testing.T) {
	entries := sampleEntries()
	a, b := NewState(), NewState()
	for i, e := range entries {
		a.Apply(uint64(i+1), 1, e)
		b.Apply(uint64(i+1), 1, e)
		b.Freeze()
		if i%3 == 0 {
			var err error
			if b, err = RestoreState(bytes.NewReader(snapshotOf(t, b))); err != nil {
				t.Fatal(err)
			}
		}
		if a.Hash() != b.Hash() || !bytes.Equal(snapshotOf(t, a), snapshotOf(t, b)) {
			t.Fatalf("after entry %d the states differ", i+1)
		}
	}
}

func TestDamagedSnapshots(t *testing.T) {
	s := sampleState(t)
	data := snapshotOf(t, s)
	accepted := 0
	for n := range len(data) {
		if _, err := RestoreState(bytes.NewReader(data[:n])); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(data))
		} else if n < 30 && !strings.Contains(err.Error(), "ends early") {
			t.Errorf("%d bytes: %v", n, err)
		}
		bad := bytes.Clone(data)
		bad[n] ^= 0x10
		if got, err := RestoreState(bytes.NewReader(bad)); err == nil {
			accepted++ // zstd's frame has a bit without a meaning
			mustBeEqual(t, "state of a snapshot with a changed byte", inventory(got), inventory(s))
		}
	}
	if accepted > 2 {
		t.Errorf("%d changed bytes were not noticed", accepted)
	}
	if _, err := RestoreState(bytes.NewReader(append(bytes.Clone(data), 0))); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "follows") {
		t.Errorf("with a byte after its end: %v", err)
	}
	if _, err := RestoreState(bytes.NewReader(append(bytes.Clone(data), data...))); err == nil {
		t.Error("two snapshots were accepted as one")
	}
	mended := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if _, err := RestoreState(bytes.NewReader(mended)); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "line ends") {
		t.Errorf("with its line ends changed: %v", err)
	}
	newer := bytes.Clone(data)
	newer[len(snapshotMagic)] = 2
	if _, err := RestoreState(bytes.NewReader(newer)); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("of a newer format: %v", err)
	}
	broken := errors.New("disk error")
	if _, err := RestoreState(io.MultiReader(bytes.NewReader(data[:len(data)/2]), errReader{broken})); !errors.Is(err, broken) {
		t.Errorf("when reading fails: %v", err)
	}
	stop := errors.New("enough")
	if _, err := ReadSnapshot(bytes.NewReader(data), func(SnapshotRecord) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("when the caller fails: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// piece is a record of a forged snapshot.
type piece struct {
	sec  Section
	body []byte
}

func pieceOf(t testing.TB, sec Section, m proto.Message) piece {
	t.Helper()
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return piece{sec, b}
}

// forge makes a snapshot with a valid frame, count and checksum from any records.
func forge(t testing.TB, hash Hash, pieces ...piece) []byte {
	t.Helper()
	return forgeHead(t, &wire.SnapshotHeader{Hash: hash[:]}, pieces...)
}

func forgeHead(t testing.TB, head *wire.SnapshotHeader, pieces ...piece) []byte {
	t.Helper()
	var b []byte
	for _, p := range pieces {
		b = binary.AppendUvarint(b, uint64(p.sec))
		b = binary.AppendUvarint(b, recordVersion)
		b = binary.AppendUvarint(b, uint64(len(p.body)))
		b = append(b, p.body...)
	}
	b = append(b, byte(sectionEnd))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(pieces)))
	return forgeFrame(t, head, b, true)
}

func forgeFrame(t testing.TB, header *wire.SnapshotHeader, records []byte, sum bool) []byte {
	t.Helper()
	head, err := marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	start := append([]byte(snapshotMagic), NewState().snapshotFormat(), 0, 0, 0)
	start = append(binary.LittleEndian.AppendUint32(start, uint32(len(head))), head...)
	if sum {
		h := xxh3.Hash128(append(bytes.Clone(start), records...)).Bytes()
		records = append(records, h[:]...)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(records, start)
}

func TestForgedSnapshots(t *testing.T) {
	k0, k1 := testKey(0), testKey(1)
	meta := pieceOf(t, SectionMeta, &wire.SnapshotMeta{Births: 5, Revision: 9})
	apps := func(rows []byte, keys ...[]byte) piece {
		n := len(keys)
		return pieceOf(t, SectionApps, &wire.SnapshotApps{Keys: bytes.Join(keys, nil), Rows: rows, Instances: make([]uint32, n), Rev: make([]uint64, n), GrewAt: make([]int64, n)})
	}
	a0, a1 := appendKey(nil, k0), appendKey(nil, k1)
	k0next := k0
	k0next.Version = testGUID('f', 8, 'u')
	two := apps(make([]byte, 6), a0, a1)
	g := testGUID('c', 0, 'u').AppendWire(nil)
	dea := func(change func(*wire.SnapshotDEA)) piece {
		m := &wire.SnapshotDEA{Id: []byte("dea"), Born: 1, App: []uint32{0}, Index: []uint32{1}, States: []byte{2}, Guids: g, Since: []int64{3}, Heard: []int64{3}}
		change(m)
		return pieceOf(t, SectionDEA, m)
	}
	good := dea(func(*wire.SnapshotDEA) {})
	pending := start(1, k0, 0)
	pending.State = commandPending
	done := pending
	done.State = 4
	cmds := func(c ...*wire.Command) piece { return pieceOf(t, SectionCommands, &wire.Commands{Commands: c}) }
	crash := func(c ...*wire.SnapshotCrash) piece {
		return pieceOf(t, SectionCrashes, &wire.SnapshotCrashes{Crashes: c})
	}
	marks := func(m ...*wire.SnapshotMark) piece { return pieceOf(t, SectionMarks, &wire.SnapshotMarks{Marks: m}) }
	none := []byte{0}
	stranger := start(2, testKey(9), 0)
	stranger.State = commandPending
	for name, c := range map[string]struct {
		pieces []piece
		want   string
	}{
		"a wrong hash":              {[]piece{meta}, "its header says"},
		"no meta record":            {nil, "no meta record"},
		"meta twice":                {[]piece{meta, meta}, "twice"},
		"sections out of order":     {[]piece{meta, two, meta}, "out of order"},
		"an unknown section":        {[]piece{meta, {99, nil}}, "does not know the section"},
		"a body that is no message": {[]piece{meta, {SectionApps, []byte{0xff}}}, ""},
		"apps out of order":         {[]piece{meta, apps(make([]byte, 6), a1, a0)}, "out of order"},
		"an app twice":              {[]piece{meta, apps(make([]byte, 6), a0, a0)}, "out of order"},
		"apps without rows":         {[]piece{meta, apps(nil, a0)}, "columns"},
		"an app without a state":    {[]piece{meta, apps([]byte{1, 0, 0}, a0)}, "run state"},
		"two desired versions":      {[]piece{meta, apps([]byte{1, 1, 1, 1, 1, 1}, a0, appendKey(nil, k0next))}, "two versions"},
		"an app without a key":      {[]piece{meta, apps(make([]byte, 3), []byte{0, 0})}, "no droplet"},
		"half a desired row":        {[]piece{meta, apps([]byte{0, 1, 1}, a0)}, "not desired"},
		"a DEA twice":               {[]piece{meta, two, good, good}, "out of order"},
		"a DEA with a bad id":       {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Id = nil })}, "valid DEA id"},
		"a DEA with number 0":       {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Born = 0 })}, "not unique or not from 1 to 5"},
		"a DEA with a high number":  {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Born = 6 })}, "not unique or not from 1 to 5"},
		"two DEAs, one number":      {[]piece{meta, two, good, dea(func(m *wire.SnapshotDEA) { m.Id = []byte("dea2") })}, "not unique or not from 1 to 5"},
		"gone, with instances":      {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.GoneAt = 4 })}, "cannot have"},
		"columns that differ":       {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Index = nil })}, "columns"},
		"an instance of no app":     {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.App[0] = 2 })}, "belongs to app"},
		"an app's number overflows": {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.App[0] = 1<<32 - 1 })}, "belongs to app"},
		"no state":                  {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.States[0] = 0 })}, "invalid instance"},
		"large index":               {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Index[0] = actual.MaxIndex + 1 })}, "invalid instance"},
		"negative since":            {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Since[0] = -1 })}, "invalid instance"},
		"no guid":                   {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Guids = none })}, "invalid instance"},
		"half a guid":               {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Guids = g[:4] })}, "guids"},
		"guids too many":            {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) { m.Guids = append(bytes.Clone(g), g...) })}, "too many"},
		"a guid twice": {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) {
			m.Heard, m.App, m.Index, m.States, m.Since, m.Guids = []int64{1, 0}, []uint32{0, 1}, []uint32{0, 0}, []byte{1, 1}, []int64{1, 1}, append(bytes.Clone(g), g...)
		})}, "twice"},
		"instances out of order": {[]piece{meta, two, dea(func(m *wire.SnapshotDEA) {
			m.Heard, m.App, m.Index, m.States, m.Since, m.Guids = []int64{1, 0}, []uint32{1, 1<<32 - 1}, []uint32{0, 0}, []byte{1, 1}, []int64{1, 1}, append(testGUID('c', 3, 'u').AppendWire(nil), g...)
		})}, "out of order"},
		"a command of no app":     {[]piece{meta, two, cmds(encodeCommand(&stranger))}, "invalid command"},
		"a command that ended":    {[]piece{meta, two, cmds(encodeCommand(&done))}, "invalid command"},
		"a command twice":         {[]piece{meta, two, cmds(encodeCommand(&pending), encodeCommand(&pending))}, "out of order"},
		"a command without an id": {[]piece{meta, two, cmds(&wire.Command{})}, "command id"},
		"a crash of no app":       {[]piece{meta, two, crash(&wire.SnapshotCrash{App: appendKey(nil, testKey(9)), Instance: none, Exited: none})}, "invalid crash record"},
		"a crash twice": {[]piece{meta, two, crash(&wire.SnapshotCrash{App: a0, Instance: none, Exited: none}, &wire.SnapshotCrash{App: a0, Instance: none, Exited: none})},
			"out of order"},
		"a mark of no app":      {[]piece{meta, two, marks(&wire.SnapshotMark{App: appendKey(nil, testKey(9)), Instance: g, Mark: 1})}, "invalid crash mark"},
		"a mark without guid":   {[]piece{meta, two, marks(&wire.SnapshotMark{App: a0, Instance: none, Mark: 1})}, "invalid crash mark"},
		"a mark that is new":    {[]piece{meta, two, marks(&wire.SnapshotMark{App: a0, Instance: g})}, "invalid crash mark"},
		"a mark twice":          {[]piece{meta, two, marks(&wire.SnapshotMark{App: a0, Instance: g, Mark: 1}, &wire.SnapshotMark{App: a0, Instance: g, Mark: 2})}, "out of order"},
		"a hold without a name": {[]piece{meta, pieceOf(t, SectionHolds, &wire.SnapshotHolds{Holds: []*wire.Hold{{}}})}, "hold's name"},
		"a hold twice": {[]piece{meta, pieceOf(t, SectionHolds, &wire.SnapshotHolds{Holds: []*wire.Hold{{Name: []byte("a")}, {Name: []byte("a")}}})},
			"out of order"},
		"staged for generation 0": {[]piece{meta, pieceOf(t, SectionStaged, &wire.DesiredChanges{})}, "cannot be staged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := RestoreState(bytes.NewReader(forge(t, Hash{1}, c.pieces...)))
			if !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Fatalf("restored %v, %v; want an error about %q", s != nil, err, c.want)
			}
		})
	}
	// The frame of forge is valid: with the right hash the snapshot is accepted.
	rs := newRestorer()
	if err := rs.record(SnapshotRecord{SectionMeta, recordVersion, meta.body}); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreState(bytes.NewReader(forge(t, rs.s.Hash(), meta))); err != nil {
		t.Fatalf("a valid snapshot: %v", err)
	}
	records := append([]byte{byte(SectionMeta), recordVersion, byte(len(meta.body))}, meta.body...)
	records = binary.LittleEndian.AppendUint64(append(records, byte(sectionEnd)), 1)
	hash := rs.s.Hash()
	if _, err := RestoreState(bytes.NewReader(forgeFrame(t, &wire.SnapshotHeader{Hash: hash[:]}, append(records, make([]byte, 16)...), false))); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "checksum") {
		t.Fatalf("with a wrong checksum: %v", err)
	}
}

const commandPending = 1

// Wrong lengths, and data that decompresses to much more, take little memory.
func TestHostileSnapshotsTakeLittleMemory(t *testing.T) {
	huge := binary.AppendUvarint([]byte{byte(SectionApps), recordVersion}, 1<<40)
	large := binary.AppendUvarint([]byte{byte(SectionApps), recordVersion}, maxRecord)
	var unfolds []byte
	for range 16 {
		unfolds = append(append(unfolds, large...), make([]byte, maxRecord)...)
	}
	header := append([]byte(snapshotMagic), NewState().snapshotFormat(), 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
	for name, data := range map[string][]byte{
		"a record of a TiB":     forgeFrame(t, &wire.SnapshotHeader{Hash: make([]byte, 16)}, huge, false),
		"a number without end":  forgeFrame(t, &wire.SnapshotHeader{Hash: make([]byte, 16)}, bytes.Repeat([]byte{0xff}, 100), false),
		"less than it promises": forgeFrame(t, &wire.SnapshotHeader{Hash: make([]byte, 16)}, append(bytes.Clone(large), make([]byte, 1000)...), false),
		"64 MiB of nothing":     forgeFrame(t, &wire.SnapshotHeader{Hash: make([]byte, 16)}, unfolds, false),
		"a header of 4 GiB":     header,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadSnapshot(bytes.NewReader(data), nil)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
			t.Errorf("%s (%d bytes): %d MiB were allocated", name, len(data), used>>20)
		}
	}
}

// Every released format stays readable. Each has a directory in testdata/snapshots that is never edited.
func TestReleasedSnapshots(t *testing.T) {
	dir := filepath.Join("..", "testdata", "snapshots", "v1")
	snap, golden := filepath.Join(dir, "sample.hmsnap"), filepath.Join(dir, "sample.golden")
	if _, err := os.Stat(snap); *update && errors.Is(err, os.ErrNotExist) {
		s := sampleState(t)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(snap, snapshotOf(t, s), 0o644), os.WriteFile(golden, []byte(inventory(s)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(snap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := RestoreState(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	// The file does not have what was added to the model later.
	got := strings.ReplaceAll(inventory(s), " LetterCase:{Droplet:0 Version:0}", "")
	mustBeEqual(t, "restored fixture", got, string(want))
}

// Any records in a valid frame give an error, or a state with the right hash.
func FuzzRestoreRecords(f *testing.F) {
	for _, s := range []*State{NewState(), sampleState(f)} {
		var b []byte
		if _, err := ReadSnapshot(bytes.NewReader(snapshotOf(f, s)), func(r SnapshotRecord) error {
			b = binary.LittleEndian.AppendUint16(append(b, byte(r.Section)), uint16(len(r.Body)))
			b = append(b, r.Body...)
			return nil
		}); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	sample := sampleEntries()
	f.Fuzz(func(t *testing.T, data []byte) {
		rs := newRestorer()
		for len(data) >= 3 {
			n := min(int(binary.LittleEndian.Uint16(data[1:])), len(data)-3)
			if rs.record(SnapshotRecord{Section(data[0]), recordVersion, data[3 : 3+n]}) != nil {
				return
			}
			data = data[3+n:]
		}
		s := rs.s
		for i, e := range sample {
			s.Apply(uint64(i+1), 1, e)
		}
		if recomputed(s) != s.Hash() {
			t.Fatalf("the hash is %s, recomputed it is %s", s.Hash(), recomputed(s))
		}
	})
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(snapshotOf(f, NewState()))
	f.Add(snapshotOf(f, sampleState(f)))
	f.Add(forgeFrame(f, &wire.SnapshotHeader{Hash: make([]byte, 16)}, binary.AppendUvarint([]byte{byte(SectionApps), recordVersion}, 1<<40), false))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := RestoreState(bytes.NewReader(data))
		if err != nil {
			return
		}
		if recomputed(s) != s.Hash() {
			t.Fatal("restored a state with a wrong hash")
		}
	})
}
