package liveview

import (
	"bufio"
	"fmt"
	"io"

	"hm/internal/app"
	"hm/internal/replay"
)

// TimeFormat is how the timeline shows a time.
const TimeFormat = "2006-01-02 15:04:05.000"

// maxAlike is how many commands with the same action and reason at one time get a line each.
const maxAlike = 12

// Tone says what a line of the timeline means. The caller of NewTimeline chooses the colours.
type Tone uint8

// The tones.
const (
	ToneNone Tone = iota
	ToneGood
	ToneBad
	ToneCommand
)

// isBad reports whether a moment is bad: from then on no command is sent, or messages were lost.
func isBad(m replay.TimelineEvent) bool {
	return m.Kind == replay.TimelineGate && m.Text != "open" || m.Kind == replay.TimelineLink && m.Text != "NATS is up"
}

func toneOf(m replay.TimelineEvent) Tone {
	switch {
	case m.Kind == replay.TimelineCommand:
		return ToneCommand
	case isBad(m):
		return ToneBad
	case m.Kind == replay.TimelineGate, m.Kind == replay.TimelineLink:
		return ToneGood
	}
	return ToneNone
}

// Timeline prints the moments of a replay in order, in whole lines. It joins many commands of one time into one line.
// It is not safe for concurrent use.
type Timeline struct {
	out     *bufio.Writer
	paint   func(Tone, string) string
	at      app.Time
	pending []replay.TimelineEvent // the commands of one time
	err     error
}

// NewTimeline returns a timeline that prints to out. paint colours a text.
func NewTimeline(out io.Writer, paint func(Tone, string) string) *Timeline {
	return &Timeline{out: bufio.NewWriter(out), paint: paint}
}

// Add prints a moment. Flush reports its errors.
func (t *Timeline) Add(m replay.TimelineEvent) {
	if m.At != t.at {
		t.addCommands()
		t.at = m.At
	}
	if m.Kind == replay.TimelineCommand {
		command := *m.Command // the replay appends to the list that it points into
		m.Command = &command
		t.pending = append(t.pending, m)
		return
	}
	t.addLine(m)
}

// addCommands prints the pending commands.
func (t *Timeline) addCommands() {
	type kind struct{ action, reason string }
	counts := map[kind]int{}
	for _, m := range t.pending {
		counts[kind{m.Command.Action, m.Command.Reason}]++
	}
	for _, m := range t.pending {
		k := kind{m.Command.Action, m.Command.Reason}
		switch n := counts[k]; {
		case n > maxAlike:
			m.Text = fmt.Sprintf("%d × %s %s, the first %s/%d", n, k.action, k.reason, m.Command.App, m.Command.Index)
			counts[k] = -1
		case n < 0:
			continue
		}
		t.addLine(m)
	}
	t.pending = t.pending[:0]
}

func (t *Timeline) addLine(m replay.TimelineEvent) {
	text := t.paint(toneOf(m), Plain(m.Text)) // the text may contain recorded bytes
	t.print(fmt.Sprintf("%s  %-8s %s\n", m.At.Std().Format(TimeFormat), m.Kind, text))
}

func (t *Timeline) print(line string) {
	if t.err == nil && len(line) > t.out.Available() {
		t.err = t.out.Flush() // the progress must not appear in the middle of a line
	}
	if t.err == nil {
		_, t.err = t.out.WriteString(line)
	}
}

// Flush prints what is pending, and reports the first error of all that was printed.
func (t *Timeline) Flush() error {
	t.addCommands()
	if t.err == nil {
		t.err = t.out.Flush()
	}
	return t.err
}
