package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

// minInterval is the shortest pause of --watch.
const minInterval = 100 * time.Millisecond

// watchFlags are --watch and --interval.
type watchFlags struct {
	on       bool
	interval time.Duration
}

func (f *watchFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.on, "watch", "w", false, "ask again and again until a signal: redraw a terminal, append to anything else")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "with --watch: the pause between two answers, at least 100ms")
}

// watch shows what once prints, again and again until ctx ends. An error is told, and does not end it, unless it is the
// first answer and will not change by itself. It returns the exit code of the last answer.
func (c *cli) watch(ctx context.Context, f watchFlags, once func() error) error {
	if f.interval < minInterval {
		return withHint(fmt.Errorf("--interval %s: want at least %s", f.interval, minInterval), "leave it out for 2s")
	}
	v := c.newView(f)
	defer v.close()
	var last error
	for first := true; ; first = false {
		err := v.show(once)
		var code exitCode
		switch {
		case ctx.Err() != nil: // a signal ended it, maybe in the middle of an answer
			return last
		case v.broken() != nil:
			return v.broken()
		case err == nil:
			last = nil
		case errors.As(err, &code):
			last = code
		case first && !passes(err):
			return err
		default:
			v.tell(oneLine(err.Error()))
		}
		if !v.wait(ctx, f.interval) {
			return last
		}
	}
}

// passes reports whether an error may be over soon: the node does not answer, starts, or is busy.
func passes(err error) bool {
	var gone *api.Unreachable
	if errors.As(err, &gone) {
		return true
	}
	var p *api.Problem
	return errors.As(err, &p) && (p.Status == 429 || p.Status >= 502 && p.Status <= 504)
}

// view is where --watch shows answers.
type view interface {
	// show runs once, and shows its output if it has no error, or an exit code for one.
	show(once func() error) error
	// tell says why there is no newer answer.
	tell(trouble string)
	// wait waits for the next answer. It returns false if ctx has ended.
	wait(ctx context.Context, interval time.Duration) bool
	// broken returns why nothing can be written any more.
	broken() error
	close()
}

func (c *cli) newView(f watchFlags) view {
	if out, ok := c.out.(*os.File); ok && c.terminal() {
		return newScreen(c, out, f.interval)
	}
	return &appended{c: c, out: &sink{w: c.out}}
}

// sink remembers the first error of a writer.
type sink struct {
	w      io.Writer
	before string // is written first, once there is anything to write
	err    error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.before != "" && s.err == nil {
		_, s.err = io.WriteString(s.w, s.before)
		s.before = ""
	}
	n, err := s.w.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// appended appends answers to a file or a pipe.
type appended struct {
	c    *cli
	out  *sink
	told string // the last error
}

func (a *appended) show(once func() error) error {
	real := a.c.out
	a.c.out = a.out
	defer func() { a.c.out = real }()
	a.out.before = a.separator()
	err := once()
	if shown(err) {
		a.told = ""
	}
	return err
}

// shown reports whether an answer with this error was shown: an exit code is not a failure.
func shown(err error) bool {
	var code exitCode
	return err == nil || errors.As(err, &code)
}

func (a *appended) tell(trouble string) {
	if trouble != a.told {
		a.told = trouble
		fmt.Fprintf(a.c.err, "hm: asking again: %s\n", trouble)
	}
}

// separator separates an answer from the one before.
func (a *appended) separator() string {
	switch {
	case a.c.output == formatYAML:
		return "---\n"
	case a.c.forPrograms() || a.c.noHeaders:
		return ""
	}
	return time.Now().UTC().Format("== 15:04:05 UTC\n")
}

func (a *appended) wait(ctx context.Context, interval time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(interval):
		return true
	}
}

func (a *appended) broken() error { return a.out.err }

func (a *appended) close() {}

// oneLine joins the lines of a message.
func oneLine(text string) string { return words.OneLine(strings.ReplaceAll(text, "\n", "; ")) }
