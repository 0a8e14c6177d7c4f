package watch

import (
	"context"
	"errors"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/liveview"
)

// seed asks a node for the counts of the last periods, so that the sparklines do not begin empty. A node of an older
// version keeps none: then they do.
func (w *Watcher) seed(ctx context.Context, client *api.Client) {
	if w.seeded {
		return
	}
	ask := func(since string, points int) (api.Series, error) {
		return timed(ctx, w, func(ctx context.Context) (api.Series, error) {
			s, _, err := client.Series(ctx, since, points)
			return s, err
		})
	}
	s, err := ask("", 1) // the length of its periods
	period := time.Duration(s.PeriodMS) * time.Millisecond
	if err == nil && period > 0 {
		s, err = ask((liveview.HistoryLength * period).String(), liveview.HistoryLength)
	}
	var refused *api.Problem
	if err != nil && !errors.As(err, &refused) {
		return // ask again
	}
	w.seeded = true
	if err != nil || period <= 0 {
		return
	}
	w.takeSeries(s, period)
}

// takeSeries takes in the counts of the last periods.
func (w *Watcher) takeSeries(s api.Series, period time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var past liveview.History
	rates := liveview.NewRates(period)
	for i, x := range s.Samples {
		past = past.Add(x.Drift)
		if i == 0 {
			continue
		}
		before := s.Samples[i-1]
		sent := int(x.SentStarts+x.SentStops) - int(before.SentStarts+before.SentStops)
		rates = rates.Add(before.At.Time, max(sent, 0), 0, 0)
	}
	w.period, w.history = period, past
	if n := len(s.Samples); n > 0 {
		w.sampled = s.Samples[n-1].At.Time
	}
	w.rates = rates
	for _, e := range w.happened {
		w.count(e)
	}
}

// count counts what became of a command. How many were sent follows from the totals of the status. The caller holds the
// lock.
func (w *Watcher) count(e liveview.Event) {
	switch journal.Kind(e.Kind) {
	case journal.CommandConfirmed:
		w.rates = w.rates.Add(e.At, 0, 1, 0)
	case journal.CommandExpired:
		w.rates = w.rates.Add(e.At, 0, 0, 1)
	}
}
