package dashboard

import (
	"fmt"
	"html/template"
)

// icons are drawings on a grid of 16, in the colour of the text around them. Each state has a shape of its own, so that
// no state is told by colour alone.
var icons = map[string]string{
	"good":     `<circle cx="8" cy="8" r="4.5" fill="currentColor" stroke="none"/>`,
	"warn":     `<path d="M8 2.6 14 13.2H2z" fill="currentColor" stroke-linejoin="round"/>`,
	"bad":      `<rect x="3.4" y="3.4" width="9.2" height="9.2" rx="1.2" fill="currentColor"/>`,
	"idle":     `<circle cx="8" cy="8" r="4.2"/>`,
	"overview": `<path d="M1.5 8.5h3l2-5 3 9 2-4h3"/>`,
	"apps":     `<rect x="2" y="2" width="5" height="5" rx="1"/><rect x="9" y="2" width="5" height="5" rx="1"/><rect x="2" y="9" width="5" height="5" rx="1"/><rect x="9" y="9" width="5" height="5" rx="1"/>`,
	"deas":     `<rect x="2" y="2.5" width="12" height="4.5" rx="1"/><rect x="2" y="9" width="12" height="4.5" rx="1"/><path d="M4.5 4.8h.01M4.5 11.2h.01"/>`,
	"commands": `<path d="M3 4.5 6.5 8 3 11.5M8.5 12H13"/>`,
	"events":   `<path d="M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01"/>`,
	"cluster":  `<circle cx="8" cy="3.6" r="1.8"/><circle cx="3.4" cy="12" r="1.8"/><circle cx="12.6" cy="12" r="1.8"/><path d="m7.1 5.2-2.8 5.2M8.9 5.2l2.8 5.2M5.2 12h5.6"/>`,
	"sandbox":  `<path d="M6 2h4M6.8 2v4.2L3 12.6a.9.9 0 0 0 .8 1.4h8.4a.9.9 0 0 0 .8-1.4L9.2 6.2V2M4.6 10h6.8"/>`,
	"search":   `<circle cx="7" cy="7" r="4.2"/><path d="m10.2 10.2 3.6 3.6"/>`,
	"theme":    `<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor"/>`,
	"pause":    `<path d="M5.5 3.5v9M10.5 3.5v9"/>`,
	"start":    `<path d="M5 3.2 12.4 8 5 12.8z" fill="currentColor" stroke-linejoin="round"/>`,
	"stop":     `<rect x="4" y="4" width="8" height="8" rx="1" fill="currentColor"/>`,
}

// icon draws one. It says nothing to a screen reader: the text beside it does.
func icon(of any) template.HTML {
	name := fmt.Sprint(of)
	return template.HTML(`<svg class="icon icon-` + name + `" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" ` +
		`stroke-width="1.5" stroke-linecap="round" aria-hidden="true" focusable="false">` + icons[name] + `</svg>`)
}
