package sandbox

import (
	"context"
	"time"

	"hm/internal/liveview"
)

// Line is one line of hm dev without a live view. Type says which of the other fields are set.
type Line struct {
	Type   string           `json:"type"` // listen, totals, event or end
	At     time.Time        `json:"at"`
	Places []liveview.Place `json:"places,omitempty"`
	Totals *liveview.Totals `json:"totals,omitempty"`
	Text   string           `json:"text,omitempty"`
	Failed bool             `json:"failed,omitempty"`
}

// Follow calls show with the addresses of all parts, and then with totals and events as they change, until ctx ends or
// show fails. Use it without a live view: both receive from Changed.
func (v *View) Follow(ctx context.Context, show func(Line) error) error {
	if err := show(Line{Type: "listen", At: time.Now(), Places: v.sandbox.Places()}); err != nil {
		return err
	}
	var last liveview.Totals
	var printed time.Time // when the newest event that was printed happened
	for first := true; ; first = false {
		f := v.Frame()
		for _, e := range eventsAfter(f.Events, printed) {
			printed = e.At
			if err := show(Line{Type: "event", At: e.At, Text: e.Text, Failed: e.Failed}); err != nil {
				return err
			}
		}
		if now := liveview.TotalsOf(f); first || !now.Equal(last) {
			last = now
			if err := show(Line{Type: "totals", At: time.Now(), Totals: &now}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed():
		}
	}
}

// eventsAfter returns the events after t, the oldest first.
func eventsAfter(newestFirst []liveview.Event, t time.Time) []liveview.Event {
	var out []liveview.Event
	for i := len(newestFirst) - 1; i >= 0; i-- {
		if newestFirst[i].At.After(t) {
			out = append(out, newestFirst[i])
		}
	}
	return out
}
