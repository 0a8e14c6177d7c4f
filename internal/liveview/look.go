package liveview

import "charm.land/lipgloss/v2"

// Look is how the parts of a frame are set off from each other. The zero Look is plain text.
type Look struct {
	Title, Label, Good, Bad, Faint lipgloss.Style
}

// Colored gives the look for a terminal with colours. It uses the terminal's own sixteen, which fit its background.
func Colored() Look {
	of := func(color string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(color)) }
	return Look{
		Title: lipgloss.NewStyle().Bold(true), Label: of("6"), Good: of("2"), Bad: of("1").Bold(true), Faint: lipgloss.NewStyle().Faint(true),
	}
}
