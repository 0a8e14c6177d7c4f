package liveview

import (
	"context"
	"time"

	"hm/internal/app"
	"hm/internal/replay"
)

// Pace makes a replay wait so that it plays at a speed, beginning at the time started of the recording. It plays as
// fast as possible up to from. idle is called before each wait, for example to print what is buffered; its error ends
// the replay, as the end of ctx does.
func Pace(ctx context.Context, speed float64, started, from app.Time, idle func() error) replay.Pace {
	t := newTempo(speed, started, from)
	return func(next app.Time, _ func() replay.Snapshot) error {
		for {
			wait := t.wait(time.Now(), next)
			if wait <= 0 {
				return nil
			}
			if err := idle(); err != nil {
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
