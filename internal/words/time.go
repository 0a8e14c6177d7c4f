package words

import (
	"time"

	"hm/internal/api"
)

// Ago returns the time from t to the answer: "5s ago", or "never" for no time.
func Ago(b api.Basis, t api.Timestamp) string {
	if t.IsZero() {
		return "never"
	}
	return Span(b, t) + " ago"
}

// Span returns the time from t to the answer; a t after the answer counts as no time.
func Span(b api.Basis, t api.Timestamp) string { return api.Span(max(0, b.At.Sub(t.Time))) }

// When returns the time from the answer to t: "now", "in 58s", "12s ago", or an empty text for no time.
func When(b api.Basis, t api.Timestamp) string {
	if t.IsZero() {
		return ""
	}
	left := t.Sub(b.At.Time)
	switch {
	case left > 0:
		return "in " + api.Span(left)
	case left == 0:
		return "now"
	}
	return api.Span(-left) + " ago"
}

func milliseconds(ms int64) string { return api.Span(time.Duration(ms) * time.Millisecond) }
