package liveview

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"hm/internal/recording"
	"hm/internal/replay"
)

// Progress shows how much of a long replay is done, if its output is a terminal. It is not safe for concurrent use.
type Progress struct {
	// Before is called before the bar is drawn, to print what comes first. It may be nil.
	Before func() error

	bar       *progressbar.ProgressBar // nil if it is not shown
	total     int64                    // stored bytes
	done      int64
	events    int
	instances int
	began     time.Time
	due       time.Time // when the bar is drawn next
	visible   bool
}

const (
	progressAfter = 700 * time.Millisecond // a shorter replay shows no progress
	progressEvery = 200 * time.Millisecond
	progressWidth = 20 // columns; the library takes fewer on a narrow terminal
)

// NewProgress prepares a progress bar on out for a replay of the sources. It shows nothing if out is no terminal or a
// dumb one, or if the size of the sources is not known.
func NewProgress(out io.Writer, sources []recording.Source) *Progress {
	total := totalSize(sources)
	p := &Progress{total: total, began: time.Now()}
	p.due = p.began.Add(progressAfter)
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || total == 0 {
		return p
	}
	p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionSetWidth(progressWidth),
		progressbar.OptionUseANSICodes(true), progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}))
	p.bar.StartWithoutRender() // the rate counts from here
	return p
}

// totalSize returns the stored bytes of the sources, as far as known.
func totalSize(sources []recording.Source) (total int64) {
	for _, s := range sources {
		total += s.Size
	}
	return total
}

// Report takes in how many stored bytes are done, and the result so far. It is for replay.Options.Progress.
func (p *Progress) Report(done int64, r *replay.Result) error {
	p.done, p.events, p.instances = done, r.Events, r.Instances
	return p.Draw()
}

// Draw shows the bar, if enough time has passed.
func (p *Progress) Draw() error {
	now := time.Now()
	if p.bar == nil || now.Before(p.due) {
		return nil
	}
	p.due = now.Add(progressEvery)
	if p.Before != nil {
		if err := p.Before(); err != nil {
			return err
		}
	}
	// Files are read ahead, a small one at once. The library removes a full bar.
	if err := p.bar.Set64(min(p.done, p.total-1)); err != nil {
		return fmt.Errorf("showing the progress: %w", err)
	}
	rate := float64(p.instances) / 1e6 / now.Sub(p.began).Seconds()
	p.bar.Describe(fmt.Sprintf("%d events, %.1f M instance heartbeats/s", p.events, rate))
	p.visible = true
	return nil
}

// Hide removes the bar until it is drawn again.
func (p *Progress) Hide() error {
	if !p.visible {
		return nil
	}
	p.visible = false
	return p.bar.Clear()
}

// Above returns a writer to out that hides the bar before each write. Both may be on the same terminal.
func (p *Progress) Above(out io.Writer) io.Writer { return aboveProgress{p, out} }

type aboveProgress struct {
	progress *Progress
	out      io.Writer
}

func (w aboveProgress) Write(b []byte) (int, error) {
	if err := w.progress.Hide(); err != nil {
		return 0, err
	}
	return w.out.Write(b)
}
