package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"hm/internal/app"
)

// Difference is a command that only one of two replays has, or that both have at different times.
type Difference struct {
	Kind  string   `json:"kind"`
	Here  *Command `json:"here"`
	There *Command `json:"there"`
	ByMS  int64    `json:"by_ms,omitempty"` // milliseconds earlier or later
}

// The kinds of differences.
const (
	OnlyHere  = "only_here"
	OnlyThere = "only_there"
	Earlier   = "earlier" // there than here
	Later     = "later"
)

// target is what two commands must have in common to be paired.
type target struct {
	action, app, version, instance string
	index                          uint32
}

// Compare finds the differences between two lists of commands, each in the order of time. Commands for the same target
// are paired so that their times are as near as possible; a command without a pair is only here or only there.
func Compare(here, there []Command) []Difference {
	h, t := byTarget(here), byTarget(there)
	var out []Difference
	for k, list := range h {
		out = compareTarget(out, list, t[k])
	}
	for k, list := range t {
		if len(h[k]) == 0 {
			out = compareTarget(out, nil, list)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		x, y := a.first(), b.first()
		return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.App, y.App), cmp.Compare(x.Version, y.Version),
			cmp.Compare(x.Index, y.Index), cmp.Compare(x.Action, y.Action), cmp.Compare(x.Instance, y.Instance),
			cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func byTarget(all []Command) map[target][]*Command {
	of := map[target][]*Command{}
	for i := range all {
		c := &all[i]
		t := target{c.Action, c.App, c.Version, c.Instance, c.Index}
		of[t] = append(of[t], c)
	}
	return of
}

func compareTarget(out []Difference, here, there []*Command) []Difference {
	few, many, swapped := here, there, len(here) > len(there)
	if swapped {
		few, many = there, here
	}
	taken := make([]bool, len(many))
	for i, n := range nearest(times(few), times(many)) {
		taken[n] = true
		d := Difference{Here: few[i], There: many[n]}
		if swapped {
			d.Here, d.There = d.There, d.Here
		}
		switch d.ByMS = int64(d.There.At - d.Here.At); {
		case d.ByMS < 0:
			d.Kind, d.ByMS = Earlier, -d.ByMS
		case d.ByMS > 0:
			d.Kind = Later
		default:
			continue
		}
		out = append(out, d)
	}
	for n, c := range many {
		switch {
		case taken[n]:
		case swapped:
			out = append(out, Difference{Kind: OnlyHere, Here: c})
		default:
			out = append(out, Difference{Kind: OnlyThere, There: c})
		}
	}
	return out
}

func times(list []*Command) []Time {
	at := make([]Time, len(list))
	for i, c := range list {
		at[i] = c.At
	}
	return at
}

func (d Difference) first() *Command {
	if d.Here == nil || d.There != nil && d.There.At < d.Here.At {
		return d.There
	}
	return d.Here
}

// IgnoreShifts removes the differences of time that are at most maxMS milliseconds. A live run and its replay differ a
// little.
func IgnoreShifts(all []Difference, maxMS int64) []Difference {
	return slices.DeleteFunc(all, func(d Difference) bool {
		return (d.Kind == Earlier || d.Kind == Later) && d.ByMS <= maxMS
	})
}

// Expect compares a result with an expected one in JSON and returns the differences in words. It ignores members that
// want does not have, so that a newer version may add members.
func Expect(got Result, want []byte) ([]string, error) {
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		return nil, fmt.Errorf("the expected result is not JSON: %w", err)
	}
	if _, ok := w.(map[string]any); !ok {
		return nil, fmt.Errorf("the expected result must be an object, such as hm replay -o json prints")
	}
	if err := json.Unmarshal(got.JSON(), &g); err != nil {
		return nil, fmt.Errorf("reading the result: %w", err)
	}
	var out []string
	addDifferences("", w, g, &out)
	return out, nil
}

func addDifferences(path string, want, got any, out *[]string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			*out = append(*out, fmt.Sprintf("%s is %s, expected %s", path, text(got), text(want)))
			return
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			at := k
			if path != "" {
				at = path + "." + k
			}
			if _, ok := g[k]; !ok {
				*out = append(*out, fmt.Sprintf("%s is not there, expected %s", at, text(w[k])))
				continue
			}
			addDifferences(at, w[k], g[k], out)
		}
	case []any:
		g, ok := got.([]any)
		if !ok {
			*out = append(*out, fmt.Sprintf("%s is %s, expected %s", path, text(got), text(want)))
			return
		}
		for i := range max(len(w), len(g)) {
			at := fmt.Sprintf("%s[%d]", path, i)
			switch {
			case i >= len(w):
				*out = append(*out, fmt.Sprintf("%s is %s, expected no more", at, text(g[i])))
			case i >= len(g):
				*out = append(*out, fmt.Sprintf("%s is not there, expected %s", at, text(w[i])))
			default:
				addDifferences(at, w[i], g[i], out)
			}
		}
	default:
		if want != got && text(want) != text(got) {
			*out = append(*out, fmt.Sprintf("%s is %s, expected %s", path, text(got), text(want)))
		}
	}
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// Since returns r without the commands and gate changes before a time, except for the gate change in effect at that
// time.
func (r Result) Since(t app.Time) Result {
	r.Commands = slices.DeleteFunc(slices.Clone(r.Commands), func(c Command) bool { return app.Time(c.At) < t })
	gate := r.Gate
	for len(gate) > 1 && app.Time(gate[1].At) <= t {
		gate = gate[1:]
	}
	r.Gate = gate
	return r
}
