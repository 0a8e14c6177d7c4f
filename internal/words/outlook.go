package words

import (
	"fmt"
	"strings"
	"time"

	"hm/internal/api"
)

// Outlook says in one sentence for each index what hm is going to do, why, and what would change that: the end of an
// explanation. Indices that are as desired and are not shown have one sentence together.
func Outlook(e api.Explanation, o ExplainOptions) []Line {
	if o.ID == nil {
		o.ID = Short
	}
	var lines []Line
	for _, v := range e.Versions {
		of := ""
		if len(e.Versions) > 1 {
			of = " of version " + o.ID(v.Version)
		}
		left := 0
		for _, x := range v.Indices {
			if o.Index == "" && !o.All && x.AsDesired() {
				left++
				continue
			}
			lines = append(lines, whole(Sentence(e, x, of, o.ID)))
		}
		switch {
		case left == 0:
		case left == len(v.Indices):
			lines = append(lines, whole("every index"+of+" is ", good("as desired"), ": hm does nothing."))
		default:
			lines = append(lines, whole("every other index"+of+" is ", good("as desired"), ": hm does nothing."))
		}
	}
	return lines
}

// Sentence says what hm is going to do at an index. of names the version after the index; it may be empty.
func Sentence(e api.Explanation, x api.ExplainedIndex, of string, id func(string) string) Text {
	var parts []any
	for _, f := range x.Findings {
		if f.Kind == "" {
			continue // about an instance that stays: the sentence is about what changes
		}
		if len(parts) > 0 {
			parts = append(parts, "; ")
		}
		parts = append(parts, clause(e, x, f, id))
	}
	if len(parts) == 0 {
		parts = []any{staying(x)}
	}
	return Say(append(append([]any{fmt.Sprintf("index %d%s: ", x.Index, of)}, parts...), ".")...)
}

// staying says why nothing is done at an index without drift.
func staying(x api.ExplainedIndex) Text {
	for _, f := range x.Findings {
		if f.Rule != "" {
			return Say("hm leaves it as it is, because ", subjectOf(f.Detail))
		}
	}
	return Say("it is ", good("as desired"), ": hm does nothing")
}

// clause says what hm does about one finding.
func clause(e api.Explanation, x api.ExplainedIndex, f api.Finding, id func(string) string) Text {
	if f.Action == "none" {
		return Say(warn("hm does nothing"), ", because "+subjectOf(joined(f.Evidence, f.WaitsFor)))
	}
	what := f.Action + "s it"
	if f.Instance != "" {
		what = f.Action + "s instance " + id(f.Instance)
	}
	because := ", because " + subjectOf(f.Evidence)
	if f.Evidence == "" { // of a node of an older version
		because = ", because " + f.Detail
	}
	left := time.Duration(f.DueInMS) * time.Millisecond
	if k := outstanding(x, f.Command); k != nil && f.Bucket == "wait" {
		switch {
		case k.Detail != "":
			return Say(warn("hm could not send the "+f.Action), ": "+k.Detail+"; it decides anew in "+api.Span(left)+because)
		case !k.SentAt.IsZero():
			return Say(warn("hm sent the "+f.Action+" "+Ago(e.Basis, k.SentAt)), because+"; it has "+api.Span(left)+" to take effect")
		}
	}
	switch f.Bucket {
	case "start", "stop":
		return Say(bad("hm "+what+" now"), because)
	case "hold":
		return Say(warn("hm "+what+" when the gate opens"), because+"; the gate is closed, because ", meanings(f.HeldBy))
	}
	when := "as soon as that is over"
	if left > 0 {
		when = "in " + api.Span(left)
	}
	text := Say(warn("hm "+what+" "+when), because)
	if f.WaitsFor != "" {
		text = Say(text, " ("+f.WaitsFor+")")
	}
	text = Say(text, ", unless "+unless[f.Kind])
	if len(f.HeldBy) > 0 {
		text = Say(text, "; if the gate is still closed then ("+strings.Join(f.HeldBy, ", ")+"), that waits for the gate")
	}
	return text
}

// unless says what makes an action needless before it is due, by kind of drift.
var unless = map[string]string{
	"missing":    "an instance is heard there first",
	"crashed":    "an instance is live there first",
	"evacuating": "another instance is live there first",
	"extra":      "more instances are desired first",
	"duplicate":  "another copy goes first",
	"undesired":  "it is desired again first",
}

// subjectOf gives a cause a subject: "crashed twice" is "it crashed twice".
func subjectOf(cause string) string {
	switch {
	case strings.HasPrefix(cause, "crashed"):
		return "it " + cause
	case strings.HasPrefix(cause, "evacuating"):
		return "it is " + cause
	case strings.HasPrefix(cause, "STARTING"):
		return "it has been " + cause
	case cause == "stays":
		return "a rule keeps it"
	}
	return cause
}

func joined(parts ...string) string {
	var all []string
	for _, p := range parts {
		if p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, ", and ")
}

func meanings(reasons []string) string {
	all := make([]string, len(reasons))
	for i, r := range reasons {
		all[i] = Reason(r).Means
	}
	return joined(all...)
}

// outstanding returns the command with an id, or nil.
func outstanding(x api.ExplainedIndex, id string) *api.Command {
	for i := range x.Commands {
		if id != "" && x.Commands[i].ID == id {
			return &x.Commands[i]
		}
	}
	return nil
}
