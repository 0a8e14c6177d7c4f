package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// findings reports when drift appears and when it ends, summed up by rule. It begins when the gate first opens: what
// seems to be missing before that may only not have been received yet.
type findings struct {
	report func(TimelineEvent)
	begun  bool
	drift  map[app.Key][]diff.Finding // of the apps that have drift
}

func newFindings(report func(TimelineEvent)) *findings {
	return &findings{report: report, drift: map[app.Key][]diff.Finding{}}
}

// driftSort is what findings are summed up by.
type driftSort struct {
	kind diff.Kind
	rule string
}

// group is drift of one sort that appeared or ended at one time.
type group struct {
	n     int
	first string // app and index of the first
}

// update takes the apps that have changed and reports the drift that appeared or ended.
func (f *findings) update(
	view *raftfsm.State, keys []app.Key, know reconcile.Knowledge, eval *reconcile.Evaluator, now app.Time,
) {
	appeared, ended := map[driftSort]group{}, map[driftSort]group{}
	for _, k := range keys {
		var drift []diff.Finding
		for x := range eval.App(view, k, know, now).Drift() {
			drift = append(drift, *x)
		}
		old := f.drift[k]
		addDifference(appeared, k, drift, old)
		addDifference(ended, k, old, drift)
		if len(drift) == 0 {
			delete(f.drift, k)
		} else {
			f.drift[k] = drift
		}
	}
	if f.begun {
		f.reportGroups(appeared, now, "")
		f.reportGroups(ended, now, " no more")
	}
}

// begin reports the drift that there is.
func (f *findings) begin(now app.Time) {
	if f.begun {
		return
	}
	f.begun = true
	all := map[driftSort]group{}
	for _, k := range slices.SortedFunc(maps.Keys(f.drift), app.Key.Compare) {
		addDifference(all, k, f.drift[k], nil)
	}
	f.reportGroups(all, now, "")
}

// addDifference adds what is in list and not in other.
func addDifference(groups map[driftSort]group, k app.Key, list, other []diff.Finding) {
	for i := range list {
		x := &list[i]
		if slices.ContainsFunc(other, func(o diff.Finding) bool {
			return o.Kind == x.Kind && o.Rule == x.Rule && o.Index == x.Index && o.Instance == x.Instance
		}) {
			continue
		}
		s := driftSort{x.Kind, x.Rule}
		g := groups[s]
		if g.n++; g.n == 1 {
			g.first = fmt.Sprintf("%s/%d", k.Droplet, x.Index)
		}
		groups[s] = g
	}
}

func (f *findings) reportGroups(groups map[driftSort]group, now app.Time, suffix string) {
	sorts := slices.SortedFunc(maps.Keys(groups), func(a, b driftSort) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.rule, b.rule))
	})
	for _, s := range sorts {
		g := groups[s]
		text := fmt.Sprintf("%s%s (%s) %s", s.kind, suffix, s.rule, g.first)
		if g.n > 1 {
			text = fmt.Sprintf("%d × %s%s (%s), the first %s", g.n, s.kind, suffix, s.rule, g.first)
		}
		f.report(TimelineEvent{At: now, Kind: TimelineFinding, Text: text})
	}
}
