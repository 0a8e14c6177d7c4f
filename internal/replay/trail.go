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

// trail follows one droplet through time: what is desired, what runs, what is outstanding, and what hm finds.
type trail struct {
	droplet app.GUID
	tell    func(Moment)
	lines   map[string]string // what holds now, by what it is about
}

func newTrail(droplet app.GUID, tell func(Moment)) *trail {
	return &trail{droplet: droplet, tell: tell, lines: map[string]string{}}
}

func (t *trail) exit(now app.Time, e actual.Exit) {
	if e.App.Droplet == t.droplet {
		t.tell(Moment{At: now, Kind: MomentApp, Text: fmt.Sprintf("/%d droplet.exited %s instance %s", e.Index, e.Reason, e.Instance)})
	}
}

// update tells what has changed.
func (t *trail) update(view *raftfsm.State, know reconcile.Knowledge, eval *reconcile.Evaluator, now app.Time) {
	lines := map[string]string{}
	for _, k := range view.Versions(t.droplet) {
		t.version(lines, view, eval.App(view, k, know, now))
	}
	var told []string
	for _, about := range sortedKeys(lines) {
		if t.lines[about] != lines[about] {
			told = append(told, about+" "+lines[about])
		}
	}
	for _, about := range sortedKeys(t.lines) {
		if _, still := lines[about]; !still {
			told = append(told, about+" is gone")
		}
	}
	t.lines = lines
	slices.Sort(told)
	for _, text := range told {
		t.tell(Moment{At: now, Kind: MomentApp, Text: text})
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (t *trail) version(lines map[string]string, view *raftfsm.State, e *reconcile.Evaluation) {
	k := e.Input.Key
	of := ""
	if e.Input.Desired == nil {
		of = " of version " + k.Version.String()
	}
	if d := e.Input.Desired; d != nil {
		lines["desired"] = fmt.Sprintf("version %s: %d instances, %s, %s", k.Version, d.Instances, d.State, d.Package)
	}
	for _, i := range e.Input.Instances {
		text := fmt.Sprintf("%s on %s%s", i.State, i.DEA, of)
		lines[fmt.Sprintf("/%d instance %s", i.Index, i.GUID)] = text
	}
	for _, c := range view.Commands(k) {
		text := fmt.Sprintf("%s %s is %s", c.Reason, commands.IDString(c.ID), c.State)
		if c.State == commands.Pending {
			text += ", due " + c.DueAt.String()
		}
		about := fmt.Sprintf("/%d %s%s", c.Index, c.Action, of)
		if c.Action == diff.Stop {
			about += " of " + c.Instance.String()
		}
		lines[about] = text
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
		about := fmt.Sprintf("/%d finding%s", f.Index, of)
		if !f.Instance.IsZero() {
			about += " on " + f.Instance.String()
		}
		lines[about] = text.String()
	}
}
