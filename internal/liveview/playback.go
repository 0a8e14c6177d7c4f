package liveview

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/notify"
	"hm/internal/replay"
)

// playback is the view model of a recording that is played. The player reports its state and asks when it may go on;
// the keys change the tempo. Its methods are safe for concurrent use.
type playback struct {
	about     string
	heartbeat time.Duration
	start     app.Time
	until     app.Time      // play at most to here; 0: to the end
	settle    time.Duration // the clock runs on for this time after the last event
	changed   notify.Signal // notified when there is something new to draw
	control   notify.Signal // notified when the player must look at the tempo again

	viewAt time.Time // when the player takes its next snapshot; used by the player alone

	mu       sync.Mutex
	tempo    tempo
	status   *api.Status
	commands []api.Command
	leaders  int
	leaderAt time.Time
	history  History
	sampled  app.Time // when the newest sample of the history was taken
	events   []Event  // the oldest first
	end      app.Time // of the recording; 0: not known yet
	share    float64  // of the stored bytes that are played; negative: not known
	stopped  bool     // the viewer has quit
	ended    bool
	failed   bool
}

const (
	playbackViewEvery = 100 * time.Millisecond // how often a snapshot is taken, and the clock drawn
	playbackViewCost  = 10                     // snapshots take at most 1/playbackViewCost of the time,
	playbackViewAge   = time.Second            // unless the shown one would become older than this
	playbackMaxEvents = 200
	playbackCommands  = 100 // commands kept for the list
	playbackSkip      = 10  // heartbeats
)

func newPlayback(about string, opts replay.Options, t tempo) *playback {
	return &playback{
		about: about, heartbeat: opts.Reconcile.Policy.HeartbeatPeriod, start: t.at, until: opts.Until,
		settle:  max(opts.Settle, 0),
		changed: notify.New(), control: notify.New(), tempo: t, share: -1,
	}
}

// pace returns the player's pace: it waits as the tempo says, and takes snapshots meanwhile.
func (p *playback) pace(ctx context.Context) replay.Pace {
	last := app.Time(0)
	return func(next app.Time, snapshot func() replay.Snapshot) error {
		final := next == last
		last = next
		for viewed := false; ; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			now := time.Now()
			if !viewed && (final || !now.Before(p.viewAt)) {
				p.show(snapshot())
				took := time.Since(now)
				p.viewAt = now.Add(max(playbackViewEvery, min(playbackViewCost*took, took+playbackViewAge)))
				viewed = true
				continue
			}
			wait, err := p.wait(now, next)
			if err != nil || wait <= 0 {
				return err
			}
			if !viewed {
				wait = min(wait, p.viewAt.Sub(now))
			} else if wait != forever {
				wait = min(wait, playbackViewEvery)
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-p.control.C():
			case <-timer.C:
				p.changed.Notify() // time has passed
			}
			timer.Stop()
		}
	}
}

// wait returns how long the player must wait before it advances the clock.
func (p *playback) wait(now time.Time, next app.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return 0, replay.ErrStop
	}
	return p.tempo.wait(now, next), nil
}

// show takes in a snapshot.
func (p *playback) show(s replay.Snapshot) {
	var wall api.Wall // hm time is the recording's time
	status := api.StatusOf(s.Overview, s.Counts, s.Desired, wall)
	status.NATS = api.NATS{Connected: s.Overview.LinkUp, Since: wall.Time(s.Overview.LinkSince)}
	status.Drift = api.DriftCountsOf(s.Drift, s.Due)
	outstanding, ended := make([]api.Command, 0, len(s.Outstanding)), make([]api.Command, 0, len(s.Ended))
	for _, c := range s.Outstanding {
		outstanding = append(outstanding, api.CommandOf(c, wall))
	}
	for _, c := range s.Ended {
		ended = append(ended, api.EndedCommandOf(c, wall))
	}
	cmds := NewestCommands(outstanding, ended, playbackCommands)
	at := s.Overview.At

	p.mu.Lock()
	p.status, p.commands, p.leaders = &status, cmds, s.LeaderChanges
	// Until the gate opens for the first time, most of what seems to be missing was only not heard yet.
	if p.sampled == 0 && status.Gate.Open || p.sampled != 0 && at.Sub(p.sampled) >= p.heartbeat {
		p.history, p.sampled = p.history.Add(status.Drift), at
	}
	p.mu.Unlock()
	p.changed.Notify()
}

// add shows an event of the timeline. Commands have their own list.
func (p *playback) add(e replay.TimelineEvent) {
	if e.Kind == replay.TimelineCommand {
		return
	}
	shown := Event{At: e.At.Std(), Text: fmt.Sprintf("%-8s %s", e.Kind, shortGUIDs(e.Text)), Failed: isBad(e)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Kind == replay.TimelineLeader {
		p.leaderAt = shown.At
	}
	if p.events = append(p.events, shown); len(p.events) >= 2*playbackMaxEvents {
		p.events = slices.Clone(p.events[len(p.events)-playbackMaxEvents:])
	}
}

// anyGUID matches guids with and without hyphens.
var anyGUID = regexp.MustCompile(`\b([0-9a-f]{8})(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b`)

// shortGUIDs shortens the guids in a text, so that they leave room for the rest.
func shortGUIDs(text string) string { return anyGUID.ReplaceAllString(text, "$1") }

// progress takes in how many of the stored bytes are played.
func (p *playback) progress(done, total int64) {
	if total <= 0 {
		return
	}
	p.mu.Lock()
	p.share = float64(done) / float64(total)
	p.mu.Unlock()
}

// endsAt takes in when the recording ends. Time measures the progress better than bytes do.
func (p *playback) endsAt(end app.Time) {
	p.mu.Lock()
	p.end = end
	if p.until != 0 {
		p.end = min(end, p.until)
	}
	p.mu.Unlock()
	p.changed.Notify()
}

// finish takes in that the replay has ended.
func (p *playback) finish(err error) {
	p.mu.Lock()
	p.ended, p.failed = true, err != nil
	p.mu.Unlock()
	p.changed.Notify()
}

// Do changes the tempo.
func (p *playback) Do(a Action) {
	now := time.Now()
	p.mu.Lock()
	switch a {
	case PlayOrPause:
		p.tempo.playOrPause(now)
	case Faster:
		p.tempo.scale(now, 2)
	case Slower:
		p.tempo.scale(now, 0.5)
	case Skip:
		p.tempo.forward(now, playbackSkip*p.heartbeat)
	}
	p.mu.Unlock()
	p.control.Notify()
	p.changed.Notify()
}

// stop ends the replay at its present time. It reports whether the replay had not ended by itself. Call it after the
// live view has ended.
func (p *playback) stop() (early bool) {
	p.mu.Lock()
	p.stopped = true
	early = !p.ended
	p.mu.Unlock()
	p.control.Notify()
	return early
}

// Keys returns the keys that do something now.
func (p *playback) Keys() Keys {
	p.mu.Lock()
	defer p.mu.Unlock()
	play, _ := p.play(time.Now())
	return play.Keys()
}

// Changed receives when there is something new to draw.
func (p *playback) Changed() <-chan struct{} { return p.changed.C() }

// Done returns true when the replay has failed: then the error is more useful. A replay that has ended stays on the
// screen.
func (p *playback) Done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// play returns how the recording is being played, and its time. The caller holds the lock.
func (p *playback) play(now time.Time) (*Play, app.Time) {
	at := p.tempo.position(now)
	play := &Play{Speed: p.tempo.speed, Paused: p.tempo.paused, Done: p.share, Leaders: p.leaders, LeaderAt: p.leaderAt}
	if p.tempo.skipTo != 0 {
		play.Skip = p.tempo.skipTo.Std()
	}
	if p.end != 0 {
		play.Done = 1
		if whole := p.end.Add(p.settle).Sub(p.start); whole > 0 {
			play.Done = min(float64(at.Sub(p.start))/float64(whole), 1)
		}
		if at > p.end {
			play.Phase = RunningOn
		}
	}
	if p.ended {
		at = p.tempo.next
		play.Phase, play.Done, play.Skip = Ended, 1, time.Time{}
	}
	return play, at
}

// Frame returns what to draw now.
func (p *playback) Frame() Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	play, at := p.play(time.Now())
	events := slices.Clone(p.events[max(0, len(p.events)-playbackMaxEvents):])
	slices.Reverse(events)
	return Frame{
		Title: "hm replay", About: p.about, Now: at.Std(), Play: play, Keys: play.Keys(),
		Status: p.status, Commands: p.commands, Drift: p.history, Events: events, // all are replaced, never changed
	}
}
