package liveview

import (
	"strings"

	"hm/internal/app"
	"hm/internal/replay"
)

// Filter selects what of a replay is shown. The zero Filter selects everything. It is not safe for concurrent use.
type Filter struct {
	From  app.Time // nothing before this time
	App   app.GUID // the history of this app and the gate alone; zero: everything but histories
	Index string   // only this index of App, as a history has it: "/0"; empty: all of them

	found bool
}

// Watch returns a function for replay.Options.Watch that passes the selected events on to show.
func (f *Filter) Watch(show func(replay.TimelineEvent)) func(replay.TimelineEvent) {
	return func(e replay.TimelineEvent) {
		if f.pass(e) {
			show(e)
		}
	}
}

func (f *Filter) pass(e replay.TimelineEvent) bool {
	if e.Kind == replay.TimelineApp {
		if !f.ofIndex(e.Text) {
			return false
		}
		f.found = true
	}
	if e.At < f.From {
		return false
	}
	ofAll := e.Kind == replay.TimelineFinding || e.Kind == replay.TimelineCommand || e.Kind == replay.TimelineDesired
	return f.App.IsZero() || !ofAll
}

// Found reports whether anything of App has occurred, before From included.
func (f *Filter) Found() bool { return f.found }

// ofIndex reports whether a line of an app's history is about the selected index.
func (f *Filter) ofIndex(text string) bool {
	return f.Index == "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, f.Index+" ")
}
