package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"hm/internal/words"
)

// Sequences for a terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the second screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H" // the terminal shows what follows at once, if it can
	endFrame    = "\x1b[J\x1b[?2026l"
)

// maxLines bounds what a screen keeps of an answer.
const maxLines = 500

// resizeCheck is how often a screen looks whether the size of the terminal has changed.
const resizeCheck = 250 * time.Millisecond

// screen shows answers on a terminal, one over the other. It writes each frame at once and over the last one, so that
// nothing flickers.
type screen struct {
	c        *cli
	out      *os.File
	title    string
	at       time.Time // of the answer that is shown
	trouble  string    // why there is no newer one
	lines    []string  // of the answer
	wide     int
	high     int
	writeErr error
}

func newScreen(c *cli, out *os.File, interval time.Duration) *screen {
	s := &screen{c: c, out: out, title: fmt.Sprintf("every %s: %s", interval, c.commandLine)}
	s.write(enterScreen)
	return s
}

func (s *screen) write(text string) {
	if _, err := s.out.WriteString(text); err != nil && s.writeErr == nil {
		s.writeErr = err
	}
}

func (s *screen) show(once func() error) error {
	kept := &firstLines{}
	s.c.out, s.c.painted = kept, s.c.color()
	err := once()
	s.c.out, s.c.painted = s.out, false
	if shown(err) {
		s.lines, s.at, s.trouble = kept.lines(), time.Now(), ""
		s.draw()
	}
	return err
}

func (s *screen) tell(trouble string) {
	s.trouble = "asking again: " + trouble
	s.draw()
}

// draw draws the frame, cut to the size of the terminal.
func (s *screen) draw() {
	s.measure()
	var b strings.Builder
	b.WriteString(beginFrame)
	for i, line := range s.frame() {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(ansi.Truncate(line, s.wide, "…") + "\x1b[K")
	}
	b.WriteString(endFrame)
	s.write(b.String())
}

// frame returns the lines of the frame: as many as the terminal has.
func (s *screen) frame() []string {
	lines := []string{s.head(), ""}
	if s.trouble != "" {
		lines[1] = s.c.paint(words.Bad, s.trouble)
	}
	room := max(0, s.high-len(lines))
	if len(s.lines) <= room {
		return append(lines, s.lines...)
	}
	return append(append(lines, s.lines[:max(0, room-1)]...), s.c.paint(words.Faint, "... the terminal has no room for more lines"))
}

func (s *screen) head() string {
	at := ""
	if !s.at.IsZero() {
		at = s.at.UTC().Format("15:04:05 UTC")
	}
	gap := max(2, s.wide-len(at)-ansi.StringWidth(s.title))
	return s.c.paint(words.Faint, s.title) + strings.Repeat(" ", gap) + at
}

func (s *screen) measure() {
	s.wide, s.high = 80, 24
	if wide, high, err := term.GetSize(int(s.out.Fd())); err == nil && wide > 0 && high > 0 {
		s.wide, s.high = wide, high
	}
}

func (s *screen) wait(ctx context.Context, interval time.Duration) bool {
	next := time.NewTimer(interval)
	defer next.Stop()
	check := time.NewTicker(resizeCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-next.C:
			return true
		case <-check.C:
			wide, high := s.wide, s.high
			if s.measure(); s.wide != wide || s.high != high {
				s.draw()
			}
		}
	}
}

func (s *screen) broken() error { return s.writeErr }

// close leaves the last answer on the first screen.
func (s *screen) close() {
	s.write(leaveScreen)
	for _, line := range s.lines {
		s.write(line + "\n")
	}
}

// firstLines keeps the first lines that are written to it.
type firstLines struct {
	buf   bytes.Buffer
	count int
}

func (f *firstLines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && f.count < maxLines; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
			f.count++
		}
		f.buf.Write(line)
		rest = rest[len(line):]
	}
	return len(p), nil
}

func (f *firstLines) lines() []string {
	return strings.Split(strings.TrimRight(f.buf.String(), "\n"), "\n")
}
