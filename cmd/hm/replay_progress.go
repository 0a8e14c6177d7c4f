package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"hm/internal/replay"
)

// replayProgress shows how far a long replay is, on a standard error that is a terminal. It is of one goroutine.
type replayProgress struct {
	bar       *progressbar.ProgressBar // nil if it is not to be shown
	before    func() error             // called before the bar is drawn: what is still to be printed comes first
	total     int64                    // stored bytes
	done      int64
	events    int
	instances int
	began     time.Time
	due       time.Time // when the bar is drawn next
	visible   bool
}

const (
	progressAfter = 700 * time.Millisecond // short replays keep their progress to themselves
	progressEvery = 200 * time.Millisecond
	progressWidth = 20 // columns; the library takes fewer where the terminal has no room
)

func newReplayProgress(c *cli, sources []replay.Source) *replayProgress {
	p := &replayProgress{began: time.Now(), before: func() error { return nil }}
	p.due = p.began.Add(progressAfter)
	for _, s := range sources {
		p.total += s.Size
	}
	f, ok := c.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || p.total == 0 {
		return p
	}
	p.bar = progressbar.NewOptions64(p.total, progressbar.OptionSetWriter(f), progressbar.OptionSetWidth(progressWidth),
		progressbar.OptionUseANSICodes(true), progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}))
	p.bar.StartWithoutRender() // the rate counts from here
	return p
}

// report takes in how far the replay is.
func (p *replayProgress) report(done int64, r *replay.Result) error {
	p.done, p.events, p.instances = done, r.Events, r.Instances
	return p.draw()
}

// draw shows the bar, now and then.
func (p *replayProgress) draw() error {
	now := time.Now()
	if p.bar == nil || now.Before(p.due) {
		return nil
	}
	p.due = now.Add(progressEvery)
	if err := p.before(); err != nil {
		return err
	}
	// Files are read ahead, a small one at once: a bar that is full would be over for the library.
	if err := p.bar.Set64(min(p.done, p.total-1)); err != nil {
		return fmt.Errorf("showing the progress: %w", err)
	}
	p.bar.Describe(fmt.Sprintf("%d events, %.1f M instance heartbeats/s", p.events, float64(p.instances)/1e6/now.Sub(p.began).Seconds()))
	p.visible = true
	return nil
}

// hide takes the bar away until it is drawn again.
func (p *replayProgress) hide() error {
	if !p.visible {
		return nil
	}
	p.visible = false
	return p.bar.Clear()
}

// above gives a writer that prints to out where the bar was, which may be on the same terminal.
func (p *replayProgress) above(out io.Writer) io.Writer { return aboveProgress{p, out} }

type aboveProgress struct {
	progress *replayProgress
	out      io.Writer
}

func (w aboveProgress) Write(b []byte) (int, error) {
	if err := w.progress.hide(); err != nil {
		return 0, err
	}
	return w.out.Write(b)
}
