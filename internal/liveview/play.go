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
	Paused bool      // the clock does not advance
	Skip   time.Time // it plays as fast as possible up to this time; zero: it does not skip
	Phase  PlayPhase
	Done   float64 // played share, from 0 to 1; negative: not known

	Leaders  int       // changes of the leader
	LeaderAt time.Time // the newest change
}

// PlayPhase is the part of a recording that is being played.
type PlayPhase uint8

// The phases.
const (
	Playing   PlayPhase = iota
	RunningOn           // the last event is played, the clock runs on
	Ended
)

// Keys returns the keys that do something now.
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

// The widths of the progress bar, and of the text beside it.
const (
	playBarMin = 10
	playBarMax = 50
	playBeside = 62
)

// play shows the recording's time, progress and speed.
func (p painter) play() []string {
	if p.Play == nil {
		return nil
	}
	line := p.label("time") + p.Now.Format("2006-01-02 15:04:05.0")
	if share := p.Play.Done; share >= 0 {
		share = min(share, 1)
		width := min(max(p.width-playBeside, playBarMin), playBarMax)
		full := int(share * float64(width))
		line += "  " + p.theme.Good.Render(strings.Repeat("█", full))
		line += p.theme.Faint.Render(strings.Repeat("░", width-full)) + fmt.Sprintf(" %3.0f %%", 100*share)
	}
	return []string{line + "  " + p.pace()}
}

// pace shows the speed, and whether the recording is paused or skips.
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

// link shows NATS and changes of the leader. A live cluster has a line for each node instead.
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
