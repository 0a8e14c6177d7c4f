package liveview

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/recording"
	"hm/internal/replay"
)

const playbackStart = app.Time(1_000_000)

func testPlayback() *playback {
	opts := replay.OptionsOf(config.Default())
	opts.Settle = 100 * time.Second
	return newPlayback("r.jsonl", opts, newTempo(10, playbackStart, 0))
}

// played sets the position of the player to d after the start.
func (p *playback) played(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := playbackStart.Add(d)
	p.tempo.at, p.tempo.next, p.tempo.since = at, at, time.Now()
}

func TestPlaybackShowsItsProgress(t *testing.T) {
	p := testPlayback()
	if play := p.Frame().Play; play.Done >= 0 || play.Phase != Playing {
		t.Errorf("at first it is %+v", play)
	}
	p.progress(1, 0) // the size is not known
	p.progress(1, 4)
	if play := p.Frame().Play; play.Done != 0.25 {
		t.Errorf("after a quarter of the bytes it is %+v", play)
	}
	p.endsAt(playbackStart.Add(300 * time.Second))
	p.played(100 * time.Second)
	if play := p.Frame().Play; play.Done != 0.25 || play.Phase != Playing {
		t.Errorf("after 100 of 400 s it is %+v", play)
	}
	p.played(301 * time.Second)
	if play := p.Frame().Play; play.Done < 0.75 || play.Phase != RunningOn {
		t.Errorf("after the recording it is %+v", play)
	}
	p.finish(nil)
	if f := p.Frame(); f.Play.Done != 1 || f.Play.Phase != Ended || f.Now != playbackStart.Add(301*time.Second).Std() ||
		len(p.Keys()) != 2 || p.Done() {
		t.Errorf("at the end it is %+v with keys %v", f.Play, p.Keys())
	}
	if p.stop() {
		t.Error("a replay that has ended was stopped early")
	}

	p = testPlayback()
	p.until = playbackStart.Add(50 * time.Second)
	p.endsAt(playbackStart.Add(300 * time.Second))
	p.played(75 * time.Second)
	if play := p.Frame().Play; play.Done != 0.5 {
		t.Errorf("with --until it is %+v after half of the time", play)
	}
	p.finish(errors.New("malformed"))
	if !p.Done() {
		t.Error("a replay that has failed stays on the screen")
	}
}

func TestPlaybackKeys(t *testing.T) {
	p := testPlayback()
	p.played(time.Second)
	for _, tc := range []struct {
		key  string
		want Play
	}{
		{"p", Play{Speed: 10, Paused: true}},
		{"space", Play{Speed: 10}},
		{"+", Play{Speed: 20}},
		{"=", Play{Speed: 40}},
		{"-", Play{Speed: 20}},
		{"f", Play{Speed: 20, Skip: playbackStart.Add(101 * time.Second).Std()}},
		{"right", Play{Speed: 20, Skip: playbackStart.Add(201 * time.Second).Std()}},
	} {
		action, ok := p.Keys().ActionOf(tc.key)
		if !ok {
			t.Fatalf("key %s has no action", tc.key)
		}
		p.Do(action)
		tc.want.Done = -1
		if got := *p.Frame().Play; got != tc.want {
			t.Errorf("after %s it is %+v, want %+v", tc.key, got, tc.want)
		}
		select {
		case <-p.control.C():
		default:
			t.Errorf("key %s does not notify the player", tc.key)
		}
	}
}

func TestPlaybackEvents(t *testing.T) {
	p := testPlayback()
	for i := range 5 * playbackMaxEvents {
		p.add(replay.TimelineEvent{At: playbackStart, Kind: replay.TimelineFinding, Text: fmt.Sprint(i)})
		p.add(replay.TimelineEvent{At: playbackStart, Kind: replay.TimelineCommand, Text: "start",
			Command: &replay.Command{}})
	}
	p.add(replay.TimelineEvent{At: playbackStart.Add(time.Second), Kind: replay.TimelineLeader,
		Text: "another node leads"})
	p.add(replay.TimelineEvent{At: playbackStart, Kind: replay.TimelineGate, Text: "closed: nats-down"})
	f := p.Frame()
	if len(f.Events) != playbackMaxEvents || !f.Events[0].Failed || f.Events[1].Failed ||
		f.Events[2].Text != fmt.Sprintf("finding  %d", 5*playbackMaxEvents-1) {
		t.Errorf("%d events, the newest %+v", len(f.Events), f.Events[:3])
	}
	if at := playbackStart.Add(time.Second).Std(); !f.Play.LeaderAt.Equal(at) {
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

// The playback shows the recording's time up to the end, and the result is the same as that of a
// replay without a view.
func TestPlaybackShowsTheReplay(t *testing.T) {
	files, err := recording.Files("../../testdata/recordings/outage-leader-change.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	opts := replay.OptionsOf(config.Default())
	want, err := replay.Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayback("r.jsonl", opts, newTempo(MaxSpeed, app.Time(want.Started), 0))
	opts.Watch, opts.Pace = p.add, p.pace(t.Context())
	got, err := replay.Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.JSON()) != string(want.JSON()) {
		t.Errorf("with a view, the result is\n%s\nwant\n%s", got.JSON(), want.JSON())
	}
	p.finish(nil)
	f := p.Frame()
	shown := Render(f, 100, 40, Theme{})
	for _, line := range []string{
		"time      2026-01-15 12:14:00.0", "gate      closed for 9m32s: actual-stale, desired-stale",
		"link      NATS up  for 14m00s  the leader changed 3 times  12m18s ago",
		"desired   stale, 1 app, 3 instances, read 10m00s ago", "actual    stale, 3 DEAs, 3 instances: 3 running",
		"commands  0 starts and 0 stops pending, 2 starts and 0 stops sent so far", "12:01:57  start web", "12:01:41  leader   another node leads",
	} {
		if !strings.Contains(shown, line) {
			t.Errorf("%q is missing in\n%s", line, shown)
		}
	}
}

// stop and the end of the context end the player at once, also while it waits or is paused.
func TestPlaybackStops(t *testing.T) {
	for name, paused := range map[string]bool{"waiting": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			p := testPlayback()
			ctx, cancel := context.WithCancel(t.Context())
			pace := p.pace(ctx)
			if paused {
				p.Do(PlayOrPause)
			}
			held := make(chan error)
			go func() {
				held <- pace(playbackStart.Add(time.Hour), func() replay.Snapshot { return replay.Snapshot{} })
			}()
			<-p.changed.C() // the first snapshot is shown
			if !p.stop() {
				t.Error("stop reports that the replay had ended")
			}
			if err := <-held; !errors.Is(err, replay.ErrStop) {
				t.Errorf("after stop it ends with %v", err)
			}
			cancel()
			if err := pace(playbackStart.Add(time.Hour), nil); !errors.Is(err, context.Canceled) {
				t.Errorf("after the cancel it ends with %v", err)
			}
		})
	}
}
