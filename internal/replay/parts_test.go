package replay

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/raftfsm"
)

func TestPartsPlayAsOne(t *testing.T) {
	s := scenes(t)["R01-missing"]
	path := filepath.Join(t.TempDir(), "r.jsonl.gz")
	w, err := recording.Create(path, recording.WriterOptions{MaxAge: 50 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	one := s.record()
	recordingtest.Rewrite(t, w, one)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(paths) != 4 || filepath.Base(paths[0]) != "r.0001.jsonl.gz" {
		t.Fatalf("%v %v", paths, err)
	}
	files, err := recording.Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	want := replay(t, recording.Text("one", one))
	got := replay(t, files...)
	if got.Events-3 != want.Events { // each further part begins with the newest read
		t.Errorf("%d events in parts, %d in one", got.Events, want.Events)
	}
	got.Events = want.Events
	if string(got.JSON()) != string(want.JSON()) {
		t.Errorf("in parts:\n%s\nin one:\n%s", got.JSON(), want.JSON())
	}
	if r := replay(t, files[2]); len(r.Drift) > 0 || len(r.Commands) > 0 {
		t.Errorf("the third part by itself gives %s", r.JSON())
	}
	files[1], files[2] = files[2], files[1]
	if _, err := Run(t.Context(), optionsForTests(), files...); err == nil || !strings.Contains(err.Error(), "0003.jsonl.gz:1: the files are not in the order of time") {
		t.Errorf("parts in the wrong order: %v", err)
	}
}

// A restarted recorder continues the numbers. The parts of both recorders can be replayed together. Between them there
// is a gap, and after it there is a leader.
func TestPartsOfARestartedRecorder(t *testing.T) {
	dir := t.TempDir()
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	for run := range 3 {
		w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: 20 * time.Second, Keep: 4})
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
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) != 4 || filepath.Base(paths[0]) != "x.0003.jsonl" || filepath.Base(paths[3]) != "x.0006.jsonl" {
		t.Fatalf("the files are %v, %v", paths, err)
	}
	files, err := recording.Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	recordingtest.WantEvents(t, recordingtest.Events(t, files[0]), "nats, repeat dea-a")
	recordingtest.WantEvents(t, recordingtest.Events(t, files...), "nats, repeat dea-a, nats, repeat dea-a, leader false, link true true, leader true, nats, repeat dea-a, nats, repeat dea-a, leader false")
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
		t.Errorf("between the second recorder and the third the gate is closed for %v", got)
	}
	if got := reasonsAt(start.Add(2*time.Hour + 5*time.Second)); slices.Contains(got, "no-leader") {
		t.Errorf("with the third recorder the gate is closed for %v", got)
	}
}

// The state at the beginning of the second recorder's part replaces the one that the replay has reached.
func TestStateOfARestartedRecorderCounts(t *testing.T) {
	dir := t.TempDir()
	for run, name := range []string{"web", "api"} {
		at := time.Date(2026, 1, 15, 12+run, 0, 0, 0, time.UTC)
		s := raftfsm.NewState()
		row := desired.App{Key: recordingtest.Key(name, "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}
		s.Apply(1, 1, raftfsm.Entry{At: app.TimeOf(at), Records: []raftfsm.Record{
			raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "the test"},
		}})
		w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.State(at, s), w.Message(at.Add(time.Second), "dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`)), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := recording.Files(filepath.Join(dir, "x.0001.jsonl"), filepath.Join(dir, "x.0002.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	drift := func(sources ...recording.Source) (apps []string) {
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
		t.Errorf("the first recorder gives drift %v", got)
	}
	if got := drift(files...); !slices.Equal(got, []string{"api"}) {
		t.Errorf("both recorders together give drift %v", got)
	}
}

// A heartbeat that is identical to one from before the restart still counts as new: the state may not have it, even if
// the revisions of the two states are equal by chance.
func TestHeartbeatsAfterARestartAreNew(t *testing.T) {
	row := desired.App{Key: recordingtest.Key("web", "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}
	payload := recording.EncodeHeartbeat(actual.Heartbeat{DEA: "dea-a", Instances: []actual.Instance{{App: row.Key, GUID: app.MustGUID("web-0"), State: actual.Running}}})
	for revision := uint64(1); revision < 10; revision++ {
		dir := t.TempDir()
		for run, records := range [][]raftfsm.Record{nil, { // web/0 is not recorded yet when the second recorder starts
			raftfsm.DEAChanges{DEA: "dea-a"}, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "the test"},
		}} {
			at := time.Date(2026, 1, 15, 12+run, 0, 0, 0, time.UTC)
			s := raftfsm.NewState()
			if records != nil {
				s.Apply(revision, 1, raftfsm.Entry{At: app.TimeOf(at), Records: records})
			}
			w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.State(at, s), w.Message(at.Add(time.Second), "dea.heartbeat", payload), w.Close()); err != nil {
				t.Fatal(err)
			}
		}
		files, err := recording.Files(filepath.Join(dir, "x.0001.jsonl"), filepath.Join(dir, "x.0002.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		opts := optionsForTests()
		opts.Settle = -1
		if r, err := Run(t.Context(), opts, files...); err != nil || len(r.Drift) != 0 {
			t.Errorf("at revision %d: drift is %+v, %v, although web/0 runs", revision, r.Drift, err)
		}
	}
}
