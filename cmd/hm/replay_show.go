package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"hm/internal/app"
	"hm/internal/liveview"
	"hm/internal/replay"
)

// replayTime is how the timeline shows a moment.
const replayTime = "2006-01-02 15:04:05.000"

// maxAlike is how many commands of one sort in one instant are shown one by one.
const maxAlike = 12

// bad reports whether a moment is bad news: from then on nothing is sent, or something was lost.
func bad(m replay.Moment) bool {
	return m.Kind == replay.MomentGate && m.Text != "open" || m.Kind == replay.MomentLink && m.Text != "NATS is up"
}

// told gives a Watch that passes on what the flags ask to be told of.
func (r *replayRun) told(tell func(replay.Moment)) func(replay.Moment) {
	trail := !r.droplet.IsZero() // show the trail of one app, and the gate
	return func(m replay.Moment) {
		if m.Kind == replay.MomentApp {
			if !r.ofIndex(m.Text) {
				return
			}
			r.trailed = true
		}
		if m.At < r.from || trail && (m.Kind == replay.MomentFinding || m.Kind == replay.MomentCommand || m.Kind == replay.MomentDesired) {
			return
		}
		tell(m)
	}
}

// ofIndex reports whether a line of a trail is about what is to be shown.
func (r *replayRun) ofIndex(text string) bool {
	return r.index == "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, r.index+" ")
}

// timeline prints moments as they come. Many commands of one instant become one line.
type timeline struct {
	c       *cli
	out     *bufio.Writer
	at      app.Time
	pending []replay.Moment // commands of one instant
	err     error
}

// newTimeline prints to out, in whole lines.
func newTimeline(c *cli, out io.Writer) *timeline {
	return &timeline{c: c, out: bufio.NewWriter(out)}
}

func (t *timeline) moment(m replay.Moment) {
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
	text := liveview.Plain(m.Text) // it may hold what was recorded of others
	switch {
	case m.Kind == replay.MomentCommand:
		text = t.c.paint(yellow, text)
	case bad(m):
		text = t.c.paint(red, text)
	case m.Kind == replay.MomentGate, m.Kind == replay.MomentLink:
		text = t.c.paint(green, text)
	}
	t.put("%s  %-8s %s\n", m.At.Std().Format(replayTime), m.Kind, text)
}

func (t *timeline) put(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.err == nil && len(text) > t.out.Available() {
		t.err = t.out.Flush() // a line that is cut in two could have the progress in between
	}
	if t.err == nil {
		_, t.err = t.out.WriteString(text)
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

func (r *replayRun) printHeader() {
	text := "recording of " + r.header.Started.Format("2006-01-02 15:04:05 MST")
	if r.header.Note != "" {
		text += ": " + liveview.Plain(r.header.Note)
	}
	fmt.Fprintln(r.out, r.paint(faint, text)) // the next write tells of an error
}

func (r *replayRun) printSummary(result replay.Result) error {
	t := result.Totals
	_, err := fmt.Fprintf(r.out, "\n%s: %s with %s; %s, %s, at most %d within a heartbeat period; indices missing for %s in all\n",
		count(result.Events, "event"), count(result.Heartbeats, "heartbeat"), count(result.Instances, "instance"),
		count(t.Starts, "start"), count(t.Stops, "stop"), t.WorstBurst, seconds(t.MissingSeconds))
	if err == nil && result.Rejected+result.RejectedInstances > 0 {
		_, err = fmt.Fprintf(r.out, "not understood: %s, %s in heartbeats\n", count(result.Rejected, "message"), count(result.RejectedInstances, "instance"))
	}
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
