//go:build linux

package liveview

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/liveview/ptytest"
	"hm/internal/recording"
	"hm/internal/replay"
)

func TestProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	got := ptytest.Output(t, func(program *os.File) {
		p := NewProgress(program, []recording.Source{{Name: "a", Size: 600}, {Name: "b", Size: 400}})
		timeline := NewTimeline(p.Above(program), func(_ Tone, text string) string { return text })
		p.Before = timeline.Flush
		second := app.Time(0)
		add := func(text string) {
			second += 1000
			timeline.Add(replay.TimelineEvent{At: second, Kind: replay.TimelineState, Text: text})
		}
		report := func(done int64, events int) {
			if err := p.Report(done, &replay.Result{Events: events, Instances: 50_000_000}); err != nil {
				t.Fatal(err)
			}
		}
		report(100, 1)
		if p.visible {
			t.Error("the bar is shown before progressAfter has passed")
		}
		p.began = p.began.Add(-10 * time.Second)
		p.due = time.Now()
		add("first")
		report(250, 1_234_567)
		report(300, 2) // too soon
		add("second")
		p.due = time.Now()
		report(1000, 3_000_000) // all is read, but not all is played
		if !p.visible || p.bar.IsFinished() {
			t.Error("the bar ended before the replay")
		}
		if err := p.Hide(); err != nil {
			t.Fatal(err)
		}
	})
	inOrder := []string{"first\r\n", "1234567 events, 5.0 M instance heartbeats/s", " 25% ",
		"\x1b[2K\r1970-01-01 00:00:02.000  state    second\r\n", "3000000 events", " 99% "}
	rest := got
	for _, want := range inOrder {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, in this order: %q\n%q", want, inOrder, got)
		}
		rest = after
	}
	if !strings.HasSuffix(rest, "\x1b[2K\r") {
		t.Errorf("the output does not end with an empty line: %q", rest)
	}
	if strings.Contains(got, "\x1b[3") || strings.Contains(got, "\n\x1b[2K") {
		t.Errorf("the bar is coloured, or it clears lines that are not its own: %q", got)
	}
}

func TestProgressNeedsATerminal(t *testing.T) {
	source := []recording.Source{{Name: "a", Size: 600}}
	t.Setenv("TERM", "xterm")
	if p := NewProgress(&bytes.Buffer{}, source); p.bar != nil {
		t.Error("the bar is shown without a terminal")
	}
	got := ptytest.Output(t, func(program *os.File) {
		if p := NewProgress(program, []recording.Source{{Name: "pipe"}}); p.bar != nil {
			t.Error("the bar is shown though the size is not known")
		}
		t.Setenv("TERM", "dumb")
		if p := NewProgress(program, source); p.bar != nil {
			t.Error("the bar is shown on a dumb terminal")
		}
		t.Setenv("TERM", "xterm")
		p := NewProgress(program, source)
		if err := p.Report(600, &replay.Result{}); err != nil {
			t.Error(err)
		}
		if err := p.Hide(); err != nil {
			t.Error(err)
		}
	})
	if got != "" {
		t.Errorf("a short replay prints %q", got)
	}
}
