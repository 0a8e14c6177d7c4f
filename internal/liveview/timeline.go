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

// isBad reports whether an event is bad: from then on no command is sent, or messages were lost.
func isBad(e replay.TimelineEvent) bool {
	return e.Kind == replay.TimelineGate && e.Text != "open" || e.Kind == replay.TimelineLink && e.Text != "NATS is up"
}

func toneOf(e replay.TimelineEvent) Tone {
	switch {
	case e.Kind == replay.TimelineCommand:
		return ToneCommand
	case isBad(e):
		return ToneBad
	case e.Kind == replay.TimelineGate, e.Kind == replay.TimelineLink:
		return ToneGood
	}
	return ToneNone
}

// Timeline prints the events of a replay in order, in whole lines. It joins many commands of one time into one line.
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

// Add prints an event. Flush reports its errors.
func (t *Timeline) Add(e replay.TimelineEvent) {
	if e.At != t.at {
		t.addCommands()
		t.at = e.At
	}
	if e.Kind == replay.TimelineCommand {
		command := *e.Command // the replay appends to the list that it points into
		e.Command = &command
		t.pending = append(t.pending, e)
		return
	}
	t.addLine(e)
}

// addCommands prints the pending commands.
func (t *Timeline) addCommands() {
	type kind struct{ action, reason string }
	counts := map[kind]int{}
	for _, e := range t.pending {
		counts[kind{e.Command.Action, e.Command.Reason}]++
	}
	for _, e := range t.pending {
		k := kind{e.Command.Action, e.Command.Reason}
		switch n := counts[k]; {
		case n > maxAlike:
			e.Text = fmt.Sprintf("%d × %s %s, the first %s/%d", n, k.action, k.reason, e.Command.App, e.Command.Index)
			counts[k] = -1
		case n < 0:
			continue
		}
		t.addLine(e)
	}
	t.pending = t.pending[:0]
}

func (t *Timeline) addLine(e replay.TimelineEvent) {
	text := t.paint(toneOf(e), Plain(e.Text)) // the text may contain recorded bytes
	t.print(fmt.Sprintf("%s  %-8s %s\n", e.At.Std().Format(TimeFormat), e.Kind, text))
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
