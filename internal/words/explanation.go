package words

import (
	"fmt"
	"strings"

	"hm/internal/api"
)

// ExplainOptions say what of an explanation is told.
type ExplainOptions struct {
	Index string // the one index that was asked for; empty: all
	All   bool   // also the indices that are as desired
	ID    func(string) string
	// Reasons adds a line for each reason of a closed gate.
	Reasons bool
}

// Explanation tells what hm does about an app and why, or why it does nothing: what hm explain prints.
func Explanation(e api.Explanation, o ExplainOptions) []Line {
	if o.ID == nil {
		o.ID = Short
	}
	lines := []Line{named("app", e.App)}
	for _, v := range e.Versions {
		lines = append(lines, explainVersion(e, v, o)...)
	}
	lines = append(lines, named("gate", Gate(e.Basis, e.Gate)))
	if o.Reasons {
		lines = append(lines, ReasonLines(e.Gate)...)
	}
	lines = append(lines, whole(Reads(e.Basis, e.Reads)))
	if outlook := Outlook(e, o); len(outlook) > 0 {
		lines = append(append(lines, whole()), outlook...)
	}
	return lines
}

// Reads says how recent the desired state is.
func Reads(b api.Basis, r api.Reads) Text {
	text := Say("desired state read " + Ago(b, r.Began))
	if r.Failing {
		text = Say(text, warn("; the newest read failed: "), r.Error)
	}
	return text
}

func explainVersion(e api.Explanation, v api.ExplainedVersion, o ExplainOptions) []Line {
	verdict := good(v.Verdict)
	if v.Verdict != "as desired" {
		verdict = warn(v.Verdict)
	}
	lines := []Line{
		named("version", v.Version), named("desired", Desired(v.Desired, v.DesiredVersion)), named("verdict", verdict),
	}
	if u := v.Unplaced; u != nil {
		lines = append(lines, named("unplaced", warn(Count(u.Entries, "instance")),
			": listed without an index or an instance that can be read, first heard "+Ago(e.Basis, u.Oldest)+
				"; hm deas shows by which DEA"))
	}
	left := 0
	for _, x := range v.Indices {
		if o.Index == "" && !o.All && x.AsDesired() {
			left++
			continue
		}
		lines = append(lines, explainIndex(e.Basis, x, o)...)
	}
	if o.Index != "" && len(v.Indices) == 0 {
		lines = append(lines, whole("index "+o.Index+"   not desired, and nothing is recorded at it"))
	}
	switch {
	case left == 1:
		lines = append(lines, whole("1 index is as desired (--all shows them)"))
	case left > 1:
		lines = append(lines, whole(fmt.Sprintf("%d indices are as desired (--all shows them)", left)))
	}
	if v.Truncated {
		lines = append(lines, whole("there are more indices: hm explain APP/INDEX explains one"))
	}
	return append(lines, whole())
}

func explainIndex(b api.Basis, x api.ExplainedIndex, o ExplainOptions) []Line {
	lines := []Line{whole(), {Label: fmt.Sprintf("index %d", x.Index)}}
	for _, i := range x.Instances {
		lines = append(lines, below("instance", Instance(b, i, o.ID)))
	}
	if x.Crash != nil {
		lines = append(lines, below("crashes", Crash(b, *x.Crash)))
	}
	for _, k := range x.Commands {
		lines = append(lines, below("command", Command(b, k)))
		if k.Detail != "" {
			lines = append(lines, below("", bad(k.Detail)))
		}
	}
	for _, f := range x.Findings {
		lines = append(lines, Finding(f, o.ID)...)
	}
	return lines
}

// Instance names an instance, its state, its DEA, and when that was heard.
func Instance(b api.Basis, i api.Instance, id func(string) string) Text {
	return Say(id(i.Instance)+" ", Piece{StateTone(i.State), i.State}, " on "+i.DEA+", heard "+Ago(b, i.LastHeard))
}

// Command says what an outstanding command does, why, and when it is or was sent.
func Command(b api.Basis, k api.Command) string {
	at := "due " + When(b, k.DueAt)
	if !k.SentAt.IsZero() {
		at = "sent " + When(b, k.SentAt)
	}
	return fmt.Sprintf("%s %s, %s, %s", k.Action, k.Reason, k.State, at)
}

// Finding tells a decision about an instance or an index, with its rule.
func Finding(f api.Finding, id func(string) string) []Line {
	subject := "index"
	if f.Instance != "" {
		subject = id(f.Instance)
	}
	lines := []Line{{Indent: 1, Label: f.Bucket, LabelTone: BucketTone(f.Bucket), Text: Say(subject + ": " + f.Detail)}}
	if f.Rule != "" {
		lines = append(lines, below("", "rule "+f.Rule+": "+f.RuleText))
	}
	if len(f.HeldBy) > 0 && f.Bucket == "wait" {
		lines = append(lines, below("", "when due it will be held, if these last: "+strings.Join(f.HeldBy, ", ")))
	}
	return lines
}
