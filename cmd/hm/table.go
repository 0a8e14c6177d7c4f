package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"hm/internal/words"
)

// row is one row of a table.
type row []words.Piece

// cells makes a row of its cells: strings, or pieces with a tone.
func cells(parts ...any) row {
	r := make(row, len(parts))
	for i, part := range parts {
		switch part := part.(type) {
		case words.Piece:
			r[i] = part
		case words.Text:
			r[i] = words.Piece{Tone: part.Worst(), Text: part.String()}
		case string:
			r[i].Text = part
		default:
			r[i] = words.Piece{Text: fmt.Sprint(part)}
		}
	}
	return r
}

// sampleRows is how many rows a table reads before it prints the first one: the widths of the columns come from them. A
// table of any length needs the memory of so many rows.
const sampleRows = 1000

// table prints rows under a header as they come. A table that ends within the sample leaves out columns that are empty.
type table struct {
	w      *bufio.Writer
	paint  words.Paint
	header []string
	bare   bool // rows alone: all columns, and - for an empty cell
	sample []row
	widths []int // of the columns, once they are known; -1 for a column that is left out
}

// newTable makes a table on c.out.
func (c *cli) newTable(header []string) *table {
	return &table{w: bufio.NewWriter(c.out), paint: c.paint, header: header, bare: c.noHeaders}
}

// add adds a row.
func (t *table) add(r row) error {
	for i, cell := range r {
		if t.bare && cell.Text == "" {
			r[i] = words.Piece{Text: "-"}
		} else if strings.ContainsFunc(cell.Text, isControl) {
			r[i].Text = words.OneLine(cell.Text)
		}
	}
	if t.widths == nil {
		if len(t.sample) < sampleRows {
			t.sample = append(t.sample, r)
			return nil
		}
		t.measure(false)
		if err := t.flush(); err != nil {
			return err
		}
	}
	return t.write(r)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// close prints what is left.
func (t *table) close() error {
	if t.widths == nil && len(t.sample) > 0 {
		t.measure(!t.bare)
		if err := t.flush(); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

// measure finds the widths of the columns in the sample.
func (t *table) measure(leaveOut bool) {
	t.widths = make([]int, len(t.header))
	for i, name := range t.header {
		if leaveOut && !slices.ContainsFunc(t.sample, func(r row) bool { return r[i].Text != "" }) {
			t.widths[i] = -1
			continue
		}
		if !t.bare {
			t.widths[i] = width(name)
		}
		for _, r := range t.sample {
			t.widths[i] = max(t.widths[i], width(r[i].Text))
		}
	}
}

// flush prints the header and the sample.
func (t *table) flush() error {
	if !t.bare {
		names := make(row, len(t.header))
		for i, name := range t.header {
			names[i].Text = strings.ToUpper(name)
		}
		if err := t.write(names); err != nil {
			return err
		}
	}
	for _, r := range t.sample {
		if err := t.write(r); err != nil {
			return err
		}
	}
	t.sample = nil
	return nil
}

// write prints a row: columns with two spaces between, without spaces at the end.
func (t *table) write(r row) error {
	gap := 0
	for i, cell := range r {
		if t.widths[i] < 0 {
			continue
		}
		if cell.Text != "" {
			for ; gap > 0; gap-- {
				t.w.WriteByte(' ')
			}
			text := cell.Text
			if cell.Tone != words.Plain && t.paint != nil {
				text = t.paint(cell.Tone, text)
			}
			t.w.WriteString(text)
		}
		gap += max(0, t.widths[i]-width(cell.Text)) + 2
	}
	return t.w.WriteByte('\n') // it has the errors of the writes before it, too
}

// width is how many columns of a terminal a text takes.
func width(text string) int {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return ansi.StringWidth(text)
		}
	}
	return len(text)
}

// printTable prints rows under a header.
func (c *cli) printTable(header []string, rows []row) error {
	t := c.newTable(header)
	for _, r := range rows {
		if err := t.add(r); err != nil {
			return err
		}
	}
	return t.close()
}
