package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hm/actual"
	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
)

// maxExplained is how many indices of one version are explained in one answer.
const maxExplained = 2000

// explain answers GET /v1/apps/{guid}/explain?index=.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	only, err := parseIndex(r)
	if err != nil {
		return err
	}
	n := s.snapshot()
	keys, err := s.findApp(n, r.PathValue("guid"))
	if err != nil {
		return err
	}
	e := Explanation{
		App: keys[0].Droplet.String(), Gate: s.gate(n), Basis: n.basis(n.view),
		Reads: Reads{Began: n.wall.Time(n.over.Reads.Began), Failing: n.over.Reads.Failing, UnderWay: n.over.Reads.UnderWay, Error: n.over.ReadError},
	}
	for _, k := range keys {
		e.Versions = append(e.Versions, s.explainVersion(n, k, only))
	}
	return writeTagged(w, e.Basis, e, e.unheard())
}

// unheard gives an explanation without its basis and without times that pass by themselves, for a tag.
func (e Explanation) unheard() Explanation {
	e.Basis, e.Versions = Basis{}, slices.Clone(e.Versions)
	for i := range e.Versions {
		v := &e.Versions[i]
		v.Indices = slices.Clone(v.Indices)
		for j := range v.Indices {
			x := &v.Indices[j]
			x.Instances, x.Findings = instancesUnheard(x.Instances), slices.Clone(x.Findings)
			if x.Crash != nil {
				crash := *x.Crash
				crash.RunningMS, x.Crash = 0, &crash
			}
			for k := range x.Findings {
				x.Findings[k].DueInMS = 0
			}
		}
	}
	return e
}

func (s *Server) explainVersion(n snapshot, k app.Key, only indexFilter) ExplainedVersion {
	e := reconcile.NewEvaluator(s.opts.Policy).App(n.view, k, n.knowledge(), n.hm)
	in, findings := &e.Input, e.Findings
	if only.set {
		findings = slices.DeleteFunc(findings, func(f diff.Finding) bool { return f.Index != only.index })
	}
	v := ExplainedVersion{
		Version: k.Version.String(), Desired: desiredOf(in.Desired), GrewAt: n.wall.Time(in.GrewAt),
		Verdict: verdict(findings), Indices: []ExplainedIndex{}, Unplaced: unplacedOf(n, in.Unplaced),
	}
	if !in.DesiredVersion.IsZero() {
		v.DesiredVersion = in.DesiredVersion.String()
	}
	outstanding := n.view.Commands(k)
	at := func(index uint32) *ExplainedIndex {
		if last := len(v.Indices) - 1; last >= 0 && v.Indices[last].Index == index {
			return &v.Indices[last]
		}
		v.Indices = append(v.Indices, s.explainIndex(n, in, outstanding, index))
		return &v.Indices[len(v.Indices)-1]
	}
	for i := range findings { // sorted by index
		if f := &findings[i]; len(v.Indices) < maxExplained || v.Indices[maxExplained-1].Index == f.Index {
			x := at(f.Index)
			x.Findings = append(x.Findings, finding(n, f, in))
		} else {
			v.Truncated = true
			break
		}
	}
	return v
}

func (s *Server) explainIndex(n snapshot, in *diff.Input, outstanding []commands.Command, index uint32) ExplainedIndex {
	x := ExplainedIndex{Index: index, Instances: []Instance{}, Commands: []Command{}}
	first, _ := slices.BinarySearchFunc(in.Instances, index, func(i actual.Located, at uint32) int { return int(i.Index) - int(at) })
	for i := first; i < len(in.Instances) && in.Instances[i].Index == index; i++ {
		x.Instances = append(x.Instances, s.instance(n, &in.Instances[i]))
	}
	for _, c := range in.Crashes {
		if c.Index == index {
			record := s.crashRecord(n, c)
			x.Crash = &record
		}
	}
	for _, c := range outstanding {
		if c.Index == index {
			x.Commands = append(x.Commands, n.command(c))
		}
	}
	return x
}

func finding(n snapshot, f *diff.Finding, in *diff.Input) Finding {
	out := Finding{
		Bucket: f.Bucket.String(), Kind: f.Kind.String(), Rule: f.Rule, RuleText: diff.RuleText(f.Rule), Action: f.Action.String(),
		Instance: f.Instance.String(), DEA: f.DEA, WaitsFor: waitsFor(f, in), Command: commandID(f.Command), Priority: f.Priority,
		HeldBy: heldBy(f, in),
	}
	if f.Action != commands.None {
		out.Due, out.DueInMS, out.Reason = n.wall.Time(f.Due), f.Due.Sub(n.hm).Milliseconds(), f.Reason.String()
	}
	switch {
	case f.Kind != diff.KindNone:
		out.Detail, out.Evidence = withTold(detail(f, in, n.hm, n.refusalOf(f)), n.toldOf(f)), evidence(f, in)
	case f.Why != diff.WhyNothing:
		out.Detail = f.Why.String()
	case f.Rule != "":
		out.Detail = "stays"
	default:
		out.Detail = "as desired"
	}
	return out
}

// verdict sums findings up.
func verdict(findings []diff.Finding) string {
	var buckets [diff.Hold + 1]int
	drift, foreign := 0, 0
	for i := range findings {
		switch f := &findings[i]; f.Kind {
		case diff.KindNone:
		case diff.KindForeign:
			foreign++
		default:
			drift++
			buckets[f.Bucket]++
		}
	}
	switch {
	case foreign > 0 && drift == 0:
		return fmt.Sprintf("%d left alone: another cell may have it", foreign)
	case drift == 0:
		return "as desired"
	}
	var parts []string
	for _, b := range []struct {
		bucket diff.Bucket
		word   string
	}{{diff.ToStart, "to start now"}, {diff.ToStop, "to stop now"}, {diff.Hold, "held by the gate"}, {diff.Wait, "waiting"}, {diff.Keep, "left alone"}} {
		if buckets[b.bucket] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", buckets[b.bucket], b.word))
		}
	}
	return fmt.Sprintf("%d off: %s", drift, strings.Join(parts, ", "))
}
