package liveview

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The smallest size of a frame. A smaller terminal shows its upper left corner.
const (
	minWidth  = 20
	minHeight = 6
)

// Render draws a frame of at most height lines of at most width columns. It leaves out what does not fit, the least
// important parts first. Commands and events share the lines that the other parts leave.
func Render(f Frame, width, height int, theme Theme) string {
	width, height = max(width, minWidth), max(height, minHeight)
	p := painter{Frame: f, width: width, theme: theme}
	parts := []part{
		{lines: p.title(), rank: 0},
		{lines: p.play(), rank: 1},
		{lines: p.gate(), rank: 1},
		{lines: p.link(), rank: 4},
		{lines: p.nodes(), rank: 4},
		{lines: p.counts(), rank: 3},
		{lines: p.drift(), rank: 5},
		{lines: p.commands(height), rank: 6, list: true},
		{lines: p.events(height), rank: 2, list: true},
		{lines: p.places(), rank: 7},
		{lines: p.keys(), rank: 8},
	}
	var lines []string
	for i, n := range share(parts, height) {
		lines = append(lines, parts[i].lines[:n]...)
	}
	for i, l := range lines {
		lines[i] = ansi.Truncate(strings.TrimRight(l, " "), width, "…")
	}
	return strings.Join(lines, "\n")
}

// part is a section of the frame.
type part struct {
	lines []string
	rank  int  // parts with a lower rank get their lines first
	list  bool // it can be cut after any line: a head line, and the newest items
}

// listMin is how many lines a list gets before the lists share the rest: its head and two items.
const listMin = 3

// share returns how many lines each part gets. A part that is not a list gets all its lines or none, since half of it
// would mislead. The lists share the rest, line by line.
func share(parts []part, height int) []int {
	got := make([]int, len(parts))
	left := height
	for rank := range len(parts) {
		for i, p := range parts {
			want := len(p.lines)
			if p.list {
				want = min(want, listMin)
			}
			if p.rank == rank && want <= left {
				got[i] = want
				left -= want
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for i, p := range parts {
			if p.list && got[i] >= min(listMin, len(p.lines)) && got[i] < len(p.lines) && left > 0 {
				got[i]++
				left--
				grown = true
			}
		}
	}
	return got
}

// painter draws the parts of one frame.
type painter struct {
	Frame
	width int
	theme Theme
}

// label draws the name at the beginning of a line.
func (p painter) label(name string) string { return p.theme.Label.Render(fmt.Sprintf("%-9s", name)) }

// indent has the width of a label.
const indent = "         "

// flow puts words into lines that fit, two spaces apart.
func (p painter) flow(words []string) []string {
	var lines []string
	line := ""
	for _, w := range words {
		switch {
		case line == "":
			line = w
		case ansi.StringWidth(line)+2+ansi.StringWidth(w) <= p.width:
			line += "  " + w
		default:
			lines = append(lines, line)
			line = w
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
