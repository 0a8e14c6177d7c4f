package liveview

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Plain replaces what could change a terminal or hide a part of a text, which may come from outside: control
// characters, and format characters such as those that turn the direction of writing around. Bytes that are not UTF-8
// become the replacement character.
func Plain(text string) string {
	clean := true
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, text)
}

// fit cuts a text to a number of columns, or fills it up with spaces on its right side. Wide characters count as two.
func fit(text string, columns int) string {
	width := ansi.StringWidth(text)
	if width > columns {
		text = ansi.Truncate(text, columns, "…")
		width = ansi.StringWidth(text)
	}
	return text + strings.Repeat(" ", max(0, columns-width))
}

// fitRight is like fit, but fills up on the left side.
func fitRight(text string, columns int) string {
	width := ansi.StringWidth(text)
	if width > columns {
		return fit(text, columns)
	}
	return strings.Repeat(" ", columns-width) + text
}
