// Package recordingtest helps the tests that read and write recordings.
package recordingtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/actual/feed"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/raftfsm"
)

// Corpus is the directory of the recordings with golden results, as seen from a package below internal.
const Corpus = "../../testdata/recordings"

// The lines of a small recording.
const (
	HeaderLine    = `{"type":"header","format":1,"started":"2026-01-15T12:00:00Z"}` + "\n"
	DesiredLine   = `{"t":"2026-01-15T12:00:00Z","type":"desired","apps":[{"id":"web","version":"v1","instances":1,"state":"STARTED","package_state":"STAGED"}]}` + "\n"
	HeartbeatLine = `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"dea.heartbeat","data":{"dea":"dea-a","droplets":[]}}` + "\n"
)

// Key returns the key of an app.
func Key(droplet, version string) app.Key {
	return app.Key{Droplet: app.MustGUID(droplet), Version: app.MustGUID(version)}
}

// StateLine returns a line with a state whose newest entry is of hm time now.
func StateLine(tb testing.TB, at string, now app.Time) []byte {
	tb.Helper()
	s := raftfsm.NewState()
	s.Apply(1, 1, raftfsm.Entry{At: now, Records: []raftfsm.Record{raftfsm.DEAChanges{DEA: "dea-a"}}})
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{})
	if err := errors.Join(w.State(t, s), w.Close()); err != nil {
		tb.Fatal(err)
	}
	_, text, _ := bytes.Cut(out.Bytes(), []byte("\n"))
	return text
}

// Load returns a recording of the corpus that is stored without compression.
func Load(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(Corpus, name+".jsonl"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// AddSeeds adds recordings with every type of line, and files that only begin as recordings do.
func AddSeeds(f *testing.F) {
	f.Add([]byte(HeaderLine + DesiredLine + HeartbeatLine))
	for _, name := range []string{"R01-missing", "R34-exit-crashed", "W14-one-bad-entry", "outage-nats-gap", "outage-leader-change", "outage-cc-failing"} {
		f.Add(Load(f, name))
	}
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Add([]byte(HeaderLine + `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"dea.heartbeat","base64":"AAA="}`))
	f.Add(append(append([]byte(HeaderLine), StateLine(f, "2026-01-15T12:00:00Z", 1)...), DesiredLine+HeartbeatLine...))
	f.Add([]byte(HeaderLine + DesiredLine + `{"t":"2026-01-15T12:00:01Z","type":"hold","name":"paused","set":true,"until":"2026-01-15T12:01:00Z"}`))
	f.Add([]byte(HeaderLine + DesiredLine + `{"t":"2026-01-15T12:00:01Z","type":"desired","app":"web","apps":[]}`))
}

// Each calls do with each event of a recording until it returns false.
func Each(tb testing.TB, do func(*recording.Event) bool, sources ...recording.Source) {
	tb.Helper()
	r, err := recording.NewReader(sources...)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	for {
		var e recording.Event
		if err := r.Next(&e); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			tb.Fatal(err)
		}
		if !do(&e) {
			return
		}
	}
}

// Events returns the events of a recording in short.
func Events(tb testing.TB, sources ...recording.Source) (all []string) {
	tb.Helper()
	Each(tb, func(e *recording.Event) bool {
		switch {
		case e.Type == recording.TypeLink:
			all = append(all, fmt.Sprintf("link %t %t", e.Up, e.Gap))
		case e.Repeat != "":
			all = append(all, "repeat "+e.Repeat)
		case e.Type == recording.TypeNATS:
			all = append(all, "nats")
		case e.Type == recording.TypeLeader:
			all = append(all, fmt.Sprintf("leader %t", !e.Leaderless))
		case e.Type == recording.TypeDesired && !e.OnlyApp.IsZero():
			all = append(all, fmt.Sprintf("one %s %s%d", e.OnlyApp, e.Failed, len(e.Read.Apps)))
		case e.Type == recording.TypeDesired:
			all = append(all, fmt.Sprintf("desired %s%d %t", e.Failed, len(e.Read.Apps), e.Unchanged))
		case e.Type == recording.TypeHold:
			all = append(all, fmt.Sprintf("hold %s %t", e.Hold.Name, !e.Released))
		case e.Type == recording.TypeState:
			all = append(all, "state")
		}
		return true
	}, sources...)
	return all
}

// WantEvents checks events as Events returns them, joined by commas.
func WantEvents(tb testing.TB, got []string, want string) {
	tb.Helper()
	if joined := strings.Join(got, ", "); joined != want {
		tb.Errorf("the recording has %s\nwant              %s", joined, want)
	}
}

// State returns the state that a recording begins with.
func State(tb testing.TB, data []byte) (s *raftfsm.State) {
	tb.Helper()
	Each(tb, func(e *recording.Event) bool {
		if e.Type != recording.TypeState {
			tb.Fatalf("the first line is of type %d", e.Type)
		}
		var err error
		if s, err = raftfsm.RestoreState(bytes.NewReader(e.State)); err != nil {
			tb.Fatal(err)
		}
		return false
	}, recording.Text("f", data))
	return s
}

// Rewrite reads a recording and writes all its events, with every heartbeat in full.
func Rewrite(tb testing.TB, w *recording.Writer, data []byte) {
	tb.Helper()
	payloads := map[string][]byte{}
	var read desired.Read
	Each(tb, func(e *recording.Event) bool {
		var err error
		switch {
		case e.Type == recording.TypeHold:
			err = w.Hold(e.At, e.Hold, e.Released)
		case e.Type == recording.TypeDesired && !e.OnlyApp.IsZero():
			err = w.DesiredApp(e.At, e.Began, e.OnlyApp, e.Read.Apps, e.ReadError())
		case e.Type == recording.TypeDesired:
			if e.Failed == "" && !e.Unchanged {
				read = e.Read
			}
			err = w.Desired(e.At, e.Began, read, e.ReadError())
		case e.Type == recording.TypeLink:
			err = w.Link(e.At, e.Up, e.Gap)
		case e.Type == recording.TypeLeader && e.Leaderless:
			err = w.Leaderless(e.At)
		case e.Type == recording.TypeLeader:
			err = w.Leader(e.At)
		case e.Repeat != "":
			err = w.Message(e.At, e.Subject, payloads[e.Repeat])
		default:
			if hb, err := feed.DecodeHeartbeat(e.Data); err == nil && e.Subject == feed.SubjectHeartbeat {
				payloads[hb.DEA] = bytes.Clone(e.Data)
			}
			err = w.Message(e.At, e.Subject, e.Data)
		}
		if err != nil {
			tb.Fatal(err)
		}
		return true
	}, recording.Text("f", data))
}

// InFiles writes a recording in several files and returns their paths.
func InFiles(tb testing.TB, data []byte) (paths []string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "r.jsonl")
	w, err := recording.Create(path, recording.WriterOptions{MaxBytes: 2000})
	if err != nil {
		tb.Fatal(err)
	}
	Rewrite(tb, w, data)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	paths, err = filepath.Glob(filepath.Join(filepath.Dir(path), "r.*.jsonl"))
	if err != nil || len(paths) < 3 || w.Stats.Files != len(paths) {
		tb.Fatalf("there are %d files (%v), the writer counts %d", len(paths), err, w.Stats.Files)
	}
	return paths
}

// MixCase writes some letters of the guids in text in upper case. Whatever has the length of a guid and stands in
// quotes counts as one.
func MixCase(text string, seed uint64) string {
	words := strings.Split(text, `"`)
	for n, w := range words {
		if len(w) != 32 && len(w) != 36 {
			continue
		}
		out := []byte(w)
		for i, c := range out {
			if seed = seed*6364136223846793005 + 1442695040888963407; seed>>63 == 1 && 'a' <= c && c <= 'f' {
				out[i] = c - 'a' + 'A'
			}
		}
		words[n] = string(out)
	}
	return strings.Join(words, `"`)
}

// Buffer is a bytes.Buffer that is safe for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *Buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *Buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
