package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"hm/internal/liveview"
)

// devLine is a line of hm dev -o json. Type says which of the others is there.
type devLine struct {
	Type   string           `json:"type"` // listen, totals, event or end
	At     time.Time        `json:"at"`
	Places []liveview.Place `json:"places,omitempty"`
	Totals *liveview.Totals `json:"totals,omitempty"`
	Text   string           `json:"text,omitempty"`
	Failed bool             `json:"failed,omitempty"`
}

// showPlain prints where everything listens, then totals and events as they change, until ctx ends.
func showPlain(ctx context.Context, c *cli, s *devStage) error {
	show := printDevLine
	if c.json() {
		show = func(w io.Writer, l devLine) error { return json.NewEncoder(w).Encode(l) }
	}
	if err := show(c.out, devLine{Type: "listen", At: time.Now(), Places: s.world.places()}); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	var last liveview.Totals
	told := time.Time{} // when the newest event that was printed was noted
	for first := true; ; first = false {
		f := s.Frame()
		for _, e := range newEvents(f.Events, told) {
			told = e.At
			if err := show(c.out, devLine{Type: "event", At: e.At, Text: e.Text, Failed: e.Failed}); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
		}
		if now := liveview.TotalsOf(f); first || !now.Equal(last) {
			last = now
			if err := show(c.out, devLine{Type: "totals", At: f.Now, Totals: &now}); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

// newEvents gives the events after told, the oldest first.
func newEvents(newestFirst []liveview.Event, told time.Time) []liveview.Event {
	var out []liveview.Event
	for i := len(newestFirst) - 1; i >= 0; i-- {
		if newestFirst[i].At.After(told) {
			out = append(out, newestFirst[i])
		}
	}
	return out
}

func printDevLine(w io.Writer, l devLine) error {
	at := l.At.Format("15:04:05.000")
	var err error
	switch l.Type {
	case "listen":
		for _, p := range l.Places {
			_, err = fmt.Fprintf(w, "%-5s %s\n", p.Name, p.Address)
		}
	case "totals":
		_, err = fmt.Fprintf(w, "%s %s\n", at, l.Totals)
	default:
		_, err = fmt.Fprintf(w, "%s %s\n", at, l.Text)
	}
	return err
}

// showDevLive draws the live view until ctx ends or a key quits.
func showDevLive(ctx context.Context, c *cli, s *devStage) error {
	if err := liveview.Show(ctx, c.liveTerminal(), s); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.out, "hm dev ran for %s: %s\n", time.Since(s.started).Round(time.Second), liveview.TotalsOf(s.Frame()))
	if err == nil && !s.world.dir.temporary {
		_, err = fmt.Fprintf(c.out, "kept in %s\n", s.world.dir.path)
	}
	return err
}
