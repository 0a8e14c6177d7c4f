package liveview

import "charm.land/lipgloss/v2"

// Theme is the styles of the parts of a frame. The zero Theme is plain text.
type Theme struct {
	Title, Label, Good, Bad, Faint lipgloss.Style
}

// Colored returns the theme for a terminal with colours. It uses the terminal's own sixteen colours, which fit its
// background.
func Colored() Theme {
	of := func(color string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(color)) }
	return Theme{
		Title: lipgloss.NewStyle().Bold(true), Label: of("6"), Good: of("2"), Bad: of("1").Bold(true),
		Faint: lipgloss.NewStyle().Faint(true),
	}
}
