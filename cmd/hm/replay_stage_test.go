package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/replay"
)

const stageStart = app.Time(1_000_000)

func testReplayStage() *replayStage {
	opts := replay.OptionsOf(config.Default())
	opts.Settle = 100 * time.Second
	return newReplayStage("r.jsonl", opts, newTempo(10, stageStart, 0))
}

// played has the player come to some time behind the start.
func (s *replayStage) played(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := stageStart.Add(d)
	s.tempo.at, s.tempo.next, s.tempo.since = at, at, time.Now()
}

func TestReplayStageTellsHowFarItIs(t *testing.T) {
	s := testReplayStage()
	if p := s.frame().Play; p.Done >= 0 || p.Stage != liveview.Playing {
		t.Errorf("at first it is %+v", p)
	}
	s.progress(1, 0) // the size is not known
	s.progress(1, 4)
	if p := s.frame().Play; p.Done != 0.25 {
		t.Errorf("after a quarter of the bytes it is %+v", p)
	}
	s.endsAt(stageStart.Add(300 * time.Second))
	s.played(100 * time.Second)
	if p := s.frame().Play; p.Done != 0.25 || p.Stage != liveview.Playing {
		t.Errorf("after 100 of 400 s it is %+v", p)
	}
	s.played(301 * time.Second)
	if p := s.frame().Play; p.Done < 0.75 || p.Stage != liveview.RunningOn {
		t.Errorf("after the recording it is %+v", p)
	}
	s.finish(nil)
	if f := s.frame(); f.Play.Done != 1 || f.Play.Stage != liveview.Ended || f.Now != stageStart.Add(301*time.Second).Std() || len(s.keys()) != 2 || s.over() {
		t.Errorf("at the end it is %+v with keys %v", f.Play, s.keys())
	}
	if s.stop() {
		t.Error("a replay that has ended is stopped early")
	}

	s = testReplayStage()
	s.until = stageStart.Add(50 * time.Second)
	s.endsAt(stageStart.Add(300 * time.Second))
	s.played(75 * time.Second)
	if p := s.frame().Play; p.Done != 0.5 {
		t.Errorf("with --until it is %+v after half of the time", p)
	}
	s.finish(errors.New("malformed"))
	if !s.over() {
		t.Error("a replay that has failed stays to be looked at")
	}
}

func TestReplayStageKeys(t *testing.T) {
	s := testReplayStage()
	s.played(time.Second)
	for _, tc := range []struct {
		key  string
		want liveview.Play
	}{
		{"p", liveview.Play{Speed: 10, Paused: true}},
		{"space", liveview.Play{Speed: 10}},
		{"+", liveview.Play{Speed: 20}},
		{"=", liveview.Play{Speed: 40}},
		{"-", liveview.Play{Speed: 20}},
		{"f", liveview.Play{Speed: 20, Skip: stageStart.Add(101 * time.Second).Std()}},
		{"right", liveview.Play{Speed: 20, Skip: stageStart.Add(201 * time.Second).Std()}},
	} {
		action, ok := s.keys().ActionOf(tc.key)
		if !ok {
			t.Fatalf("key %s asks for nothing", tc.key)
		}
		s.ask(action)
		tc.want.Done = -1
		if got := *s.frame().Play; got != tc.want {
			t.Errorf("after %s it is %+v, want %+v", tc.key, got, tc.want)
		}
		select {
		case <-s.control:
		default:
			t.Errorf("the player hears nothing of key %s", tc.key)
		}
	}
}

func TestReplayStageEvents(t *testing.T) {
	s := testReplayStage()
	for i := range 5 * replayMaxEvents {
		s.moment(replay.Moment{At: stageStart, Kind: replay.MomentFinding, Text: fmt.Sprint(i)})
		s.moment(replay.Moment{At: stageStart, Kind: replay.MomentCommand, Text: "start", Command: &replay.Command{}})
	}
	s.moment(replay.Moment{At: stageStart.Add(time.Second), Kind: replay.MomentLeader, Text: "another node leads"})
	s.moment(replay.Moment{At: stageStart, Kind: replay.MomentGate, Text: "closed: nats-down"})
	f := s.frame()
	if len(f.Events) != replayMaxEvents || !f.Events[0].Failed || f.Events[1].Failed || f.Events[2].Text != fmt.Sprintf("finding  %d", 5*replayMaxEvents-1) {
		t.Errorf("%d events, the newest %+v", len(f.Events), f.Events[:3])
	}
	if at := stageStart.Add(time.Second).Std(); !f.Play.LeaderAt.Equal(at) {
		t.Errorf("the leader changed at %v, want %v", f.Play.LeaderAt, at)
	}
}

func TestShortGUIDs(t *testing.T) {
	for text, want := range map[string]string{
		"missing (R01) 2aa09d55-cacf-4378-8888-1cad6478d4c7/0":             "missing (R01) 2aa09d55/0",
		"instance 027755a017a7134516721b1882115304 on 0-9d827f3bad17eaae9": "instance 027755a0 on 0-9d827f3bad17eaae9",
		"start web/0": "start web/0",
	} {
		if got := shortGUIDs(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// What is shown is of the recording's time, from the first moment on to the very end, and the result is that of a
// replay that nobody watches.
func TestReplayStageShowsTheReplay(t *testing.T) {
	files, err := replay.Files("../../testdata/recordings/outage-leader-change.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	opts := replay.OptionsOf(config.Default())
	want, err := replay.Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	s := newReplayStage("r.jsonl", opts, newTempo(maxSpeed, app.Time(want.Started), 0))
	opts.Watch, opts.Pace = s.moment, s.pacer(t.Context())
	got, err := replay.Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.JSON()) != string(want.JSON()) {
		t.Errorf("watched, the result is\n%s\nwant\n%s", got.JSON(), want.JSON())
	}
	s.finish(nil)
	f := s.frame()
	shown := liveview.Render(f, 100, 40, liveview.Look{})
	for _, line := range []string{
		"time     2026-01-15 12:14:00.0", "gate     closed  actual-stale, desired-stale  for 9m32s", "link     NATS up  for 14m00s  the leader changed 3 times  12m18s ago",
		"desired  stale  3 instances of 1 apps  read 10m00s ago", "actual   stale  3 running", "commands starts 0 pending 2 sent", "12:01:57  start web", "12:01:41  leader   another node leads",
	} {
		if !strings.Contains(shown, line) {
			t.Errorf("%q is missing in\n%s", line, shown)
		}
	}
}

// The player is stopped at once, and by its context, whatever it waits for.
func TestReplayStageStops(t *testing.T) {
	for name, paused := range map[string]bool{"waiting": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			s := testReplayStage()
			ctx, cancel := context.WithCancel(t.Context())
			pace := s.pacer(ctx)
			if paused {
				s.ask(liveview.PlayOrPause)
			}
			held := make(chan error)
			go func() { held <- pace(stageStart.Add(time.Hour), func() replay.Glimpse { return replay.Glimpse{} }) }()
			<-s.changed // it has been looked at
			if !s.stop() {
				t.Error("there is nothing to be stopped")
			}
			if err := <-held; !errors.Is(err, replay.ErrStop) {
				t.Errorf("stopped, it ends with %v", err)
			}
			cancel()
			if err := pace(stageStart.Add(time.Hour), nil); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled, it ends with %v", err)
			}
		})
	}
}
