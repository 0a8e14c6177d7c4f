package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"hm/internal/app"
	"hm/internal/replay"
)

// live reports whether the recording is to unfold in the live view.
func (r *replayRun) live() bool {
	return r.speed > 0 && !r.flags.plain && !r.json() && r.flags.expect == "" && r.terminal()
}

// playLive plays the recording in the live view until a key quits, and gives the result of what was played.
func (r *replayRun) playLive(ctx context.Context, opts replay.Options) (result replay.Result, err error) {
	var total int64
	for _, s := range r.sources {
		total += s.Size
	}
	stage := newReplayStage(r.about(), opts, newTempo(r.speed, app.TimeOf(r.header.Started), r.from))
	playing, cancel := context.WithCancel(ctx)
	defer cancel()
	opts.Watch = r.told(stage.moment)
	opts.Pace = stage.pacer(playing)
	opts.Progress = func(done int64, _ *replay.Result) error {
		stage.progress(done, total)
		return nil
	}
	var played, measured sync.WaitGroup
	var failed error
	played.Go(func() {
		result, failed = replay.Run(playing, opts, r.sources...)
		stage.finish(failed)
	})
	measured.Go(func() {
		if slices.ContainsFunc(r.sources, replay.Source.Once) {
			return // then how far it is stays unknown
		}
		if end, err := replay.EndOf(playing, r.sources...); err == nil { // the player tells of errors
			stage.endsAt(end)
		}
	})
	err = showLive(ctx, r.cli, stage)
	if err != nil {
		cancel()
	}
	early := stage.stop()
	played.Wait()
	cancel()
	measured.Wait()
	if err = errors.Join(err, failed); err != nil || !early {
		return result, err
	}
	r.trailed = true // what was not to be seen may have been to come
	_, err = fmt.Fprintf(r.out, "stopped at %s, before the end\n", app.Time(result.Ended).Std().Format(replayTime))
	return result, err
}

// about says what is played.
func (r *replayRun) about() string {
	text := r.sources[0].Name
	if more := len(r.sources) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if r.header.Note != "" {
		text += "  " + r.header.Note
	}
	return text
}
