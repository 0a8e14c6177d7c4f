package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"hm/internal/app"
	"hm/internal/replay"
)

// replayTime is how the timeline shows a moment.
const replayTime = "2006-01-02 15:04:05.000"

// maxAlike is how many commands of one sort in one instant are shown one by one.
const maxAlike = 12

// timeline prints moments as they come. Many commands of one instant become one line.
type timeline struct {
	c       *cli
	out     *bufio.Writer
	from    app.Time
	trail   bool // show the trail of one app, and the gate
	at      app.Time
	pending []replay.Moment // commands of one instant
	err     error
}

func newTimeline(c *cli, from app.Time, trail bool) *timeline {
	return &timeline{c: c, out: bufio.NewWriter(c.out), from: from, trail: trail}
}

func (t *timeline) moment(m replay.Moment) {
	if m.At < t.from {
		return
	}
	if t.trail && (m.Kind == replay.MomentFinding || m.Kind == replay.MomentCommand || m.Kind == replay.MomentDesired) {
		return
	}
	if m.At != t.at {
		t.sum()
		t.at = m.At
	}
	if m.Kind == replay.MomentCommand {
		command := *m.Command // the list that it is in grows
		m.Command = &command
		t.pending = append(t.pending, m)
		return
	}
	t.line(m)
}

// sum prints the commands of the instant that is over.
func (t *timeline) sum() {
	type sort struct{ action, reason string }
	counts := map[sort]int{}
	for _, m := range t.pending {
		counts[sort{m.Command.Action, m.Command.Reason}]++
	}
	for _, m := range t.pending {
		s := sort{m.Command.Action, m.Command.Reason}
		switch n := counts[s]; {
		case n > maxAlike:
			m.Text = fmt.Sprintf("%d × %s %s, the first %s/%d", n, s.action, s.reason, m.Command.App, m.Command.Index)
			counts[s] = -1
		case n < 0:
			continue
		}
		t.line(m)
	}
	t.pending = t.pending[:0]
}

func (t *timeline) line(m replay.Moment) {
	text := m.Text
	switch {
	case m.Kind == replay.MomentCommand:
		text = t.c.paint(yellow, text)
	case m.Kind == replay.MomentGate && m.Text == "open":
		text = t.c.paint(green, text)
	case m.Kind == replay.MomentGate, m.Kind == replay.MomentLink:
		text = t.c.paint(red, text)
	}
	t.put("%s  %-8s %s\n", m.At.Std().Format(replayTime), m.Kind, text)
}

func (t *timeline) put(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}

// flush prints what is pending.
func (t *timeline) flush() error {
	t.sum()
	if t.err == nil {
		t.err = t.out.Flush()
	}
	return t.err
}

// replayProgress shows how far a replay is, on a standard error that is a terminal.
type replayProgress struct {
	c       *cli
	show    bool
	total   int64
	began   time.Time
	shown   time.Time
	done    int64
	counted replay.Result // what there was at the last report
	now     app.Time
}

// progressAfter keeps the progress of short replays to itself.
const progressAfter = 700 * time.Millisecond

func newReplayProgress(c *cli, sources []replay.Source, speed float64) *replayProgress {
	p := &replayProgress{c: c, began: time.Now()}
	if f, ok := c.err.(*os.File); ok {
		p.show = term.IsTerminal(int(f.Fd()))
	}
	for _, s := range sources {
		p.total += s.Size
	}
	if speed == 0 {
		p.shown = p.began.Add(progressAfter)
	}
	return p
}

func (p *replayProgress) report(done int64, r *replay.Result) error {
	p.done = done
	p.counted = replay.Result{Events: r.Events, Instances: r.Instances, Commands: r.Commands, Gate: r.Gate}
	p.draw()
	return nil
}

// draw shows the line, five times a second at most.
func (p *replayProgress) draw() {
	now := time.Now()
	if !p.show || now.Sub(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = now
	took := now.Sub(p.began).Seconds()
	share := 0.0
	if p.total > 0 {
		share = 100 * float64(p.done) / float64(p.total)
	}
	clock := ""
	if p.now != 0 {
		clock = p.now.Std().Format(replayTime) + "  "
	}
	gate := ""
	if n := len(p.counted.Gate); n > 0 {
		gate = "  gate closed"
		if p.counted.Gate[n-1].Open {
			gate = "  gate open"
		}
	}
	fmt.Fprintf(p.c.err, "\r\x1b[K%s%3.0f %%  %d events  %.1f M instance heartbeats, %.1f M/s  %d commands%s",
		clock, share, p.counted.Events, float64(p.counted.Instances)/1e6, float64(p.counted.Instances)/1e6/took, len(p.counted.Commands), gate)
}

func (p *replayProgress) end() {
	if p.show {
		fmt.Fprint(p.c.err, "\r\x1b[K")
	}
}

// pacer gives a function that holds virtual time back to so many times the real one.
func (p *replayProgress) pacer(ctx context.Context, speed float64, t *timeline) replay.Pace {
	var first app.Time
	var began time.Time
	return func(now app.Time, _ func() replay.Glimpse) error {
		if first == 0 {
			first, began = now, time.Now()
		}
		p.now = now
		wait := time.Until(began.Add(time.Duration(float64(now.Sub(first)) / speed)))
		if wait < time.Millisecond {
			return nil
		}
		if err := t.flush(); err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for {
			p.draw()
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timer.C:
				return nil
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (r *replayRun) printHeader() {
	text := "recording of " + r.header.Started.Format("2006-01-02 15:04:05 MST")
	if r.header.Note != "" {
		text += ": " + r.header.Note
	}
	fmt.Fprintln(r.out, r.paint(faint, text)) // the next write tells of an error
}

func (r *replayRun) printSummary(result replay.Result) error {
	t := result.Totals
	_, err := fmt.Fprintf(r.out, "\n%s: %s with %s; %s, %s, at most %d within a heartbeat period; indices missing for %s in all\n",
		count(result.Events, "event"), count(result.Heartbeats, "heartbeat"), count(result.Instances, "instance"),
		count(t.Starts, "start"), count(t.Stops, "stop"), t.WorstBurst, seconds(t.MissingSeconds))
	if err != nil || len(result.Drift) == 0 || !r.droplet.IsZero() {
		return err
	}
	if _, err := fmt.Fprintf(r.out, "\ndrift at the end:\n"); err != nil {
		return err
	}
	var rows [][]string
	for i, d := range result.Drift {
		if i == 50 {
			rows = append(rows, []string{fmt.Sprintf("and %d more", len(result.Drift)-i), "", "", "", "", "", ""})
			break
		}
		due := ""
		if d.Due != nil {
			due = app.Time(*d.Due).Std().Format(replayTime)
		}
		rows = append(rows, []string{d.App, fmt.Sprint(d.Index), d.Instance, d.Kind, d.Rule, due, d.Detail})
	}
	return printTable(r.out, []string{"app", "index", "instance", "kind", "rule", "due", "detail"}, rows)
}

func seconds(s float64) string {
	return (time.Duration(s*1000) * time.Millisecond).Round(100 * time.Millisecond).String()
}

func (r *replayRun) printComparison(hereName, thereName string, here, there replay.Result, differences []replay.Difference) error {
	if _, err := fmt.Fprintf(r.out, "here: %s; there: %s\n\n", hereName, thereName); err != nil {
		return err
	}
	var rows [][]string
	for _, d := range differences {
		c := d.Here
		if c == nil {
			c = d.There
		}
		times := [2]string{}
		for i, x := range []*replay.Command{d.Here, d.There} {
			if x != nil {
				times[i] = app.Time(x.At).Std().Format(replayTime)
			}
		}
		word := map[string]string{replay.OnlyHere: "only here", replay.OnlyThere: "only there"}[d.Kind]
		if word == "" {
			word = fmt.Sprintf("%s %s", (time.Duration(d.ByMS) * time.Millisecond).String(), d.Kind)
		}
		rows = append(rows, []string{word, times[0], times[1], c.Action, fmt.Sprintf("%s/%d", c.App, c.Index), c.Reason, c.Instance})
	}
	if len(rows) > 0 {
		if err := printTable(r.out, []string{"there it is", "here", "there", "action", "target", "reason", "instance"}, rows); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(r.out, "no difference: the same commands at the same times"); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(r.out); err != nil {
		return err
	}
	total := func(name string, t replay.Totals) []string {
		return []string{name, fmt.Sprint(t.Starts), fmt.Sprint(t.Stops), fmt.Sprint(t.WorstBurst), seconds(t.MissingSeconds)}
	}
	table := [][]string{total("here", here.Totals), total("there", there.Totals)}
	if !r.policyGiven() {
		table[0][4] = ""
	}
	return printTable(r.out, []string{"", "starts", "stops", "worst burst", "missing"}, table)
}
