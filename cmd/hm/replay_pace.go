package main

import (
	"context"
	"time"

	"hm/internal/app"
	"hm/internal/replay"
)

// pacer gives a pace that holds the timeline back to the tempo.
func pacer(ctx context.Context, t tempo, printed *timeline, progress *replayProgress) replay.Pace {
	return func(next app.Time, _ func() replay.Glimpse) error {
		for {
			wait := t.hold(time.Now(), next)
			if wait <= 0 {
				return nil
			}
			if err := printed.flush(); err != nil {
				return err
			}
			if err := progress.draw(); err != nil {
				return err
			}
			timer := time.NewTimer(min(wait, progressEvery))
			select {
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-timer.C:
			}
		}
	}
}
