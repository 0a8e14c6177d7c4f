//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"hm/internal/liveview/ptytest"
)

// terminalRun is an hm command on a pseudo-terminal of 100 columns and 30 lines.
type terminalRun struct {
	t      *testing.T
	screen *os.File
	ended  chan int // its exit code

	mu    sync.Mutex
	text  string // the output so far, without escape sequences
	raw   bytes.Buffer
	grown chan struct{} // receives when there is more
	read  chan struct{} // closed at the end of it
}

func runOnTerminal(ctx context.Context, t *testing.T, args ...string) *terminalRun {
	t.Helper()
	return runOnTerminalOf(ctx, t, "xterm-256color", args...)
}

func runOnTerminalOf(ctx context.Context, t *testing.T, kind string, args ...string) *terminalRun {
	t.Helper()
	t.Setenv("TERM", kind)
	screen, program := ptytest.Open(t, 100, 30)
	r := &terminalRun{t: t, screen: screen, ended: make(chan int, 1), grown: make(chan struct{}, 1),
		read: make(chan struct{})}
	go func() {
		defer close(r.read)
		b := make([]byte, 4096)
		for {
			n, err := screen.Read(b)
			r.mu.Lock()
			r.raw.Write(b[:n])
			r.text = ansi.Strip(r.raw.String())
			r.mu.Unlock()
			select {
			case r.grown <- struct{}{}:
			default:
			}
			if err != nil {
				return // the program's end is closed
			}
		}
	}()
	go func() {
		code := newCLI(program, program, program).run(ctx, args)
		program.Close()
		r.ended <- code
	}()
	return r
}

func (r *terminalRun) printed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text
}

// await waits until text is printed after the position from. It returns the position after the text.
func (r *terminalRun) await(from int, text string) int {
	r.t.Helper()
	deadline := time.After(devTestDeadline)
	for {
		all := r.printed()
		if at := strings.Index(all[from:], text); at >= 0 {
			return from + at + len(text)
		}
		select {
		case <-r.grown:
		case <-deadline:
			r.t.Fatalf("%q is not shown after\n%s\nbut\n%s", text, all[:from], all[from:])
		}
	}
}

func (r *terminalRun) press(keys string) {
	r.t.Helper()
	if _, err := r.screen.WriteString(keys); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the end of the command, and returns its exit code and output.
func (r *terminalRun) end() (int, string) {
	r.t.Helper()
	select {
	case code := <-r.ended:
		<-r.read
		r.screen.Close()
		return code, r.printed()
	case <-time.After(devTestDeadline):
		r.t.Fatalf("it does not end:\n%s", r.printed())
		return 0, ""
	}
}

const someRecording = "../../testdata/recordings/outage-dea-lost.jsonl"

// The live view plays a recording and obeys the keys. After it quits, hm prints a summary of what was played.
func TestReplayLiveView(t *testing.T) {
	useSignals()
	for name, tc := range map[string]struct {
		speed string
		do    func(r *terminalRun, cancel func())
		code  int
		want  []string // at the end, in this order
	}{
		"to the end": {"1000000x", func(r *terminalRun, _ func()) {
			r.await(0, "ended")
			r.press("q")
		}, 0, []string{"ended", "start", "in all"}},
		"quit early": {"1x", func(r *terminalRun, _ func()) {
			r.await(0, "closed: actual-stale")
			r.press("q")
		}, 0, []string{"stopped at 2026-01-15 12:00:0", "before the end", "0 starts"}},
		"quit in a pause": {"1x", func(r *terminalRun, _ func()) {
			r.await(0, "closed: actual-stale")
			r.press(" ")
			r.await(0, "paused")
			r.press("q")
		}, 0, []string{"paused", "stopped at ", "0 starts"}},
		"control c": {"1x", func(r *terminalRun, _ func()) {
			r.await(0, "closed: actual-stale")
			r.press("p")
			r.await(0, "paused")
			r.press("\x03")
		}, 0, []string{"paused", "stopped at "}},
		"signal": {"0.01x", func(r *terminalRun, cancel func()) {
			r.await(0, "closed: actual-stale")
			cancel()
		}, 1, []string{"hm: context canceled"}},
		"signal in a pause": {"1x", func(r *terminalRun, cancel func()) {
			r.await(0, "closed: actual-stale")
			r.press("p")
			r.await(0, "paused")
			cancel()
		}, 1, []string{"hm: context canceled"}},
		"signal at the end": {"1000000x", func(r *terminalRun, cancel func()) {
			r.await(0, "ended")
			cancel()
		}, 0, []string{"ended", "start", "in all"}},
		"forward": {"0.01x", func(r *terminalRun, _ func()) {
			at := r.await(0, "closed: actual-stale")
			r.press("f")
			at = r.await(at, "12:00:31  gate     open")
			r.press("\x1b[C") // right
			r.await(at, "missing no more")
			r.press("q")
		}, 0, []string{"stopped at 2026-01-15 12:0", "2 starts, "}},
		"slower": {"1x", func(r *terminalRun, _ func()) {
			at := r.await(0, "closed: actual-stale")
			r.press("p")
			at = r.await(at, "paused")
			r.press("--")
			r.await(at, "25x paused")
			r.press("q")
		}, 0, []string{"stopped at "}},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := runOnTerminal(ctx, t, "replay", someRecording, "--speed", tc.speed)
			tc.do(r, cancel)
			code, text := r.end()
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				_, behind, found := strings.Cut(text, want)
				if !found {
					t.Errorf("the output does not have %q in this order:\n%s", tc.want, text)
				}
				text = behind
			}
			if raw := r.raw.String(); strings.Count(raw, "\x1b[?1049h") != 1 || strings.Count(raw, "\x1b[?1049l") != 1 {
				t.Error("the terminal is not restored")
			}
			awaitGoroutines(t, before)
		})
	}
}

// A malformed recording ends the live view, and hm prints the error.
func TestReplayLiveViewFails(t *testing.T) {
	good, err := os.ReadFile(someRecording)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(path, append(good, "{}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, text := runOnTerminal(t.Context(), t, "replay", path, "--speed", "100000x").end()
	if code != 1 || !strings.Contains(text, "hm: "+path+":") {
		t.Errorf("exit code %d:\n%s", code, text)
	}
}

// Without the live view, hm prints the timeline at that speed.
func TestReplayWithoutLiveView(t *testing.T) {
	for name, tc := range map[string]struct{ kind, args, want string }{
		"plain":  {"xterm", "--plain", "gate     open"},
		"dumb":   {"dumb", "", "gate     open"},
		"json":   {"xterm", "-o json", `"state_hash"`},
		"expect": {"xterm", "--expect ../../testdata/recordings/outage-dea-lost.json", "as expected"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"replay", someRecording, "--speed", "100000x"}, strings.Fields(tc.args)...)
			r := runOnTerminalOf(t.Context(), t, tc.kind, args...)
			code, text := r.end()
			if code != 0 || !strings.Contains(text, tc.want) || strings.Contains(r.raw.String(), "\x1b[?1049h") {
				t.Errorf("exit code %d:\n%s", code, text)
			}
		})
	}
}
