package liveview

import (
	"charm.land/lipgloss/v2"

	"hm/internal/words"
)

// Theme is the styles of the parts of a frame. The zero Theme is plain text: every part says the same in words.
type Theme struct {
	Title, Label, Good, Warn, Bad, Faint, Cursor lipgloss.Style
	on                                           bool
}

// Colored returns the theme for a terminal with colours. It uses the terminal's own sixteen colours, which fit its
// background.
func Colored() Theme {
	of := func(color string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(color)) }
	return Theme{
		Title: lipgloss.NewStyle().Bold(true), Label: of("6"), Good: of("2"), Warn: of("3"), Bad: of("1").Bold(true),
		Faint: lipgloss.NewStyle().Faint(true), Cursor: lipgloss.NewStyle().Reverse(true), on: true,
	}
}

// paint draws a text in a tone of package words.
func (t Theme) paint(tone words.Tone, text string) string {
	if !t.on || text == "" {
		return text
	}
	switch tone {
	case words.Good:
		return t.Good.Render(text)
	case words.Warn:
		return t.Warn.Render(text)
	case words.Bad:
		return t.Bad.Render(text)
	case toneTitle:
		return t.Title.Render(text)
	case toneLabel:
		return t.Label.Render(text)
	case words.Faint:
		return t.Faint.Render(text)
	}
	return text
}
