package main

import (
	"encoding/json"
	"fmt"
	"io"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/words"
)

// printJSON prints v as one line of JSON.
func (c *cli) printJSON(v any) error { return json.NewEncoder(c.out).Encode(v) }

// printBasis prints on which log index an answer is based, how old it is, and which node answered.
func (c *cli) printBasis(b api.Basis) error {
	if c.noHeaders {
		return nil
	}
	leader := "leader " + b.Leader
	if b.Leader == "" {
		leader = "no leader"
	}
	if b.Node != b.Leader {
		leader += ", answered by " + b.Node
	}
	_, err := fmt.Fprintf(c.out, "basis: index %d, age %.1fs, %s\n", b.Index, float64(b.AgeMS)/1000, leader)
	return err
}

// colours are the colours of tones.
var colours = map[words.Tone]string{words.Bad: "31", words.Warn: "33", words.Good: "32", words.Faint: "2"}

// paint colours text if the output may be coloured.
func (c *cli) paint(tone words.Tone, text string) string {
	if text == "" || colours[tone] == "" || !c.color() {
		return text
	}
	return "\x1b[" + colours[tone] + "m" + text + "\x1b[0m"
}

// printLines prints the lines of a description.
func (c *cli) printLines(lines []words.Line) error {
	_, err := io.WriteString(c.out, words.Print(lines, c.paint))
	return err
}

// liveTerminal returns the terminal for a live view.
func (c *cli) liveTerminal() liveview.Terminal {
	t := liveview.Terminal{In: c.in, Out: c.out}
	if c.color() {
		t.Theme = liveview.Colored()
	}
	return t
}
