package words

import (
	"fmt"
	"strings"
)

// Line is one line of a description.
type Line struct {
	Indent    int    // steps to the right: 0 or 1
	Label     string // what the line is about; empty: it continues the line above
	LabelTone Tone
	Text      Text
	Whole     bool // the line has no label; a line without label and text separates two parts
}

// labelWidth is the width of the column of labels, with the space after it.
const labelWidth = 10

// Print returns lines for a screen with letters of equal width, each with its end of line.
func Print(lines []Line, paint Paint) string {
	var b strings.Builder
	for _, l := range lines {
		text := l.Text.Paint(paint)
		if !l.Whole {
			label := l.Label
			if text != "" {
				label = fmt.Sprintf("%-*s ", labelWidth-1, label)
			}
			if l.LabelTone != Plain && paint != nil {
				name := strings.TrimSuffix(label, " ")
				label = paint(l.LabelTone, name) + label[len(name):]
			}
			text = strings.Repeat("  ", l.Indent) + label + text
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

// named returns a line with a label.
func named(label string, parts ...any) Line { return Line{Label: label, Text: Say(parts...)} }

// below returns a line with a label, one step to the right.
func below(label string, parts ...any) Line {
	return Line{Indent: 1, Label: label, Text: Say(parts...)}
}

// whole returns a line without a label.
func whole(parts ...any) Line { return Line{Whole: true, Text: Say(parts...)} }
