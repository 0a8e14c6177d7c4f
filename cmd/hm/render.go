package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"hm/internal/api"
	"hm/internal/liveview"
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

// The colours. Each coloured text says the same in words.
type colour string

const (
	red    colour = "31"
	yellow colour = "33"
	green  colour = "32"
	faint  colour = "2"
)

// paint colours text if the output may be coloured.
func (c *cli) paint(col colour, text string) string {
	if text == "" || !c.color() {
		return text
	}
	return "\x1b[" + string(col) + "m" + text + "\x1b[0m"
}

// short shortens a guid of Cloud Foundry to its first eight characters. Arguments can be shortened in the same way.
func short(id string) string {
	if len(id) == 36 || len(id) == 32 {
		return id[:8]
	}
	return id
}

// ids returns a function that shortens ids, unless wide is set.
func ids(wide bool) func(string) string {
	if wide {
		return func(id string) string { return id }
	}
	return short
}

// ago returns the time from t to the answer: "5s ago", or "never" for no time.
func ago(b api.Basis, t api.Timestamp) string {
	if t.IsZero() {
		return "never"
	}
	return span(b, t) + " ago"
}

// span returns the time from t to the answer.
func span(b api.Basis, t api.Timestamp) string { return api.Span(max(0, b.At.Sub(t.Time))) }

// when returns the time from the answer to t: "now", "in 58s", "12s ago", or an empty text for no time.
func when(b api.Basis, t api.Timestamp) string {
	if t.IsZero() {
		return ""
	}
	left := t.Sub(b.At.Time)
	switch {
	case left > 0:
		return "in " + api.Span(left)
	case left == 0:
		return "now"
	}
	return api.Span(-left) + " ago"
}

// count returns "1 app" or "2 apps".
func count[N int | uint64 | uint32](n N, singular string) string {
	if n == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %ss", n, singular)
}

func msSpan(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// liveTerminal returns the terminal for a live view.
func (c *cli) liveTerminal() liveview.Terminal {
	t := liveview.Terminal{In: c.in, Out: c.out}
	if c.color() {
		t.Theme = liveview.Colored()
	}
	return t
}
