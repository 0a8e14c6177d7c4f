package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/liveview"
	"hm/internal/replay"
)

// replayStage is what one looks at while a recording is played. The player tells it how things stand, and asks it when
// it may go on; the keys ask it for another tempo. Its methods are safe for concurrent use.
type replayStage struct {
	about     string
	heartbeat time.Duration
	start     app.Time
	until     app.Time      // it is played to here at most; 0: to its end
	settle    time.Duration // for which the clock runs on then
	changed   chan struct{} // poked when there is something new to be drawn
	control   chan struct{} // poked when the player is to do something else

	lookAt time.Time // when the player looks next; its own

	mu       sync.Mutex
	tempo    tempo
	status   *api.Status
	commands []api.Command
	leaders  int
	leaderAt time.Time
	trail    liveview.Trail
	sampled  app.Time         // when the trail got its newest sample
	events   []liveview.Event // the oldest first
	end      app.Time         // of the recording; 0: not known yet
	share    float64          // of the stored bytes that are played; negative: not known
	stopped  bool             // somebody has seen enough
	ended    bool
	failed   bool
}

const (
	replayLookEvery = 100 * time.Millisecond // how often the player looks, and the clock is drawn
	replayLookCost  = 10                     // a look costs at most this part of the time, unless it is older than
	replayLookAge   = time.Second            // this by then: what is shown must not be of long ago
	replayMaxEvents = 200
	replayCommands  = 100 // that are kept for the list
	replaySkip      = 10  // heartbeats
)

func newReplayStage(about string, opts replay.Options, t tempo) *replayStage {
	return &replayStage{
		about: about, heartbeat: opts.Reconcile.Policy.HeartbeatPeriod, start: t.at, until: opts.Until, settle: max(opts.Settle, 0),
		changed: make(chan struct{}, 1), control: make(chan struct{}, 1), tempo: t, share: -1,
	}
}

// pacer gives the player's pace: it is held back to the tempo, and looked at meanwhile.
func (s *replayStage) pacer(ctx context.Context) replay.Pace {
	last := app.Time(0)
	return func(next app.Time, look func() replay.Glimpse) error {
		final := next == last
		last = next
		for looked := false; ; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			now := time.Now()
			if !looked && (final || !now.Before(s.lookAt)) {
				s.show(look())
				took := time.Since(now)
				s.lookAt = now.Add(max(replayLookEvery, min(replayLookCost*took, took+replayLookAge)))
				looked = true
				continue
			}
			wait, err := s.hold(now, next)
			if err != nil || wait <= 0 {
				return err
			}
			if !looked {
				wait = min(wait, s.lookAt.Sub(now))
			} else if wait != forever {
				wait = min(wait, replayLookEvery)
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-s.control:
			case <-timer.C:
				poke(s.changed) // time has passed
			}
			timer.Stop()
		}
	}
}

// hold tells for how long the player may not move the clock yet.
func (s *replayStage) hold(now time.Time, next app.Time) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, replay.ErrStop
	}
	return s.tempo.hold(now, next), nil
}

// show takes in how things stand.
func (s *replayStage) show(g replay.Glimpse) {
	var wall api.Wall // hm time is the recording's time
	status := api.StatusOf(g.Overview, g.Counts, g.Desired, wall)
	status.NATS = api.NATS{Connected: g.Overview.LinkUp, Since: wall.Time(g.Overview.LinkSince)}
	status.Drift = api.DriftCountsOf(g.Drift, g.Due)
	outstanding, ended := make([]api.Command, 0, len(g.Outstanding)), make([]api.Command, 0, len(g.Ended))
	for _, c := range g.Outstanding {
		outstanding = append(outstanding, api.CommandOf(c, wall))
	}
	for _, c := range g.Ended {
		ended = append(ended, api.EndedCommandOf(c, wall))
	}
	cmds := liveview.NewestCommands(outstanding, ended, replayCommands)
	at := g.Overview.At

	s.mu.Lock()
	s.status, s.commands, s.leaders = &status, cmds, g.Leaders
	// What seems to be missing before the gate first opens was only not heard of yet.
	if s.sampled == 0 && status.Gate.Open || s.sampled != 0 && at.Sub(s.sampled) >= s.heartbeat {
		s.trail, s.sampled = s.trail.Add(status.Drift), at
	}
	s.mu.Unlock()
	poke(s.changed)
}

// moment takes one thing that happened. Commands have a list of their own.
func (s *replayStage) moment(m replay.Moment) {
	if m.Kind == replay.MomentCommand {
		return
	}
	e := liveview.Event{At: m.At.Std(), Text: fmt.Sprintf("%-8s %s", m.Kind, shortGUIDs(m.Text)), Failed: bad(m)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Kind == replay.MomentLeader {
		s.leaderAt = e.At
	}
	if s.events = append(s.events, e); len(s.events) >= 2*replayMaxEvents {
		s.events = slices.Clone(s.events[len(s.events)-replayMaxEvents:])
	}
}

// anyGUID matches guids with and without dashes.
var anyGUID = regexp.MustCompile(`\b([0-9a-f]{8})(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b`)

// shortGUIDs cuts the guids in a text, which in full leave no room for the rest.
func shortGUIDs(text string) string { return anyGUID.ReplaceAllString(text, "$1") }

// progress takes how much has been played of the stored bytes.
func (s *replayStage) progress(done, total int64) {
	if total <= 0 {
		return
	}
	s.mu.Lock()
	s.share = float64(done) / float64(total)
	s.mu.Unlock()
}

// endsAt takes when the recording ends, which makes a better measure than its bytes.
func (s *replayStage) endsAt(end app.Time) {
	s.mu.Lock()
	s.end = end
	if s.until != 0 {
		s.end = min(end, s.until)
	}
	s.mu.Unlock()
	poke(s.changed)
}

// finish says that the replay has ended.
func (s *replayStage) finish(err error) {
	s.mu.Lock()
	s.ended, s.failed = true, err != nil
	s.mu.Unlock()
	poke(s.changed)
}

// ask does what a key asks for.
func (s *replayStage) ask(a liveview.Action) {
	now := time.Now()
	s.mu.Lock()
	switch a {
	case liveview.PlayOrPause:
		s.tempo.playOrPause(now)
	case liveview.Faster:
		s.tempo.scale(now, 2)
	case liveview.Slower:
		s.tempo.scale(now, 0.5)
	case liveview.Skip:
		s.tempo.forward(now, replaySkip*s.heartbeat)
	}
	s.mu.Unlock()
	poke(s.control)
	poke(s.changed)
}

// stop ends the replay at the present moment, and reports whether there is more of it. The live view has quit by then.
func (s *replayStage) stop() (early bool) {
	s.mu.Lock()
	s.stopped = true
	early = !s.ended
	s.mu.Unlock()
	poke(s.control)
	return early
}

// keys are those that do something.
func (s *replayStage) keys() liveview.Keys {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.play(time.Now())
	return p.Keys()
}

// news is poked when there is something new to be shown.
func (s *replayStage) news() <-chan struct{} { return s.changed }

// over is so when the replay has failed: the error is more to the point. One that has ended stays to be looked at.
func (s *replayStage) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// play tells how the recording is being played, and its time. The caller holds the lock.
func (s *replayStage) play(now time.Time) (*liveview.Play, app.Time) {
	at := s.tempo.position(now)
	p := &liveview.Play{Speed: s.tempo.speed, Paused: s.tempo.paused, Done: s.share, Leaders: s.leaders, LeaderAt: s.leaderAt}
	if s.tempo.skip != 0 {
		p.Skip = s.tempo.skip.Std()
	}
	if s.end != 0 {
		p.Done = 1
		if whole := s.end.Add(s.settle).Sub(s.start); whole > 0 {
			p.Done = min(float64(at.Sub(s.start))/float64(whole), 1)
		}
		if at > s.end {
			p.Stage = liveview.RunningOn
		}
	}
	if s.ended {
		at = s.tempo.next
		p.Stage, p.Done, p.Skip = liveview.Ended, 1, time.Time{}
	}
	return p, at
}

// frame gives all that is to be shown now.
func (s *replayStage) frame() liveview.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	play, at := s.play(time.Now())
	events := slices.Clone(s.events[max(0, len(s.events)-replayMaxEvents):])
	slices.Reverse(events)
	return liveview.Frame{
		Title: "hm replay", About: s.about, Now: at.Std(), Play: play, Keys: play.Keys(),
		Status: s.status, Commands: s.commands, Drift: s.trail, Events: events, // the former are replaced, never changed
	}
}
