package main

import (
	"encoding/json"
	"fmt"
	"time"

	"hm/internal/app"
	"hm/internal/liveview"
	"hm/internal/replay"
	"hm/internal/words"
)

// paintTone colours a text of the timeline.
func (c *cli) paintTone(tone liveview.Tone, text string) string {
	switch tone {
	case liveview.ToneGood:
		return c.paint(words.Good, text)
	case liveview.ToneBad:
		return c.paint(words.Bad, text)
	case liveview.ToneCommand:
		return c.paint(words.Warn, text)
	}
	return text
}

func (r *replayRun) printHeader() {
	text := "recording of " + r.header.Started.Format("2006-01-02 15:04:05 MST")
	if r.header.Note != "" {
		text += ": " + liveview.Plain(r.header.Note)
	}
	fmt.Fprintln(r.out, r.paint(words.Faint, text)) // the next write reports an error
}

func (r *replayRun) printSummary(result replay.Result) error {
	t := result.Totals
	_, err := fmt.Fprintf(r.out, "\n%s: %s with %s; %s, %s, at most %d within a heartbeat period; indices missing for %s in all\n",
		words.Count(result.Events, "event"), words.Count(result.Heartbeats, "heartbeat"), words.Count(result.Instances, "instance"),
		words.Count(t.Starts, "start"), words.Count(t.Stops, "stop"), t.WorstBurst, seconds(t.MissingSeconds))
	if err == nil && result.Rejected+result.RejectedInstances > 0 {
		_, err = fmt.Fprintf(r.out, "not understood: %s, %s in heartbeats\n", words.Count(result.Rejected, "message"),
			words.Count(result.RejectedInstances, "instance"))
	}
	if err != nil || len(result.Drift) == 0 || !r.filter.App.IsZero() {
		return err
	}
	if _, err := fmt.Fprintf(r.out, "\ndrift at the end:\n"); err != nil {
		return err
	}
	var rows []row
	for i, d := range result.Drift {
		if i == 50 {
			rows = append(rows, cells(fmt.Sprintf("and %d more", len(result.Drift)-i), "", "", "", "", "", ""))
			break
		}
		due := ""
		if d.Due != nil {
			due = app.Time(*d.Due).Std().Format(liveview.TimeFormat)
		}
		rows = append(rows, cells(d.App, d.Index, d.Instance, d.Kind, d.Rule, due, d.Detail))
	}
	return r.printTable([]string{"app", "index", "instance", "kind", "rule", "due", "detail"}, rows)
}

func seconds(s float64) string {
	return (time.Duration(s*1000) * time.Millisecond).Round(100 * time.Millisecond).String()
}

// printExpected prints the differences from the expected result, or that there are none.
func (r *replayRun) printExpected(result replay.Result, differences []string) error {
	if r.json() {
		return r.printJSON(map[string]any{"differences": append([]string{}, differences...)})
	}
	for _, d := range differences {
		if _, err := fmt.Fprintln(r.out, d); err != nil {
			return err
		}
	}
	if len(differences) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(r.out, "as expected: %s, %s\n", words.Count(len(result.Commands), "command"),
		words.Count(len(result.Drift), "finding"))
	return err
}

// printTruncated prints which files end early.
func (r *replayRun) printTruncated() (err error) {
	if r.truncated == nil {
		return nil
	}
	r.truncated.Each(func(name string, line int) {
		if err == nil {
			_, err = fmt.Fprintf(r.err, "%s ends early, after line %d; hm played the complete lines\n", name, line)
		}
	})
	return err
}

// printComparison prints a comparison of two runs with the given names.
func (r *replayRun) printComparison(hereName, thereName string, c replay.Comparison) error {
	if r.json() {
		raw, err := json.Marshal(map[string]any{"here": c.Here.Totals, "there": c.There.Totals, "differences": c.Differences})
		if err != nil {
			return fmt.Errorf("encoding the differences: %w", err)
		}
		return r.printRaw(raw)
	}
	if _, err := fmt.Fprintf(r.out, "here: %s; there: %s\n\n", hereName, thereName); err != nil {
		return err
	}
	var rows []row
	for _, d := range c.Differences {
		rows = append(rows, differenceRow(d))
	}
	if len(rows) > 0 {
		header := []string{"there it is", "here", "there", "action", "target", "reason", "instance"}
		if err := r.printTable(header, rows); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(r.out, "no difference: the same commands at the same times"); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(r.out); err != nil {
		return err
	}
	total := func(name string, t replay.Totals) row {
		return cells(name, t.Starts, t.Stops, t.WorstBurst, seconds(t.MissingSeconds))
	}
	totals := []row{total("here", c.Here.Totals), total("there", c.There.Totals)}
	if c.Recorded {
		totals[0][4] = words.Piece{}
	}
	return r.printTable([]string{"", "starts", "stops", "worst burst", "missing"}, totals)
}

func differenceRow(d replay.Difference) row {
	c := d.Here
	if c == nil {
		c = d.There
	}
	times := [2]string{}
	for i, x := range []*replay.Command{d.Here, d.There} {
		if x != nil {
			times[i] = app.Time(x.At).Std().Format(liveview.TimeFormat)
		}
	}
	kind := map[string]string{replay.OnlyHere: "only here", replay.OnlyThere: "only there"}[d.Kind]
	if kind == "" {
		kind = fmt.Sprintf("%s %s", (time.Duration(d.ByMS) * time.Millisecond).String(), d.Kind)
	}
	return cells(kind, times[0], times[1], c.Action, fmt.Sprintf("%s/%d", c.App, c.Index), c.Reason, c.Instance)
}
