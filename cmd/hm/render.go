package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/words"
)

// printRaw prints the JSON of an answer unchanged.
func (c *cli) printRaw(raw []byte) error {
	_, err := fmt.Fprintf(c.out, "%s\n", strings.TrimRight(string(raw), "\n"))
	return err
}

// printJSON prints v as one line of JSON.
func (c *cli) printJSON(v any) error { return json.NewEncoder(c.out).Encode(v) }

// printList prints a JSON array, one item a line.
func printList[T any](c *cli, items []T) error {
	w := bufio.NewWriter(c.out)
	sep := "["
	for _, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("encoding the list: %w", err)
		}
		fmt.Fprintf(w, "%s\n%s", sep, raw) // errors stay with w until Flush
		sep = ","
	}
	if len(items) == 0 {
		fmt.Fprint(w, "[]\n")
	} else {
		fmt.Fprint(w, "\n]\n")
	}
	return w.Flush()
}

// tableStyle separates columns by two spaces, without lines.
var tableStyle = table.Style{
	Name: "hm", Box: table.BoxStyle{PaddingRight: "  "}, Format: table.FormatOptionsDefault,
	Options: table.OptionsNoBordersAndSeparators,
}

// printTable prints rows under a header. It leaves out a column if all its rows are empty.
func printTable(w io.Writer, header []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	empty := make([]bool, len(header))
	for i := range header {
		empty[i] = !slices.ContainsFunc(rows, func(r []string) bool { return r[i] != "" })
	}
	row := func(cells []string) table.Row {
		var out table.Row
		for i, cell := range cells {
			if !empty[i] {
				out = append(out, cell)
			}
		}
		return out
	}
	t := table.NewWriter()
	t.SetStyle(tableStyle)
	t.SuppressTrailingSpaces()
	t.AppendHeader(row(header))
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// printBasis prints on which log index an answer is based, how old it is, and which node answered.
func (c *cli) printBasis(b api.Basis) error {
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
