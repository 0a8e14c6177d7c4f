package replay

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// numberedFiles gives the names of the files in a directory.
func numberedFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPartsAreNumbered(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.0002.jsonl.zst", "x.12345.jsonl.zst", "x.0003.jsonl", "x.3.jsonl.zst", "x.000.jsonl.zst", "x.-001.jsonl.zst", "y.0009.jsonl.zst", "x.note.jsonl.zst", "x.jsonl.zst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := findParts(filepath.Join(dir, "x.jsonl.zst"))
	if err != nil || !slices.Equal(p.numbers, []int{2, 12345}) || p.last() != 12345 {
		t.Errorf("the parts are %v, %v", p, err)
	}
	if err := p.add(12346, 2); err != nil || !slices.Equal(p.numbers, []int{12345, 12346}) {
		t.Errorf("the parts are %v, %v", p, err)
	}
	if got := numberedFiles(t, dir); slices.Contains(got, "x.0002.jsonl.zst") || len(got) != 8 {
		t.Errorf("left are %v", got)
	}
	for path, want := range map[string]string{"x": "x.0001", "x.json": "x.0001.json", "a.b/x.gz": "a.b/x.0001.gz", ".jsonl": ".jsonl.0001", "x.jsonl.gz": "x.0001.jsonl.gz"} {
		if filepath.Dir(path) != "." {
			path, want = filepath.Join(dir, path), filepath.Join(dir, want)
			_ = os.Mkdir(filepath.Dir(path), 0o700)
		}
		if p, err := findParts(path); err != nil || p.name(1) != want {
			t.Errorf("the first part of %s: %+v, %v, want %s", path, p, err, want)
		}
	}
	if _, err := findParts(filepath.Join(dir, "none", "x.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

// A recorder that is started anew goes on with the numbers, and the parts of both can be replayed together: that nothing
// was heard in between is a gap, and that nobody led before is over.
func TestPartsOfARecorderThatWasStartedAnew(t *testing.T) {
	dir := t.TempDir()
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	for run := range 3 {
		w, err := Create(filepath.Join(dir, "x.jsonl"), WriterOptions{MaxAge: 20 * time.Second, Keep: 4})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			at := start.Add(time.Duration(run)*time.Hour + time.Duration(i)*10*time.Second)
			err = errors.Join(err, w.Message(at, "dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`)))
			if i == 3 {
				err = errors.Join(err, w.Leaderless(at))
			}
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	names := numberedFiles(t, dir)
	if strings.Join(names, " ") != "x.0003.jsonl x.0004.jsonl x.0005.jsonl x.0006.jsonl" {
		t.Fatalf("the files are %v", names)
	}
	var paths []string
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	files, err := Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	wantEvents(t, eventsOf(t, files[0]), "nats, repeat dea-a")
	wantEvents(t, eventsOf(t, files...), "nats, repeat dea-a, nats, repeat dea-a, leader false, link true true, leader true, nats, repeat dea-a, nats, repeat dea-a, leader false")
	r, err := Run(t.Context(), optionsForTests(), files...)
	if err != nil {
		t.Fatal(err)
	}
	reasonsAt := func(at time.Time) (reasons []string) {
		for _, g := range r.Gate {
			if app.Time(g.At) <= app.TimeOf(at) {
				reasons = g.Reasons
			}
		}
		return reasons
	}
	if got := reasonsAt(start.Add(time.Hour + 59*time.Minute)); !slices.Contains(got, "no-leader") {
		t.Errorf("between the second recorder and the third the gate is shut for %v", got)
	}
	if got := reasonsAt(start.Add(2*time.Hour + 5*time.Second)); slices.Contains(got, "no-leader") {
		t.Errorf("with the third recorder the gate is shut for %v", got)
	}
}

// What the second recorder found recorded counts from then on, not what the first one's recording has led to.
func TestARecorderThatWasStartedAnewBeginsWithWhatIsRecorded(t *testing.T) {
	dir := t.TempDir()
	for run, name := range []string{"web", "api"} {
		at := time.Date(2026, 1, 15, 12+run, 0, 0, 0, time.UTC)
		s := raftfsm.NewState()
		row := desired.App{Key: sceneKey(name, "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}
		s.Apply(1, 1, raftfsm.Entry{At: app.TimeOf(at), Records: []raftfsm.Record{
			raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "the test"},
		}})
		w, err := Create(filepath.Join(dir, "x.jsonl"), WriterOptions{MaxAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.State(at, s), w.Message(at.Add(time.Second), "dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`)), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files(filepath.Join(dir, "x.0001.jsonl"), filepath.Join(dir, "x.0002.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	drift := func(sources ...Source) (apps []string) {
		r, err := Run(t.Context(), optionsForTests(), sources...)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Drift {
			apps = append(apps, d.App)
		}
		return apps
	}
	if got := drift(files[0]); !slices.Equal(got, []string{"web"}) {
		t.Errorf("of the first recorder drift %v", got)
	}
	if got := drift(files...); !slices.Equal(got, []string{"api"}) {
		t.Errorf("of both together drift %v", got)
	}
}

// What was heard before a recorder was started anew is held against nothing that is recorded since: the revisions of the
// replay's own record and of the cluster's may be the same by chance.
func TestARecorderThatWasStartedAnewHearsEverythingAnew(t *testing.T) {
	row := desired.App{Key: sceneKey("web", "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}
	said := EncodeHeartbeat(actual.Heartbeat{DEA: "dea-a", Instances: []actual.Instance{{App: row.Key, GUID: sceneGUID("web-0"), State: actual.Running}}})
	for revision := uint64(1); revision < 10; revision++ {
		dir := t.TempDir()
		for run, records := range [][]raftfsm.Record{nil, { // the second recorder begins when web/0 is not recorded yet
			raftfsm.DEAChanges{DEA: "dea-a"}, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "the test"},
		}} {
			at := time.Date(2026, 1, 15, 12+run, 0, 0, 0, time.UTC)
			s := raftfsm.NewState()
			if records != nil {
				s.Apply(revision, 1, raftfsm.Entry{At: app.TimeOf(at), Records: records})
			}
			w, err := Create(filepath.Join(dir, "x.jsonl"), WriterOptions{MaxAge: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.State(at, s), w.Message(at.Add(time.Second), "dea.heartbeat", said), w.Close()); err != nil {
				t.Fatal(err)
			}
		}
		files, err := Files(filepath.Join(dir, "x.0001.jsonl"), filepath.Join(dir, "x.0002.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		opts := optionsForTests()
		opts.Settle = -1
		if r, err := Run(t.Context(), opts, files...); err != nil || len(r.Drift) != 0 {
			t.Errorf("at revision %d: web/0 runs, and drift is %+v, %v", revision, r.Drift, err)
		}
	}
}
