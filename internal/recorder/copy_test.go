package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/internal/replay"
	"hm/raftfsm"
)

// fakeNode serves one connection after the other. A script writes what the node sends; a nil script refuses the
// connection.
type fakeNode struct {
	id      string // of its recordings
	scripts []func(w *recording.Writer, out *io.PipeWriter)
}

var errUnreachable = errors.New("connection refused")

func (n *fakeNode) open(ctx context.Context) (io.ReadCloser, error) {
	if len(n.scripts) == 0 || n.scripts[0] == nil {
		if len(n.scripts) > 0 {
			n.scripts = n.scripts[1:]
		}
		return nil, errUnreachable
	}
	script := n.scripts[0]
	n.scripts = n.scripts[1:]
	in, out := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		w := recording.WriteTo(out, recording.WriterOptions{Header: recording.Header{Node: "hm-1", ID: n.id, Config: map[string]string{"policy.grace": "5"}}})
		script(w, out)
	}()
	return in, nil
}

// sendStart writes what every connection begins with.
func sendStart(t *testing.T, w *recording.Writer, up bool) {
	now := time.Now()
	err := writeStart(w, now, Start{LinkUp: up, State: smallState().Freeze(), ReadBegan: app.TimeOf(now)})
	if err != nil && !errors.Is(err, io.ErrClosedPipe) { // the reader may be gone
		t.Error(err)
	}
}

func sendHeartbeats(w *recording.Writer, dea string, n int, every time.Duration) {
	for range n {
		_ = w.Message(time.Now(), "dea.heartbeat", []byte(`{"dea":"`+dea+`","droplets":[]}`)) // the reader may be gone
		time.Sleep(every)
	}
}

// keepAlive writes empty lines until the reader is gone.
func keepAlive(out *io.PipeWriter) {
	for {
		if _, err := out.Write([]byte("\n")); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// The copy has everything that a node sends. Its header is the node's, with the note of the copy.
func TestCopyHasEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) {
			sendStart(t, w, true)
			sendHeartbeats(w, "dea-a", 2, time.Second)
			now := time.Now()
			read, _ := desired.NewRead("the test", nil)
			err := errors.Join(w.Desired(now, now, read, nil), w.Desired(now, now, read, nil), w.Desired(now, now, read, errors.New("no answer")),
				w.DesiredApp(now, now, app.MustGUID("web"), nil, nil), w.DesiredApp(now, now, app.MustGUID("web"), nil, errors.New("no answer")),
				w.Hold(now, raftfsm.Hold{Name: "paused"}, false), w.Hold(now, raftfsm.Hold{Name: "paused"}, true),
				w.Leaderless(now), w.Leader(now), w.Link(now, true, true), w.Link(now, false, false), w.Link(now, true, false))
			if err != nil {
				t.Error(err)
			}
			keepAlive(out)
		}}}
		var out recordingtest.Buffer
		w := recording.WriteTo(&out, recording.WriterOptions{Header: recording.Header{Note: "a copy"}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the script ends
		recordingtest.WantEvents(t, recordingtest.Events(t, recording.Text("f", []byte(out.String()))), "state, desired 1 false, nats, repeat dea-a, desired 0 false, desired 0 true, desired no answer0 false, "+
			"one web 0, one web no answer0, hold paused true, hold paused false, leader false, leader true, link true true, link false false, link true false")
		r, err := recording.NewReader(recording.Text("f", []byte(out.String())))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if h := r.Header(); h.Note != "a copy" || h.Node != "hm-1" || h.Config["policy.grace"] != "5" {
			t.Errorf("the header is %+v", h)
		}
	})
}

// While the node is unreachable nothing is received, so the copy has the link as down. When the node is back, the copy
// continues.
func TestCopyContinuesWhenTheNodeIsBack(t *testing.T) {
	for _, c := range []struct {
		name string
		up   bool // the node's link when it is back
		gone func(*io.PipeWriter)
		want string
	}{
		{"it dies", true, func(out *io.PipeWriter) { _ = out.CloseWithError(io.ErrUnexpectedEOF) }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it shuts down", true, func(out *io.PipeWriter) { _ = out.Close() }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it sends nothing more", true, func(*io.PipeWriter) {}, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"a line breaks off", true, func(out *io.PipeWriter) { _, _ = out.Write([]byte(`{"t":"20`)); _ = out.Close() }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it comes back without NATS", false, func(out *io.PipeWriter) { _ = out.Close() }, "link false false, desired 0 true, repeat dea-a, repeat dea-a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){
					func(w *recording.Writer, out *io.PipeWriter) {
						sendStart(t, w, true)
						sendHeartbeats(w, "dea-a", 2, time.Second)
						c.gone(out)
					}, nil, nil,
					func(w *recording.Writer, out *io.PipeWriter) {
						sendStart(t, w, c.up)
						sendHeartbeats(w, "dea-a", 2, time.Second)
						keepAlive(out)
					},
				}}
				var out recordingtest.Buffer
				w := recording.WriteTo(&out, recording.WriterOptions{})
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
					t.Fatal(err)
				}
				recordingtest.WantEvents(t, recordingtest.Events(t, recording.Text("f", []byte(out.String()))), "state, desired 1 false, nats, repeat dea-a, link false false, "+c.want)
				time.Sleep(2 * time.Second) // the script ends
			})
		})
	}
}

// The time of a restarted node begins at its newest entry. The copy continues with the time that has passed.
func TestCopyShiftsTheTimesOfARestartedNode(t *testing.T) {
	for name, back := range map[string]time.Duration{"the connection broke": 0, "its time is set back": -time.Hour, "its time jumps": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){
					func(w *recording.Writer, out *io.PipeWriter) {
						sendStart(t, w, true)
						sendHeartbeats(w, "dea-a", 2, time.Second)
						time.Sleep(settleTime)
						_ = out.Close()
					},
					func(w *recording.Writer, out *io.PipeWriter) {
						at := time.Now().Add(back)
						err := errors.Join(w.Link(at, true, false), w.Message(at.Add(time.Second), "dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`)),
							w.Hold(at.Add(2*time.Second), raftfsm.Hold{Name: "paused", Until: app.TimeOf(at.Add(time.Minute))}, false))
						if err != nil {
							t.Error(err)
						}
						keepAlive(out)
					},
				}}
				var out recordingtest.Buffer
				w := recording.WriteTo(&out, recording.WriterOptions{})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				r, err := recording.NewReader(recording.Text("f", []byte(out.String())))
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var e recording.Event
				for e.Type != recording.TypeHold {
					if err := r.Next(&e); err != nil {
						t.Fatal(err)
					}
				}
				if after := e.At.Sub(start); after < 5*time.Second || after > 9*time.Second || app.Time(e.Hold.Until).Std().Sub(e.At) != 58*time.Second {
					t.Errorf("the hold is set %v after the start, until %v after that\n%s", after, e.Hold.Until.Std().Sub(e.At), out.String())
				}
			})
		})
	}
}

// Each part can be replayed by itself: the first heartbeat of a DEA in it is in full, even if the node sends a repeat.
func TestCopyInParts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) {
			sendStart(t, w, true)
			sendHeartbeats(w, "dea-a", 10, time.Second)
			keepAlive(out)
		}}}
		w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	})
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) != 3 {
		t.Fatalf("parts %v, %v, want 3", paths, err)
	}
	files, err := recording.Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	recordingtest.WantEvents(t, recordingtest.Events(t, files[0]), "state, desired 1 false, nats, repeat dea-a, repeat dea-a, repeat dea-a")
	recordingtest.WantEvents(t, recordingtest.Events(t, files[1]), "desired 1 false, nats, repeat dea-a, repeat dea-a, repeat dea-a")
	if r, err := replay.Run(t.Context(), replay.OptionsOf(config.Default()), files...); err != nil || r.Heartbeats != 10 {
		t.Errorf("all parts together: %d heartbeats, %v", r.Heartbeats, err)
	}
}

// open begins another recording of the node.
func (r *hookedNode) open(ctx context.Context) (io.ReadCloser, error) {
	in, out := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		_ = out.CloseWithError(r.Record(ctx, out, nil, func() Start {
			return Start{Header: recording.Header{Node: "hm-0"}, LinkUp: true, State: r.view.Load(), ReadBegan: app.TimeOf(time.Now())}
		}))
	}()
	return in, nil
}

// Each part of a node's recording begins with the state, so that the parts before it can be deleted.
func TestCopyInPartsOfANode(t *testing.T) {
	for _, c := range []struct {
		name         string
		ahead        time.Duration // by which hm time jumps
		refuse, hide bool
		want         string
	}{
		{name: "with the state", want: "state, leader false, desired 1 false, hold paused true"},
		{name: "anonymous", hide: true, want: "state, leader false, desired 1 false, hold paused true"},
		{name: "an older node", refuse: true, want: "leader false, desired 1 false, "},
		{name: "the node's time jumps", ahead: time.Hour, want: "leader false, desired 1 false, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := startHook(t, smallState(), nil)
				w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: 10 * time.Second, Keep: 2, Anonymize: c.hide})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				state := func(_ context.Context, id string) error {
					if c.refuse || !r.InsertState(id) {
						return errUnreachable
					}
					return nil
				}
				go func() { done <- Copy(ctx, CopyOptions{Name: "n", Open: r.open, InsertState: state, Writer: w}) }()
				synctest.Wait()
				r.ahead = c.ahead
				r.Leaderless(0)
				for i := range 50 { // a hold is set each second, and a DEA that is recorded is silent for long
					r.state.Apply(uint64(i+2), 1, raftfsm.Entry{At: app.TimeOf(time.Now()), Records: []raftfsm.Record{
						raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "paused", Reason: fmt.Sprint(i)}}}})
					r.view.Store(r.state.Freeze())
					r.Hold(0, raftfsm.Hold{Name: "paused", Reason: fmt.Sprint(i)}, false)
					time.Sleep(time.Second)
				}
				cancel()
				if err := errors.Join(<-done, w.Close(), r.end()); err != nil {
					t.Fatal(err)
				}
			})
			paths, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(paths) != 2 || !strings.HasSuffix(paths[1], "x.0005.jsonl") && !strings.HasSuffix(paths[1], "x.0004.jsonl") {
				t.Fatalf("parts %v, %v, want the last two of five or so", paths, err)
			}
			files, err := recording.Files(paths...)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if got := strings.Join(recordingtest.Events(t, f), ", "); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s holds %s\nwant %s...", f.Name, got, c.want)
				}
				if _, err := replay.Run(t.Context(), replay.OptionsOf(config.Default()), f); err != nil {
					t.Errorf("by itself: %v", err)
				}
			}
			if _, err := replay.Run(t.Context(), replay.OptionsOf(config.Default()), files...); err != nil {
				t.Errorf("both together: %v", err)
			}
			all, err := recording.NewReader(files...)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Close()
			var last time.Time
			sets := 0
			for {
				var e recording.Event
				if err := all.Next(&e); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if e.Type != recording.TypeHold {
					continue
				}
				if sets++; sets > 1 && e.At.Sub(last) > 1200*time.Millisecond {
					t.Errorf("no hold was set between %v and %v", last, e.At)
				}
				last = e.At
			}
			if sets < 11 {
				t.Errorf("%d holds in the last two parts", sets)
			}
		})
	}
}

// An event that is learned after the state was taken is written after it, even if it happened before.
func TestHookWritesLateEventsAfterTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHook(t, smallState(), nil)
		time.Sleep(time.Second)
		early := app.TimeOf(time.Now())
		time.Sleep(time.Second)
		var id string
		for of := range r.all {
			id = of.id
		}
		if r.InsertState("another") || !r.InsertState(id) || r.InsertState(id) {
			t.Error("InsertState accepts a wrong id, or a second state, or refuses the first one")
		}
		r.Hold(early, raftfsm.Hold{Name: "paused"}, false)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		text := r.out.String()
		if last := strings.LastIndex(text, `"type":"state"`); strings.Count(text, `"type":"state"`) != 2 || last > strings.Index(text, `"type":"hold"`) {
			t.Errorf("the recording is\n%s", text)
		}
		if r.InsertState(id) {
			t.Error("a recording that has ended accepts a state")
		}
	})
}

func TestCopyHidesNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) {
			sendStart(t, w, true)
			sendHeartbeats(w, "dea-a", 3, time.Second)
			_ = out.CloseWithError(io.ErrUnexpectedEOF)
		}}}
		var out bytes.Buffer
		w := recording.WriteTo(&out, recording.WriterOptions{Anonymize: true})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "dea-a") || strings.Contains(text, `"web"`) || strings.Count(text, `"repeat"`) != 2 {
			t.Errorf("the recording is %s", text)
		}
		s := recordingtest.State(t, out.Bytes())
		if _, ok := s.App(recordingtest.Key("web", "v1")); ok || s.Counts().DesiredInstances != 1 || s.DesiredMeta().Source == "the test" {
			t.Errorf("the state is not anonymized, or empty: %+v, %+v", s.Counts(), s.DesiredMeta())
		}
	})
}

// A recorder that is killed leaves a file with all but the last second, compressed or not.
func TestCopyFlushesEachSecond(t *testing.T) {
	for _, ending := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		synctest.Test(t, func(t *testing.T) {
			node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) {
				sendStart(t, w, true)
				sendHeartbeats(w, "dea-a", 3, time.Second)
				keepAlive(out)
			}}}
			path := filepath.Join(t.TempDir(), "r"+ending)
			w, err := recording.Create(path, recording.WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			copied := make(chan error)
			go func() { copied <- Copy(ctx, CopyOptions{Name: "node", Open: node.open, Writer: w}) }()
			time.Sleep(5 * time.Second)
			left, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := errors.Join(<-copied, w.Close()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second) // the script ends
			r, err := recording.NewReader(recording.Text("left", left))
			if err != nil {
				t.Fatalf("%s: the header cannot be read: %v", ending, err)
			}
			defer r.Close()
			heartbeats := 0
			for e := (recording.Event{}); r.Next(&e) == nil; {
				if e.Type == recording.TypeNATS {
					heartbeats++
				}
			}
			if heartbeats != 3 {
				t.Errorf("%s: the file has %d of 3 heartbeats", ending, heartbeats)
			}
		})
	}
}

func TestCopyFails(t *testing.T) {
	if err := Copy(t.Context(), CopyOptions{Open: (&fakeNode{}).open, Writer: recording.WriteTo(io.Discard, recording.WriterOptions{})}); !errors.Is(err, errUnreachable) {
		t.Errorf("a node that never answers: %v", err)
	}
	node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(_ *recording.Writer, out *io.PipeWriter) { _, _ = out.Write([]byte("<html>\n")); _ = out.Close() }}}
	var e *recording.Error
	if err := Copy(t.Context(), CopyOptions{Name: "n", Open: node.open, Writer: recording.WriteTo(io.Discard, recording.WriterOptions{})}); !errors.As(err, &e) {
		t.Errorf("something that is no node: %v", err)
	}
	node = &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) { sendStart(t, w, true); _ = out.Close() }}}
	if err := Copy(t.Context(), CopyOptions{Name: "n", Open: node.open, Writer: recording.WriteTo(&fullDisk{after: 150}, recording.WriterOptions{})}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

// A node can be recorded only while there is a leader. So when it is back, there is one.
func TestCopyFindsALeaderWhenTheNodeIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*recording.Writer, *io.PipeWriter){func(w *recording.Writer, out *io.PipeWriter) {
			sendStart(t, w, true)
			if err := w.Leaderless(time.Now()); err != nil {
				t.Error(err)
			}
			_ = out.Close()
		}, func(w *recording.Writer, out *io.PipeWriter) {
			sendStart(t, w, true)
			keepAlive(out)
		}}}
		var out recordingtest.Buffer
		w := recording.WriteTo(&out, recording.WriterOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		recordingtest.WantEvents(t, recordingtest.Events(t, recording.Text("f", []byte(out.String()))), "state, desired 1 false, leader false, link false false, leader true, link true false, desired 0 true")
		time.Sleep(2 * time.Second) // the script ends
	})
}

// The times in the state of a restarted node are not those of the copy. The parts of the copy begin without it then.
func TestCopyDoesNotAskForAStateWithOtherTimes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		script := func(back time.Duration, end func(*io.PipeWriter)) func(*recording.Writer, *io.PipeWriter) {
			return func(w *recording.Writer, out *io.PipeWriter) {
				at := func() time.Time { return time.Now().Add(-back) }
				err := writeStart(w, at(), Start{LinkUp: true, State: smallState().Freeze()})
				for range 12 {
					err = errors.Join(err, w.Hold(at(), raftfsm.Hold{Name: "paused"}, false))
					time.Sleep(time.Second)
				}
				if err != nil {
					t.Error(err)
				}
				end(out)
			}
		}
		node := &fakeNode{id: "a", scripts: []func(*recording.Writer, *io.PipeWriter){
			script(0, func(out *io.PipeWriter) { _ = out.Close() }), script(time.Hour, keepAlive),
		}}
		asked := 0
		w, err := recording.Create(filepath.Join(dir, "x.jsonl"), recording.WriterOptions{MaxAge: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		ask := func(context.Context, string) error { asked++; return errUnreachable }
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, InsertState: ask, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		if asked != 2 || w.Stats.Files < 5 {
			t.Errorf("the node was asked %d times for its state, and there are %d files; want 2 requests, from before the restart", asked, w.Stats.Files)
		}
		time.Sleep(2 * time.Second) // the script ends
	})
}
