package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// fakeNode gives recordings, one connection after the other, each made by a script that writes what the node tells.
type fakeNode struct {
	scripts []func(w *Writer, out *io.PipeWriter)
	asked   int
}

var errAway = errors.New("connection refused")

func (n *fakeNode) open(ctx context.Context) (io.ReadCloser, error) {
	n.asked++
	if len(n.scripts) == 0 || n.scripts[0] == nil {
		if len(n.scripts) > 0 {
			n.scripts = n.scripts[1:]
		}
		return nil, errAway
	}
	script := n.scripts[0]
	n.scripts = n.scripts[1:]
	in, out := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		w := WriteTo(out, WriterOptions{Header: Header{Node: "hm-1", Config: map[string]string{"policy.grace": "5"}}})
		script(w, out)
	}()
	return in, nil
}

// tells writes what every connection begins with.
func tells(t *testing.T, w *Writer, up bool) {
	now := time.Now()
	err := w.beginWith(now, Begin{Up: up, State: tapState().Freeze(), Read: app.TimeOf(now)})
	if err != nil && !errors.Is(err, io.ErrClosedPipe) { // the reader may be gone
		t.Error(err)
	}
}

func heartbeats(w *Writer, dea string, n int, every time.Duration) {
	for range n {
		_ = w.Message(time.Now(), "dea.heartbeat", []byte(`{"dea":"`+dea+`","droplets":[]}`)) // the reader may be gone
		time.Sleep(every)
	}
}

// quiet gives signs of life until the reader is gone.
func quiet(out *io.PipeWriter) {
	for {
		if _, err := out.Write([]byte("\n")); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// eventsOf reads a recording, and gives its events in short.
func eventsOf(t *testing.T, sources ...Source) []string {
	t.Helper()
	r, err := NewReader(sources...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []string
	for {
		var e Event
		if err := r.Next(&e); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Type == TypeLink:
			all = append(all, fmt.Sprintf("link %t %t", e.Up, e.Gap))
		case e.Repeat != "":
			all = append(all, "repeat "+e.Repeat)
		case e.Type == TypeNATS:
			all = append(all, "nats")
		case e.Type == TypeLeader:
			all = append(all, fmt.Sprintf("leader %t", !e.Lost))
		case e.Type == TypeDesired && !e.Only.IsZero():
			all = append(all, fmt.Sprintf("one %s %s%d", e.Only, e.Failed, len(e.Read.Apps)))
		case e.Type == TypeDesired:
			all = append(all, fmt.Sprintf("desired %s%d %t", e.Failed, len(e.Read.Apps), e.Unchanged))
		case e.Type == TypeHold:
			all = append(all, fmt.Sprintf("hold %s %t", e.Hold.Name, !e.Released))
		case e.Type == TypeState:
			all = append(all, "state")
		}
	}
}

func wantEvents(t *testing.T, got []string, want string) {
	t.Helper()
	if joined := strings.Join(got, ", "); joined != want {
		t.Errorf("the recording holds %s\nwant                %s", joined, want)
	}
}

// Everything that a node tells stands in the copy, and the header is the node's with the copier's note.
func TestCopyTakesDownEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){func(w *Writer, out *io.PipeWriter) {
			tells(t, w, true)
			heartbeats(w, "dea-a", 2, time.Second)
			now := time.Now()
			read, _ := desired.NewRead("the test", nil)
			err := errors.Join(w.Desired(now, now, read, nil), w.Desired(now, now, read, nil), w.Desired(now, now, read, errors.New("no answer")),
				w.DesiredApp(now, now, sceneGUID("web"), nil, nil), w.DesiredApp(now, now, sceneGUID("web"), nil, errors.New("no answer")),
				w.Hold(now, raftfsm.Hold{Name: "paused"}, false), w.Hold(now, raftfsm.Hold{Name: "paused"}, true),
				w.Leaderless(now), w.Leader(now), w.Link(now, true, true), w.Link(now, false, false), w.Link(now, true, false))
			if err != nil {
				t.Error(err)
			}
			quiet(out)
		}}}
		var out safeBuffer
		w := WriteTo(&out, WriterOptions{Header: Header{Note: "a copy"}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the script ends
		wantEvents(t, eventsOf(t, Text("f", []byte(out.String()))), "state, desired 1 false, nats, repeat dea-a, desired 0 false, desired 0 true, desired no answer0 false, "+
			"one web 0, one web no answer0, hold paused true, hold paused false, leader false, leader true, link true true, link false false, link true false")
		r, err := NewReader(Text("f", []byte(out.String())))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if h := r.Header(); h.Note != "a copy" || h.Node != "hm-1" || h.Config["policy.grace"] != "5" {
			t.Errorf("the header is %+v", h)
		}
	})
}

// When the node goes away nothing is heard, which the copy says; when it is back the copy goes on.
func TestCopyOutlivesTheNode(t *testing.T) {
	for _, c := range []struct {
		name string
		up   bool // the node's link when it is back
		gone func(*io.PipeWriter)
		want string
	}{
		{"it dies", true, func(out *io.PipeWriter) { _ = out.CloseWithError(io.ErrUnexpectedEOF) }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it goes down in good order", true, func(out *io.PipeWriter) { _ = out.Close() }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it falls silent", true, func(*io.PipeWriter) {}, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"its line breaks", true, func(out *io.PipeWriter) { _, _ = out.Write([]byte(`{"t":"20`)); _ = out.Close() }, "link true false, desired 0 true, repeat dea-a, repeat dea-a"},
		{"it comes back without NATS", false, func(out *io.PipeWriter) { _ = out.Close() }, "link false false, desired 0 true, repeat dea-a, repeat dea-a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){
					func(w *Writer, out *io.PipeWriter) {
						tells(t, w, true)
						heartbeats(w, "dea-a", 2, time.Second)
						c.gone(out)
					}, nil, nil,
					func(w *Writer, out *io.PipeWriter) {
						tells(t, w, c.up)
						heartbeats(w, "dea-a", 2, time.Second)
						quiet(out)
					},
				}}
				var out safeBuffer
				w := WriteTo(&out, WriterOptions{})
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
					t.Fatal(err)
				}
				wantEvents(t, eventsOf(t, Text("f", []byte(out.String()))), "state, desired 1 false, nats, repeat dea-a, link false false, "+c.want)
				time.Sleep(2 * time.Second) // the script ends
			})
		})
	}
}

// The time of a node that was started anew begins at its newest entry. The copy goes on with the time that has passed.
func TestCopyGoesOnWithTheTime(t *testing.T) {
	for name, back := range map[string]time.Duration{"the connection broke": 0, "its time is set back": -time.Hour, "its time jumps": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){
					func(w *Writer, out *io.PipeWriter) {
						tells(t, w, true)
						heartbeats(w, "dea-a", 2, time.Second)
						time.Sleep(tapSettle)
						_ = out.Close()
					},
					func(w *Writer, out *io.PipeWriter) {
						at := time.Now().Add(back)
						err := errors.Join(w.Link(at, true, false), w.Message(at.Add(time.Second), "dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`)),
							w.Hold(at.Add(2*time.Second), raftfsm.Hold{Name: "paused", Until: app.TimeOf(at.Add(time.Minute))}, false))
						if err != nil {
							t.Error(err)
						}
						quiet(out)
					},
				}}
				var out safeBuffer
				w := WriteTo(&out, WriterOptions{})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				r, err := NewReader(Text("f", []byte(out.String())))
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var e Event
				for e.Type != TypeHold {
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

// A part of a recording can be replayed by itself: what a DEA repeats stands in full in the part where it is new.
func TestCopyInParts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){func(w *Writer, out *io.PipeWriter) {
			tells(t, w, true)
			heartbeats(w, "dea-a", 10, time.Second)
			quiet(out)
		}}}
		w, err := Create(filepath.Join(dir, "x.jsonl"), WriterOptions{MaxAge: 4 * time.Second})
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
	files, err := Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	wantEvents(t, eventsOf(t, files[0]), "state, desired 1 false, nats, repeat dea-a, repeat dea-a, repeat dea-a")
	wantEvents(t, eventsOf(t, files[1]), "desired 1 false, nats, repeat dea-a, repeat dea-a, repeat dea-a")
	if r, err := Run(t.Context(), optionsForTests(), files...); err != nil || r.Heartbeats != 10 {
		t.Errorf("all parts together: %d heartbeats, %v", r.Heartbeats, err)
	}
}

func TestCopyHidesNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){func(w *Writer, out *io.PipeWriter) {
			tells(t, w, true)
			heartbeats(w, "dea-a", 3, time.Second)
			_ = out.CloseWithError(io.ErrUnexpectedEOF)
		}}}
		var out bytes.Buffer
		w := WriteTo(&out, WriterOptions{Anonymize: true})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := errors.Join(Copy(ctx, CopyOptions{Name: "n", Open: node.open, Writer: w}), w.Close()); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "dea-a") || strings.Contains(text, `"web"`) || strings.Contains(text, "snapshot") || strings.Count(text, `"repeat"`) != 3 {
			t.Errorf("the recording is %s", text) // the state says the same as the first heartbeat
		}
	})
}

func TestCopyFails(t *testing.T) {
	if err := Copy(t.Context(), CopyOptions{Open: (&fakeNode{}).open, Writer: WriteTo(io.Discard, WriterOptions{})}); !errors.Is(err, errAway) {
		t.Errorf("a node that never answers: %v", err)
	}
	node := &fakeNode{scripts: []func(*Writer, *io.PipeWriter){func(_ *Writer, out *io.PipeWriter) { _, _ = out.Write([]byte("<html>\n")); _ = out.Close() }}}
	var e *Error
	if err := Copy(t.Context(), CopyOptions{Name: "n", Open: node.open, Writer: WriteTo(io.Discard, WriterOptions{})}); !errors.As(err, &e) {
		t.Errorf("something that is no node: %v", err)
	}
	node = &fakeNode{scripts: []func(*Writer, *io.PipeWriter){func(w *Writer, out *io.PipeWriter) { tells(t, w, true); _ = out.Close() }}}
	if err := Copy(t.Context(), CopyOptions{Name: "n", Open: node.open, Writer: WriteTo(&full{after: 150}, WriterOptions{})}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}
