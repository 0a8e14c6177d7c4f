package liveview

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hm/internal/words"
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
		{"space", PlayOrPause, pause, "pauses the recording, or continues it"},
		{"p", PlayOrPause, "", ""},
		{"+", Faster, "faster", "plays twice as fast"},
		{"=", Faster, "", ""}, // the same key without shift
		{"-", Slower, "slower", "plays half as fast"},
		{"f", Skip, "forward", "goes ten heartbeats forward"},
		{"right", Skip, "", ""},
	}, quitKeys...)
}

// The widths of the progress bar, and of the text beside it.
const (
	playBarMin = 10
	playBarMax = 50
	playBeside = 62
)

// play shows the recording's time, progress and speed.
func (p painter) play() []line {
	if p.Play == nil {
		return nil
	}
	l := p.labelled("time", p.Now.Format("2006-01-02 15:04:05.0"))
	if share := p.Play.Done; share >= 0 {
		share = min(share, 1)
		width := min(max(p.width-playBeside, playBarMin), playBarMax)
		full := int(share * float64(width))
		l = text(l.text, "  ", good(strings.Repeat("█", full)), faint(strings.Repeat("░", width-full)),
			fmt.Sprintf(" %3.0f %%", 100*share))
	}
	return []line{text(l.text, "  ", p.pace())}
}

// pace shows the speed, and whether the recording is paused or skips.
func (p painter) pace() words.Text {
	play := p.Play
	title := func(s string) words.Piece { return words.Piece{Tone: toneTitle, Text: s} }
	speed := strconv.FormatFloat(play.Speed, 'f', -1, 64) + "x"
	switch {
	case play.Phase == Ended:
		return words.Say(title("ended"))
	case !play.Skip.IsZero():
		return words.Say(speed, title(" forward to "+play.Skip.In(p.Now.Location()).Format(time.TimeOnly)))
	case play.Paused:
		return words.Say(speed, title(" paused"))
	case play.Phase == RunningOn:
		return words.Say(speed, faint(" running on"))
	}
	return words.Say(speed)
}

// link shows NATS and changes of the leader. A live cluster has the cluster's line instead.
func (p painter) link() []line {
	if p.Play == nil || p.Status == nil {
		return nil
	}
	state := words.Say("up")
	if !p.Status.NATS.Connected {
		state = words.Say(bad("down"))
	}
	l := p.labelled("link", "NATS ", state)
	if since := p.Status.NATS.Since; !since.IsZero() {
		l = text(l.text, faint("  for "+age(p.Now.Sub(since.Time))))
	}
	switch n := p.Play.Leaders; n {
	case 0:
		l = text(l.text, faint("  the leader has not changed"))
	case 1:
		l = text(l.text, "  the leader changed once")
	default:
		l = text(l.text, fmt.Sprintf("  the leader changed %d times", n))
	}
	if !p.Play.LeaderAt.IsZero() {
		l = text(l.text, faint("  "+age(p.Now.Sub(p.Play.LeaderAt))+" ago"))
	}
	return []line{l}
}
