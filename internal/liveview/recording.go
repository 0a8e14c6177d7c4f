package liveview

import (
	"context"
	"errors"
	"slices"
	"sync"

	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/replay"
)

// Recording is a recording to play in the live view.
type Recording struct {
	About   string // what is played, for the title
	Sources []recording.Source
	Started app.Time       // when the recording begins
	Speed   float64        // times as fast as it happened, from MinSpeed to MaxSpeed
	Filter  *Filter        // what to show; playback begins at its From
	Options replay.Options // Play sets Watch, Pace and Progress
}

// Play plays the recording in the live view until a key quits, ctx ends or the replay fails. It returns the result of
// what was played. early reports that the viewer quit before the end.
func (r Recording) Play(ctx context.Context, t Terminal) (result replay.Result, early bool, err error) {
	p := newPlayback(r.About, r.Options, newTempo(r.Speed, r.Started, r.Filter.From))
	playing, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := r.Options
	opts.Watch = r.Filter.Watch(p.add)
	opts.Pace = p.pace(playing)
	total := totalSize(r.Sources)
	opts.Progress = func(done int64, _ *replay.Result) error {
		p.progress(done, total)
		return nil
	}
	var played, measured sync.WaitGroup
	var failed error
	played.Go(func() {
		result, failed = replay.Run(playing, opts, r.Sources...)
		p.finish(failed)
	})
	measured.Go(func() {
		if slices.ContainsFunc(r.Sources, recording.Source.ReadOnce) {
			return // reading it here would take it from the player
		}
		if end, err := recording.EndOf(playing, r.Sources...); err == nil { // the player reports errors
			p.endsAt(end)
		}
	})
	if err = Show(ctx, t, p); err != nil {
		cancel()
	}
	early = p.stop()
	played.Wait()
	cancel()
	measured.Wait()
	return result, early, errors.Join(err, failed)
}
