package liveview

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Play is how a recording is being played.
type Play struct {
	Speed  float64   // how many times as fast as it happened
	Paused bool      // the clock stands
	Skip   time.Time // it is played as fast as it can to here; zero: it is not
	Phase  PlayPhase
	Done   float64 // share of it that has been played, of 1; negative: not known

	Leaders  int       // times that another node took the lead
	LeaderAt time.Time // the last time
}

// PlayPhase is how far a recording has come.
type PlayPhase uint8

// The stages.
const (
	Playing   PlayPhase = iota
	RunningOn           // the last event has been, the clock runs on
	Ended
)

// Keys are the keys that do something at this moment.
func (p *Play) Keys() Keys {
	if p.Phase == Ended {
		return quitKeys
	}
	pause := "pause"
	if p.Paused {
		pause = "continue"
	}
	return append(Keys{
		{"space", PlayOrPause, pause},
		{"p", PlayOrPause, ""},
		{"+", Faster, "faster"},
		{"=", Faster, ""}, // the same key without shift
		{"-", Slower, "slower"},
		{"f", Skip, "forward"},
		{"right", Skip, ""},
	}, quitKeys...)
}

// The widths of the bar that shows how far a recording has come, and of what stands beside it.
const (
	playBarMin = 10
	playBarMax = 50
	playBeside = 62
)

// play tells the recording's time, how far that is, and how fast it goes.
func (p painter) play() []string {
	if p.Play == nil {
		return nil
	}
	line := p.label("time") + p.Now.Format("2006-01-02 15:04:05.0")
	if share := p.Play.Done; share >= 0 {
		share = min(share, 1)
		width := min(max(p.width-playBeside, playBarMin), playBarMax)
		full := int(share * float64(width))
		line += "  " + p.theme.Good.Render(strings.Repeat("█", full)) + p.theme.Faint.Render(strings.Repeat("░", width-full)) + fmt.Sprintf(" %3.0f %%", 100*share)
	}
	return []string{line + "  " + p.pace()}
}

// pace tells how fast the recording goes.
func (p painter) pace() string {
	play := p.Play
	text := strconv.FormatFloat(play.Speed, 'f', -1, 64) + "x"
	if play.Phase == Ended {
		return p.theme.Title.Render("ended")
	}
	switch {
	case !play.Skip.IsZero():
		text += p.theme.Title.Render(" forward to " + play.Skip.In(p.Now.Location()).Format("15:04:05"))
	case play.Paused:
		text += p.theme.Title.Render(" paused")
	case play.Phase == RunningOn:
		text += p.theme.Faint.Render(" running on")
	}
	return text
}

// link tells of NATS and of the leader, for whom a cluster has a line a node.
func (p painter) link() []string {
	if p.Play == nil || p.Status == nil {
		return nil
	}
	line := p.label("link") + "NATS " + p.upDown(p.Status.NATS.Connected) + p.since(p.Status.NATS.Since)
	switch n := p.Play.Leaders; n {
	case 0:
		line += p.theme.Faint.Render("  the leader has not changed")
	case 1:
		line += "  the leader changed once"
	default:
		line += fmt.Sprintf("  the leader changed %d times", n)
	}
	if !p.Play.LeaderAt.IsZero() {
		line += p.theme.Faint.Render("  " + age(p.Now.Sub(p.Play.LeaderAt)) + " ago")
	}
	return []string{line}
}
