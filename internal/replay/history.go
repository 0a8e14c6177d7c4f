package replay

import (
	"fmt"
	"slices"
	"strings"

	"hm/actual"
	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// history follows one droplet through time: what is desired, what runs, which commands are outstanding, and what hm
// finds.
type history struct {
	droplet app.GUID
	report  func(TimelineEvent)
	lines   map[string]string // the present state, by subject
}

func newHistory(droplet app.GUID, report func(TimelineEvent)) *history {
	return &history{droplet: droplet, report: report, lines: map[string]string{}}
}

func (h *history) exit(now app.Time, e actual.Exit) {
	if e.App.Droplet == h.droplet {
		text := fmt.Sprintf("/%d droplet.exited %s instance %s", e.Index, e.Reason, e.Instance)
		h.report(TimelineEvent{At: now, Kind: TimelineApp, Text: text})
	}
}

// update reports what has changed.
func (h *history) update(view *raftfsm.State, know reconcile.Knowledge, eval *reconcile.Evaluator, now app.Time) {
	lines := map[string]string{}
	for _, k := range view.Versions(h.droplet) {
		addVersion(lines, view, eval.App(view, k, know, now))
	}
	var changes []string
	for subject, text := range lines {
		if h.lines[subject] != text {
			changes = append(changes, subject+" "+text)
		}
	}
	for subject := range h.lines {
		if _, still := lines[subject]; !still {
			changes = append(changes, subject+" is gone")
		}
	}
	h.lines = lines
	slices.Sort(changes)
	for _, text := range changes {
		h.report(TimelineEvent{At: now, Kind: TimelineApp, Text: text})
	}
}

// addVersion adds the state of one version of the droplet to lines.
func addVersion(lines map[string]string, view *raftfsm.State, e *reconcile.Evaluation) {
	k := e.Input.Key
	version := ""
	if e.Input.Desired == nil {
		version = " of version " + k.Version.String()
	}
	if d := e.Input.Desired; d != nil {
		lines["desired"] = fmt.Sprintf("version %s: %d instances, %s, %s", k.Version, d.Instances, d.State, d.Package)
	}
	for _, i := range e.Input.Instances {
		lines[fmt.Sprintf("/%d instance %s", i.Index, i.GUID)] = fmt.Sprintf("%s on %s%s", i.State, i.DEA, version)
	}
	for _, c := range view.Commands(k) {
		text := fmt.Sprintf("%s %s is %s", c.Reason, c.ID.String(), c.State)
		if c.State == commands.Pending {
			text += ", due " + c.DueAt.String()
		}
		subject := fmt.Sprintf("/%d %s%s", c.Index, c.Action, version)
		if c.Action == commands.Stop {
			subject += " of " + c.Instance.String()
		}
		lines[subject] = text
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		if f.Kind == diff.KindNone && f.Rule == "" {
			continue
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%s %s", f.Rule, f.Bucket)
		if f.Kind != diff.KindNone {
			fmt.Fprintf(&text, ", %s", f.Kind)
		}
		if why := f.Why.String(); why != "" {
			fmt.Fprintf(&text, ": %s", why)
		}
		subject := fmt.Sprintf("/%d finding%s", f.Index, version)
		if !f.Instance.IsZero() {
			subject += " on " + f.Instance.String()
		}
		lines[subject] = text.String()
	}
}
