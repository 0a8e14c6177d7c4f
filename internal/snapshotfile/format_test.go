package snapshotfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

var update = flag.Bool("update", false, "write the golden files")

var savedAt = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// fleet gives a state with so many instances.
func fleet(t testing.TB, instances int) *raftfsm.State {
	t.Helper()
	s := raftfsm.NewState()
	var records []raftfsm.Record
	guid := func(kind byte, n int) app.GUID {
		return app.FromBinary([16]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 15: 1}, 'u')
	}
	var rows []desired.App
	lists := map[string][]actual.Instance{}
	for n := range instances {
		k := app.Key{Droplet: guid(1, n/4), Version: guid(2, n/4)}
		if n%4 == 0 {
			rows = append(rows, desired.App{Key: k, Instances: 4, State: desired.Started, Package: desired.Staged})
		}
		dea := "dea-" + guid(4, n/100).String()
		lists[dea] = append(lists[dea], actual.Instance{App: k, GUID: guid(3, n), Index: uint32(n % 4), State: actual.Running, Since: 1_600_000_000_000 + int64(n)})
	}
	records = append(records, raftfsm.ClusterNamed{ID: raftfsm.ClusterID{0xc1, 15: 7}}, raftfsm.DesiredChanges{Generation: 1, Upserts: rows},
		raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "test"}, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "paused", By: "ada"}})
	for _, dea := range slices.Sorted(maps.Keys(lists)) {
		records = append(records, raftfsm.DEAChanges{DEA: dea, Upserts: lists[dea]})
	}
	res := s.Apply(42, 3, raftfsm.Entry{At: 1_700_000_000_000, Records: records})
	if res.Err != nil || len(res.Refused) > 0 {
		t.Fatal(res.Err, res.Refused)
	}
	return s
}

func fileOf(t testing.TB, s *raftfsm.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s, Header{Version: "0.1.0", Node: "hm-1", SavedAt: savedAt}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteAndRead(t *testing.T) {
	for name, s := range map[string]*raftfsm.State{"nothing": raftfsm.NewState(), "a fleet": fleet(t, 500)} {
		data := fileOf(t, s)
		for _, r := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
			got, h, err := Read(r)
			if err != nil || got.Hash() != s.Hash() || h.Index != s.Index() || h.Cluster != s.ClusterID().String() || h.Node != "hm-1" || !h.SavedAt.Equal(savedAt) {
				t.Errorf("%s: read %+v, %v", name, h, err)
			}
		}
		if _, err := Check(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// I10: a file that is cut or altered at any place is found.
func TestEveryAlterationIsFound(t *testing.T) {
	data := fileOf(t, fleet(t, 20))
	for n := range len(data) {
		if _, _, err := Read(bytes.NewReader(data[:n])); !errors.Is(err, ErrFile) {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
		bad := bytes.Clone(data)
		bad[n] ^= 1 << (n % 8)
		if _, _, err := Read(bytes.NewReader(bad)); !errors.Is(err, ErrFile) {
			t.Fatalf("bit %d of byte %d: %v", n%8, n, err)
		}
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[n] ^= 1 << bit
			if _, err := Check(bytes.NewReader(bad)); !errors.Is(err, ErrFile) {
				t.Fatalf("checked without the state, bit %d of byte %d: %v", bit, n, err)
			}
		}
	}
	for name, bad := range map[string][]byte{
		"a byte after it": append(bytes.Clone(data), 0), "twice": append(bytes.Clone(data), data...),
		"other line ends": bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), "nothing": nil,
	} {
		if _, _, err := Read(bytes.NewReader(bad)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("disk error")
	if _, _, err := Read(io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrFile) {
		t.Errorf("when reading fails: %v", err)
	}
}

// A forged file whose checksum is right is refused too, if its header is not that of the state, or its content goes on.
func TestForgedFiles(t *testing.T) {
	s := fleet(t, 20)
	var snapshot bytes.Buffer
	if err := s.WriteSnapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	good := Header{Cluster: s.ClusterID().String(), Index: s.Index(), Term: s.Term(), Time: s.Time(), Hash: s.Hash().String(), SavedAt: savedAt}
	forge := func(head any, format byte, content ...[]byte) []byte {
		text, err := json.Marshal(head)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		out := &chunks{w: &b, sum: xxh3.New(), buf: make([]byte, 0, chunkSize)}
		start := binary.LittleEndian.AppendUint32(append([]byte(magic), format, 0, 0, 0), uint32(len(text)))
		if err := out.raw(append(start, text...)); err != nil {
			t.Fatal(err)
		}
		for _, c := range content {
			_, _ = out.Write(c)
		}
		if err := out.end(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if _, _, err := Read(bytes.NewReader(forge(good, Format, snapshot.Bytes()))); err != nil {
		t.Fatalf("the forger makes no valid file: %v", err)
	}
	other := good
	other.Cluster = raftfsm.ClusterID{0xff, 15: 1}.String()
	earlier := good
	earlier.Index--
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"of another cluster":     {forge(other, Format, snapshot.Bytes()), "its header says"},
		"with another index":     {forge(earlier, Format, snapshot.Bytes()), "its header says"},
		"without content":        {forge(good, Format), "ends early"},
		"with more content":      {forge(good, Format, snapshot.Bytes(), []byte("x")), ""},
		"of a newer format":      {forge(good, 2, snapshot.Bytes()), "format 2"},
		"with an unknown field":  {forge(map[string]any{"secret": 1}, Format, snapshot.Bytes()), "unknown field"},
		"with a header too long": {forge(strings.Repeat("x", maxHeader), Format, snapshot.Bytes()), "at most 4096"},
	} {
		if _, _, err := Read(bytes.NewReader(c.data)); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSaveNeverLeavesHalfAFile(t *testing.T) {
	dir := t.TempDir()
	data := fileOf(t, fleet(t, 200))
	path := filepath.Join(dir, "x.hmsnap")
	for _, in := range []io.Reader{bytes.NewReader(data[:len(data)-1]), io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(errors.New("gone")))} {
		if _, _, err := Save(path, in, nil); err == nil {
			t.Error("half a file was saved")
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	told := int64(0)
	h, size, err := Save(path, bytes.NewReader(data), func(n int64) { told = n })
	if err != nil || size != int64(len(data)) || told != size || h.Index != 42 {
		t.Errorf("saved %d of %d bytes, told %d, %+v, %v", size, len(data), told, h, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there are %v", left)
	}
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	s := fleet(t, 500)
	saved := filepath.Join(dir, "saved.hmsnap")
	if err := os.WriteFile(saved, fileOf(t, s), 0o600); err != nil {
		t.Fatal(err)
	}
	// A data directory: the newest snapshot counts, and none that is not finished.
	for name, of := range map[string]*raftfsm.State{"3-42-1": s, "3-9-1": raftfsm.NewState(), "3-99-1.tmp": fleet(t, 4)} {
		snap := filepath.Join(dir, "node", "raft", "snapshots", name)
		var b bytes.Buffer
		if err := errors.Join(of.WriteSnapshot(&b), os.MkdirAll(snap, 0o750), os.WriteFile(filepath.Join(snap, "state.bin"), b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var got []Summary
	for _, path := range []string{saved, filepath.Join(dir, "node")} {
		sum, err := Inspect(path)
		if err != nil {
			t.Fatal(err)
		}
		sum.File, sum.Size = filepath.Base(sum.File), 0 // the size depends on the compression
		got = append(got, sum)
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "inspect.golden")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, append(text, '\n'), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != string(text)+"\n" {
		t.Errorf("%v\n%s", err, text)
	}
	for _, path := range []string{filepath.Join(dir, "nowhere"), t.TempDir()} {
		if _, err := Inspect(path); err == nil {
			t.Errorf("%s has a snapshot", path)
		}
	}
}

func FuzzRead(f *testing.F) {
	data := fileOf(f, fleet(f, 20))
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(fileOf(f, raftfsm.NewState()))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, h, err := Read(bytes.NewReader(data))
		if err == nil && (s == nil || h.Hash != s.Hash().String() || !bytes.HasPrefix(data, []byte(magic))) {
			t.Errorf("read %+v", h)
		}
		if err != nil && !errors.Is(err, ErrFile) {
			t.Errorf("%v does not say that the file is invalid", err)
		}
		if _, checked := Check(bytes.NewReader(data)); err == nil && checked != nil {
			t.Error(checked)
		}
	})
}

// BenchmarkSave saves a snapshot of 1,000,000 instances, and BenchmarkInspect reads it. The budget is 2 s and 64 MiB.
func BenchmarkSave(b *testing.B) {
	s := fleet(b, 1_000_000).Freeze()
	var size int
	for b.Loop() {
		size = len(fileOf(b, s))
	}
	report(b, size)
}

func BenchmarkInspect(b *testing.B) {
	data := fileOf(b, fleet(b, 1_000_000))
	for b.Loop() {
		if _, _, err := Read(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	report(b, len(data))
}

func report(b *testing.B, size int) {
	b.ReportMetric(float64(size)/(1<<20), "MiB")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/2, "of-2s")
	b.ReportMetric(float64(size)/(64<<20), "of-64MiB")
}
