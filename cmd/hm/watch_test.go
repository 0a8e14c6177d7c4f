//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/liveview/ptytest"
)

// watched is an API that counts the answers that it gave, and fails for some of them.
type watched struct {
	*httptest.Server
	asked  atomic.Int32
	failed map[int]bool // requests that are answered with 503
	last   int          // the request with which end is called
	end    func()
}

func watchedFleet(t *testing.T) (*watched, context.Context) {
	t.Helper()
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w := &watched{end: cancel, last: 5, failed: map[int]bool{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		n := int(w.asked.Add(1))
		if n >= w.last {
			w.end()
		}
		if w.failed[n] {
			http.Error(out, "", http.StatusServiceUnavailable)
			return
		}
		req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), http.MethodGet, "http://"+s.Addr()+r.URL.String(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		for k, v := range answer.Header {
			out.Header()[k] = v
		}
		out.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(out, answer.Body)
	}))
	t.Cleanup(w.Close)
	return w, ctx
}

func (w *watched) run(ctx context.Context, args ...string) (code int, out, told string) {
	var o, e strings.Builder
	code = newCLI(strings.NewReader(""), &o, &e).run(ctx, append(args, "--watch", "--interval", "100ms", "--addr", w.URL))
	return code, o.String(), e.String()
}

func TestWatchAppendsAnswersUntilASignal(t *testing.T) {
	w, ctx := watchedFleet(t)
	code, out, told := w.run(ctx, "status")
	if code != 0 || told != "" || strings.Count(out, "== ") < 4 || strings.Count(out, "\nquorum ") < 4 || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d, told %q:\n%s", code, told, out)
	}
}

func TestWatchGivesDocumentsToPrograms(t *testing.T) {
	w, ctx := watchedFleet(t)
	_, out, _ := w.run(ctx, "drift", "-o", "json")
	n := 0
	for d := json.NewDecoder(strings.NewReader(out)); ; n++ {
		var v []api.DriftItem
		if err := d.Decode(&v); err == io.EOF || err == io.ErrUnexpectedEOF { // the signal came in the middle of one
			break
		} else if err != nil || len(v) != 9 {
			t.Fatalf("%v, %d items", err, len(v))
		}
	}
	if n < 4 {
		t.Errorf("%d documents:\n%s", n, out)
	}
	w, ctx = watchedFleet(t)
	if _, out, _ = w.run(ctx, "status", "-o", "yaml"); strings.Count(out, "---\nnode: hm-1\n") < 4 {
		t.Errorf("no YAML documents:\n%s", out)
	}
}

func TestWatchGoesOnOverErrorsAndSaysSo(t *testing.T) {
	w, ctx := watchedFleet(t)
	w.failed = map[int]bool{1: true, 3: true, 4: true}
	w.last = 8
	code, out, told := w.run(ctx, "status")
	if code != 0 || strings.Count(out, "\nquorum ") < 4 || strings.Count(told, "503 Service Unavailable") != 2 || strings.Count(told, "hm: asking again: ") != 2 {
		t.Errorf("exit code %d, told:\n%s\noutput:\n%s", code, told, out)
	}
	// What no later answer changes ends it.
	w, ctx = watchedFleet(t)
	code, out, told = w.run(ctx, "app", "nothing")
	if code != 1 || w.asked.Load() != 1 || !strings.Contains(told, `no app "nothing" is recorded`) {
		t.Errorf("exit code %d after %d requests, told:\n%s\noutput:\n%s", code, w.asked.Load(), told, out)
	}
}

func TestWatchEndsWithTheCodeOfTheLastAnswer(t *testing.T) {
	w, ctx := watchedFleet(t)
	if code, out, told := w.run(ctx, "drift", "--exit-code"); code != int(exitDrift) {
		t.Errorf("exit code %d, told %q:\n%s", code, told, out)
	}
	var told strings.Builder
	if code := newCLI(nil, io.Discard, &told).run(t.Context(), []string{"drift", "--watch", "--interval", "1ms", "--addr", w.URL}); code != 1 || !strings.Contains(told.String(), "hint: ") {
		t.Errorf("an interval of 1ms: exit code %d, %s", code, &told)
	}
}

// TestWatchRedrawsATerminal: each frame is written over the last one, line by line, and nothing is cleared before it is
// written.
func TestWatchRedrawsATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	w, ctx := watchedFleet(t)
	w.failed = map[int]bool{3: true}
	code := -1
	got := ptytest.Output(t, func(program *os.File) {
		code = newCLI(strings.NewReader(""), program, io.Discard).run(ctx, []string{"drift", "-w", "--interval", "100ms", "--addr", w.URL, "--password", "secret"})
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	got = strings.ReplaceAll(got, "\r\n", "\n")
	frames := strings.Split(got, beginFrame)
	if len(frames) < 5 {
		t.Fatalf("%d frames:\n%q", len(frames), got)
	}
	if !strings.HasPrefix(got, enterScreen) || strings.Count(got, leaveScreen) != 1 {
		t.Errorf("the screen is not entered and left once:\n%q", got)
	}
	for _, bad := range []string{"\x1b[2J", "secret"} {
		if strings.Contains(got, bad) {
			t.Errorf("the output has %q:\n%q", bad, got)
		}
	}
	for i, frame := range frames[1:5] {
		frame, _, _ = strings.Cut(frame, endFrame)
		lines := strings.Split(frame, "\n")
		if len(lines) > 24 || !strings.Contains(lines[0], "every 100ms: hm drift") || !strings.Contains(lines[0], "UTC") {
			t.Errorf("frame %d has %d lines:\n%q", i, len(lines), frame)
		}
		for _, line := range lines {
			if !strings.HasSuffix(line, "\x1b[K") {
				t.Errorf("frame %d: %q leaves the rest of the line", i, line)
			}
		}
		if !strings.Contains(frame, "\x1b[31mevacuating\x1b[0m") {
			t.Errorf("frame %d has no drift in colour:\n%q", i, frame)
		}
		if told := strings.Contains(frame, "asking again"); told != (i == 2) {
			t.Errorf("frame %d tells an error: %v", i, told)
		}
	}
	if _, after, _ := strings.Cut(got, leaveScreen); !strings.Contains(after, "evacuating") {
		t.Errorf("the last answer is not left on the first screen: %q", after)
	}
}

func TestFirstLinesAreBounded(t *testing.T) {
	f := &firstLines{}
	for i := range 10 * maxLines {
		fmt.Fprintf(f, "line %d\nand ", i)
	}
	if got := f.lines(); len(got) != maxLines || got[1] != "and line 1" {
		t.Errorf("%d lines, the second is %q", len(got), got[1])
	}
}
