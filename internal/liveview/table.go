package liveview

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"hm/internal/words"
)

// column is a column of a table. Its width is fixed, so that a changed value moves nothing else on the screen.
type column struct {
	name  string
	width int  // of the last column it is ignored: it takes what is left
	right bool // numbers
}

// cell is one value of a row.
type cell = words.Piece

func value(s string) cell { return cell{Text: s} }

// rowLine draws a row of a table. It begins with two columns for the mark of the cursor.
func rowLine(columns []column, cells []cell, chosen bool) line {
	mark := "  "
	if chosen {
		mark = "> "
	}
	l := words.Say(mark)
	for i, c := range cells {
		if i == len(columns)-1 {
			l = words.Say(l, c)
			break
		}
		shown := Plain(c.Text)
		if columns[i].right {
			shown = fitRight(shown, columns[i].width)
		} else {
			shown = fit(shown, columns[i].width)
		}
		l = words.Say(l, words.Piece{Tone: c.Tone, Text: shown}, "  ")
	}
	return line{text: l, chosen: chosen}
}

// headLine draws the names of the columns.
func headLine(columns []column) line {
	cells := make([]cell, len(columns))
	for i, c := range columns {
		cells[i] = faint(c.name)
	}
	return rowLine(columns, cells, false)
}

// item is one row of a table before it is drawn.
type item struct {
	row
	cells []cell
}

// holds reports whether an item has all words of a filter, in any case of letters.
func (i item) has(filter []string) bool {
	if len(filter) == 0 {
		return true
	}
	var b strings.Builder
	b.WriteString(strings.ToLower(i.key))
	for _, c := range i.cells {
		b.WriteString(" " + strings.ToLower(c.Text))
	}
	for _, word := range filter {
		if !strings.Contains(b.String(), word) {
			return false
		}
	}
	return true
}

// filtered returns the items that have all words of a text.
func filtered(items []item, text string) []item {
	filter := strings.Fields(strings.ToLower(text))
	if len(filter) == 0 {
		return items
	}
	var kept []item
	for _, i := range items {
		if i.has(filter) {
			kept = append(kept, i)
		}
	}
	return kept
}

// table draws a page with a head, the names of the columns, and the rows around the cursor. It shows rows by whole
// screens, so that a step of the cursor changes two lines and no more.
func (p painter) table(head []line, columns []column, items []item, none string, height int) drawing {
	head = head[:min(len(head), height)]
	visible := max(height-len(head)-1, 0)
	d := drawing{lines: head, visible: max(visible, 1), length: len(items)}
	if len(items) == 0 {
		if height > len(head) {
			d.lines = append(d.lines, wrap(words.Say("  ", faint(none)), p.width, "  ")...)
		}
		d.lines = d.lines[:min(len(d.lines), height)]
		return d
	}
	at := 0
	for i := range items {
		d.rows = append(d.rows, items[i].row)
		if items[i].key == p.cursor {
			at = i
		}
	}
	if visible == 0 {
		return d
	}
	d.lines = append(d.lines, headLine(columns))
	from := at / visible * visible
	for i := from; i < min(from+visible, len(items)); i++ {
		d.rows[i].line = len(d.lines)
		d.lines = append(d.lines, rowLine(columns, items[i].cells, items[i].key == p.cursor))
	}
	return d
}

// text shows lines of a page without rows, from the place that is scrolled to.
func (p painter) scroll(head, lines []line, height int) drawing {
	head = head[:min(len(head), height)]
	visible := max(height-len(head), 0)
	top := min(p.top, max(0, len(lines)-visible))
	d := drawing{lines: append(head, lines[top:min(top+visible, len(lines))]...), visible: max(visible, 1), length: len(lines)}
	if left := len(lines) - top - visible; left > 0 && visible > 0 {
		d.lines[len(d.lines)-1] = text(faint(words.Count(left+1, "more line") + " below"))
	}
	return d
}

// widthOf returns the width of the widest of some texts, but at most most.
func widthOf(most int, texts ...string) int {
	width := 0
	for _, s := range texts {
		width = max(width, ansi.StringWidth(Plain(s)))
	}
	return min(width, most)
}
