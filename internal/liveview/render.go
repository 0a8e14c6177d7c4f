package liveview

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The smallest terminal that a frame is drawn for; a smaller one shows its upper left corner.
const (
	minWidth  = 20
	minHeight = 6
)

// Render draws a frame of at most height lines of at most width columns. What does not fit is left out, the least
// important first: commands and events get what the rest leaves.
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
	rank  int  // in what order parts get their lines
	list  bool // it can be cut off anywhere: a head line, and the newest of many
}

// listMin is what a list gets before the rest is shared out: its head and two lines.
const listMin = 3

// share says how many lines each part gets. A part that is no list gets all its lines or none, since half of one
// would mislead; the lists share what is left, line by line.
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

// label sets off the word that a line begins with.
func (p painter) label(word string) string { return p.theme.Label.Render(fmt.Sprintf("%-9s", word)) }

// indent is as wide as a label.
const indent = "         "

// flow puts words into lines, with two blanks between, broken where the next does not fit.
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
