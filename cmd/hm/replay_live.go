package main

import (
	"context"
	"fmt"

	"hm/internal/app"
	"hm/internal/liveview"
	"hm/internal/replay"
)

// live reports whether to play the recording in the live view.
func (r *replayRun) live() bool {
	return r.speed > 0 && !r.flags.plain && !r.json() && r.flags.expect == "" && r.terminal()
}

// playLive plays the recording in the live view until a key quits, and prints the summary of what was played.
func (r *replayRun) playLive(ctx context.Context, opts replay.Options) error {
	r.printHeader()
	recording := liveview.Recording{
		About: r.about(), Sources: r.sources, Started: app.TimeOf(r.header.Started), Speed: r.speed, Filter: &r.filter, Options: opts,
	}
	result, early, err := recording.Play(ctx, r.liveTerminal())
	if err != nil {
		return err
	}
	if r.early = early; early {
		if _, err := fmt.Fprintf(r.out, "stopped at %s, before the end\n", app.Time(result.Ended).Std().Format(liveview.TimeFormat)); err != nil {
			return err
		}
	}
	return r.printSummary(result)
}

// about returns the title of what is played.
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
