//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hm/internal/replay"
)

// onTerminal gives what do prints to a terminal of 80 columns.
func onTerminal(t *testing.T, do func(program *os.File)) string {
	t.Helper()
	screen, program := openTerminal(t)
	defer screen.Close()
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string)
	go func() {
		raw, _ := io.ReadAll(screen) // ends with EIO when the program's end is closed
		seen <- string(raw)
	}()
	do(program)
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	return <-seen
}

func TestReplayProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	source := []replay.Source{{Name: "a", Size: 600}, {Name: "b", Size: 400}}
	got := onTerminal(t, func(program *os.File) {
		c := newCLI(strings.NewReader(""), program, program)
		p := newReplayProgress(c, source)
		line := newTimeline(c, p.above(program))
		p.before = line.flush
		report := func(done int64, events int) {
			if err := p.report(done, &replay.Result{Events: events, Instances: 50_000_000}); err != nil {
				t.Fatal(err)
			}
		}
		report(100, 1)
		if p.visible {
			t.Error("it is shown before its time")
		}
		p.began = p.began.Add(-10 * time.Second)
		p.due = time.Now()
		line.put("first\n")
		report(250, 1_234_567)
		report(300, 2) // too soon
		line.put("second\n")
		p.due = time.Now()
		report(1000, 3_000_000) // all is read, not all is played
		if !p.visible || p.bar.IsFinished() {
			t.Error("it is over before the replay is")
		}
		if err := p.hide(); err != nil {
			t.Fatal(err)
		}
	})
	inOrder := []string{"first\r\n", "1234567 events, 5.0 M instance heartbeats/s", " 25% ", "\x1b[2K\rsecond\r\n", "3000000 events", " 99% "}
	rest := got
	for _, want := range inOrder {
		_, behind, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, in this order: %q\n%q", want, inOrder, got)
		}
		rest = behind
	}
	if !strings.HasSuffix(rest, "\x1b[2K\r") {
		t.Errorf("it does not end with an empty line: %q", rest)
	}
	if strings.Contains(got, "\x1b[3") || strings.Contains(got, "\n\x1b[2K") {
		t.Errorf("it is coloured, or takes lines away that are not its own: %q", got)
	}
}

// Who cannot see the progress, or what is too short for it, gets none.
func TestReplayProgressIsForTerminals(t *testing.T) {
	source := []replay.Source{{Name: "a", Size: 600}}
	t.Setenv("TERM", "xterm")
	if p := newReplayProgress(newCLI(nil, io.Discard, &bytes.Buffer{}), source); p.bar != nil {
		t.Error("it is shown where there is no terminal")
	}
	got := onTerminal(t, func(program *os.File) {
		c := newCLI(strings.NewReader(""), io.Discard, program)
		if p := newReplayProgress(c, []replay.Source{{Name: "pipe"}}); p.bar != nil {
			t.Error("it is shown though the size is not known")
		}
		t.Setenv("TERM", "dumb")
		if p := newReplayProgress(c, source); p.bar != nil {
			t.Error("it is shown on a dumb terminal")
		}
		t.Setenv("TERM", "xterm")
		if code := c.run(t.Context(), []string{"replay", someRecording}); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	if got != "" {
		t.Errorf("a short replay prints %q", got)
	}
}
