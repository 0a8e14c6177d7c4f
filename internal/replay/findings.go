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

// findings tells when drift appears and when it is gone, summed up by rule. It begins when the gate first opens: what
// seems to be missing before that was only not heard of yet.
type findings struct {
	tell func(Moment)
	told bool                       // it has begun
	of   map[app.Key][]diff.Finding // with drift
}

func newFindings(tell func(Moment)) *findings {
	return &findings{tell: tell, of: map[app.Key][]diff.Finding{}}
}

// sort of drift.
type sortOf struct {
	kind diff.Kind
	rule string
}

// group is drift of one sort that appeared or ended at one time.
type group struct {
	n     int
	first string // where, of the first
}

func (f *findings) update(view *raftfsm.State, keys []app.Key, know reconcile.Knowledge, eval *reconcile.Evaluator, now app.Time) {
	came, went := map[sortOf]group{}, map[sortOf]group{}
	for _, k := range keys {
		var drift []diff.Finding
		for x := range eval.App(view, k, know, now).Drift() {
			drift = append(drift, *x)
		}
		old := f.of[k]
		note(came, k, drift, old)
		note(went, k, old, drift)
		if len(drift) == 0 {
			delete(f.of, k)
		} else {
			f.of[k] = drift
		}
	}
	if f.told {
		f.say(came, now, "")
		f.say(went, now, " no more")
	}
}

// begin tells what there is.
func (f *findings) begin(now app.Time) {
	if f.told {
		return
	}
	f.told = true
	all := map[sortOf]group{}
	for _, k := range slices.SortedFunc(maps.Keys(f.of), app.Key.Compare) {
		note(all, k, f.of[k], nil)
	}
	f.say(all, now, "")
}

// note counts what is in list and not in other.
func note(groups map[sortOf]group, k app.Key, list, other []diff.Finding) {
	for i := range list {
		x := &list[i]
		if slices.ContainsFunc(other, func(o diff.Finding) bool {
			return o.Kind == x.Kind && o.Rule == x.Rule && o.Index == x.Index && o.Instance == x.Instance
		}) {
			continue
		}
		s := sortOf{x.Kind, x.Rule}
		g := groups[s]
		if g.n++; g.n == 1 {
			g.first = fmt.Sprintf("%s/%d", k.Droplet, x.Index)
		}
		groups[s] = g
	}
}

func (f *findings) say(groups map[sortOf]group, now app.Time, suffix string) {
	for _, s := range slices.SortedFunc(maps.Keys(groups), func(a, b sortOf) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.rule, b.rule)) }) {
		g := groups[s]
		text := fmt.Sprintf("%s%s (%s) %s", s.kind, suffix, s.rule, g.first)
		if g.n > 1 {
			text = fmt.Sprintf("%d × %s%s (%s), the first %s", g.n, s.kind, suffix, s.rule, g.first)
		}
		f.tell(Moment{At: now, Kind: MomentFinding, Text: text})
	}
}
