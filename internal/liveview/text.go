package liveview

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"hm/internal/words"
)

// The tones of a screen, beside those of package words.
const (
	toneTitle words.Tone = "title"
	toneLabel words.Tone = "label"
)

// line is one line of a screen. Its text may hold anything: paintLine takes out what could change a terminal.
type line struct {
	text   words.Text
	chosen bool // under the cursor
}

// text returns the line of parts as words.Say takes them.
func text(parts ...any) line { return line{text: words.Say(parts...)} }

func faint(s string) words.Piece { return words.Piece{Tone: words.Faint, Text: s} }
func good(s string) words.Piece  { return words.Piece{Tone: words.Good, Text: s} }
func warn(s string) words.Piece  { return words.Piece{Tone: words.Warn, Text: s} }
func bad(s string) words.Piece   { return words.Piece{Tone: words.Bad, Text: s} }

// plain returns a text whose pieces are harmless on a terminal.
func plain(t words.Text) words.Text {
	out := make(words.Text, len(t))
	for i, p := range t {
		out[i] = words.Piece{Tone: p.Tone, Text: Plain(p.Text)}
	}
	return out
}

// columnsOf returns how many columns a text takes.
func columnsOf(t words.Text) int {
	n := 0
	for _, p := range t {
		n += ansi.StringWidth(p.Text)
	}
	return n
}

// cut cuts a plain text to a number of columns.
func cut(t words.Text, columns int) words.Text {
	if columnsOf(t) <= columns {
		return t
	}
	var out words.Text
	left := columns
	for i, p := range t {
		width := ansi.StringWidth(p.Text)
		if width < left || width == left && columnsOf(t[i+1:]) == 0 {
			out = append(out, p)
			left -= width
			continue
		}
		if width == left { // the mark needs a column
			p.Text = ansi.Truncate(p.Text, left-1, "") + "…"
		} else {
			p.Text = ansi.Truncate(p.Text, left, "…")
		}
		return append(out, p)
	}
	return out
}

// paintLine draws a line of at most a number of columns.
func (t Theme) paintLine(l line, columns int) string {
	shown := cut(plain(l.text), columns)
	if l.chosen && t.on {
		return t.Cursor.Render(fit(shown.String(), columns))
	}
	return strings.TrimRight(shown.Paint(t.paint), " ")
}

// beside puts two columns of lines side by side.
func beside(left, right []line, leftColumns int) []line {
	out := make([]line, 0, max(len(left), len(right)))
	for i := range max(len(left), len(right)) {
		var l line
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			shown := cut(plain(l.text), leftColumns)
			l.text = words.Say(shown, strings.Repeat(" ", leftColumns-columnsOf(shown)), "  ", right[i].text)
		}
		out = append(out, l)
	}
	return out
}

// wrap breaks a text into lines of at most a number of columns. Lines after the first one begin with indent.
func wrap(t words.Text, columns int, indent string) []line {
	var lines []line
	var now words.Text
	width, fresh := 0, true
	for _, p := range plain(t) {
		for _, word := range strings.SplitAfter(p.Text, " ") {
			n := ansi.StringWidth(strings.TrimRight(word, " "))
			if !fresh && width+n > columns {
				lines = append(lines, line{text: trimmed(now)})
				now, width = words.Say(indent), ansi.StringWidth(indent)
				fresh = true
			}
			if n > 0 {
				fresh = false
			}
			now = words.Say(now, words.Piece{Tone: p.Tone, Text: word})
			width += ansi.StringWidth(word)
		}
	}
	return append(lines, line{text: trimmed(now)})
}

// trimmed returns a text without spaces at its end.
func trimmed(t words.Text) words.Text {
	if n := len(t); n > 0 {
		t[n-1].Text = strings.TrimRight(t[n-1].Text, " ")
	}
	return t
}
