package liveview

import (
	"strings"

	"hm/internal/words"
)

// The smallest size of a screen. A smaller terminal shows its upper left corner.
const (
	minWidth  = 20
	minHeight = 6
)

// columnsFrom is the width from which the overview has two columns of lists.
const columnsFrom = 110

// Render draws the overview of a frame. See RenderScreen.
func Render(f Frame, width, height int, theme Theme) string {
	return RenderScreen(f, Screen{}, width, height, theme)
}

// RenderScreen draws what a screen shows of a frame, on at most height lines of at most width columns. It leaves out
// what does not fit, the least important parts first. It is pure: it reads no terminal and no clock.
func RenderScreen(f Frame, s Screen, width, height int, theme Theme) string {
	d := draw(f, s, width, height, theme)
	out := make([]string, len(d.lines))
	for i, l := range d.lines {
		out[i] = theme.paintLine(l, max(width, minWidth))
	}
	return strings.Join(out, "\n")
}

// drawing is a drawn screen, and what the keys can choose on it.
type drawing struct {
	lines   []line
	rows    []row // all rows of the page, also those that do not fit
	visible int   // how many lines of the page fit
	length  int   // how many lines the page has
}

// draw draws a screen.
func draw(f Frame, s Screen, width, height int, theme Theme) drawing {
	width, height = max(width, minWidth), max(height, minHeight)
	p := painter{Frame: f, Screen: s, width: width, height: height, theme: theme}
	_, p.blind = f.Source.Blind()
	head := append(p.title(), p.sourceLines()...)
	head = append(head, p.noticeLines()...)
	foot := p.foot()
	head, foot = head[:min(len(head), height)], foot[:min(len(foot), max(0, height-len(head)))]
	body := height - len(head) - len(foot)
	var d drawing
	switch {
	case s.help:
		p.top = s.helpTop
		d = p.scroll(nil, p.helpLines(), body)
	case s.dialog != nil:
		d = cutTo(append(p.gate(), append([]line{{}}, p.dialogLines(*s.dialog)...)...), body)
	default:
		d = p.pageBody(body)
	}
	if p.blind {
		for i := range d.lines { // no colour says that an old number is good or bad
			d.lines[i].text = words.Say(faint(d.lines[i].text.String()))
		}
	}
	if !s.Still { // the keys stay on the last line, wherever the page ends
		for len(foot) > 0 && len(d.lines) < body {
			d.lines = append(d.lines, line{})
		}
	}
	d.lines = append(append(head, d.lines...), foot...)
	return d
}

func cutTo(lines []line, height int) drawing {
	return drawing{lines: lines[:min(len(lines), max(0, height))], visible: height, length: len(lines)}
}

// painter draws the parts of one screen.
type painter struct {
	Frame
	Screen
	width, height int
	theme         Theme
	blind         bool // the numbers are old
}

// part is a section of the overview.
type part struct {
	lines []line
	short []line // stands for lines where these do not fit; nil: nothing does
	rank  int    // parts with a lower rank get their lines first
	list  bool   // it can be cut after any line: a head line, and the newest items
	rows  []row  // of the lines
}

// listMin is how many lines a list gets before the lists share the rest: its head and two items.
const listMin = 3

// share returns how many lines each part gets, and which parts get their short form. A part that is not a list gets
// all its lines or none, since half of it would mislead. The lists share the rest, line by line.
func share(parts []part, height int) (got []int, short []bool) {
	got, short = make([]int, len(parts)), make([]bool, len(parts))
	left, last := height, 0
	for _, p := range parts {
		last = max(last, p.rank)
	}
	for rank := range last + 1 {
		for i, p := range parts {
			want := len(p.lines)
			if p.list {
				want = min(want, listMin)
			}
			switch {
			case p.rank != rank:
			case want <= left:
				got[i] = want
				left -= want
			case p.short != nil && len(p.short) <= left:
				got[i], short[i] = len(p.short), true
				left -= got[i]
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for i, p := range parts {
			if p.list && !short[i] && got[i] >= min(listMin, len(p.lines)) && got[i] < len(p.lines) && left > 0 {
				got[i]++
				left--
				grown = true
			}
		}
	}
	return got, short
}

// place puts parts below each other into a height.
func place(parts []part, height int) ([]line, []row) {
	var lines []line
	var rows []row
	got, short := share(parts, height)
	for i, part := range parts {
		from := part.lines
		if short[i] {
			from = part.short
		}
		for _, r := range part.rows {
			if !short[i] && r.line < got[i] {
				r.line += len(lines)
				rows = append(rows, r)
			}
		}
		lines = append(lines, from[:got[i]]...)
	}
	return lines, rows
}

// labelWidth is the width of the labels, with the space after them.
const labelWidth = 10

// label draws the name at the beginning of a line. While the numbers are old, a question mark follows it.
func (p painter) label(name string) words.Piece {
	if p.blind && name != "" {
		name += "?"
	}
	return words.Piece{Tone: toneLabel, Text: fit(name, labelWidth)}
}

// indent has the width of a label.
var indent = strings.Repeat(" ", labelWidth)

// labelled draws a line with a label.
func (p painter) labelled(name string, parts ...any) line {
	return text(append([]any{p.label(name)}, parts...)...)
}

// flow puts words into lines that fit, two spaces apart. It gives at most a number of lines, and drops the words after
// them.
func (p painter) flow(all []words.Text, most int) []line {
	var lines []line
	var now words.Text
	for _, w := range all {
		switch {
		case now == nil:
			now = w
		case columnsOf(now)+2+columnsOf(w) <= p.width:
			now = words.Say(now, "  ", w)
		default:
			lines = append(lines, line{text: now})
			now = w
		}
		if len(lines) == most {
			return lines
		}
	}
	if now != nil {
		lines = append(lines, line{text: now})
	}
	return lines
}
