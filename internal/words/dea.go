package words

import (
	"fmt"

	"hm/internal/api"
)

// Troubles lists what is wrong with what a DEA sends.
func Troubles(b api.Basis, d api.DEA) []string {
	var all []string
	if u := d.Unreadable; u != nil {
		if u.Entries > 0 {
			all = append(all, fmt.Sprintf("%s cannot be read for %s", Count(u.Entries, "instance"), Span(b, u.Since)))
		}
		if u.UnknownStates > 0 {
			all = append(all, fmt.Sprintf("%s in unknown states for %s", Count(u.UnknownStates, "instance"), Span(b, u.Since)))
		}
		if u.Messages > 0 {
			all = append(all, fmt.Sprintf("%s cannot be decoded for %s", Count(u.Messages, "message"), Span(b, u.MessagesSince)))
		}
	}
	if !d.DoubledSince.IsZero() {
		all = append(all, "two DEAs use this id, known for "+Span(b, d.DoubledSince))
	}
	return all
}

// Heard returns when a DEA was last heard; an empty text if it is gone, since nobody remembers it then.
func Heard(b api.Basis, d api.DEA) string {
	if d.LastHeard.IsZero() && !d.GoneAt.IsZero() {
		return ""
	}
	return Ago(b, d.LastHeard)
}
