package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hm/commands"
	"hm/diff"
)

// drift lists what is not as desired in the recorded state, without what may be another cell's.
func (cf *simCF) drift() []string {
	var out []string
	know := Knowledge{Reads: cf.core.reads.known()}
	NewEvaluator(cf.opts.Policy).Fleet(cf.View(), know, cf.now, func(a *Evaluation) bool {
		for f := range a.Drift() {
			if f.Kind == diff.KindForeign {
				continue
			}
			out = append(out, fmt.Sprintf("%s/%d %s %s %s", a.Input.Key.Droplet, f.Index, f.Kind, f.Rule, f.Bucket))
		}
		return true
	})
	return out
}

func (cf *simCF) wantSent(what string, starts, stops int) {
	cf.t.Helper()
	var gotStarts, gotStops int
	for _, c := range cf.sent {
		if c.Action == commands.Start {
			gotStarts++
		} else {
			gotStops++
		}
	}
	if gotStarts != starts || gotStops != stops {
		var lines []string
		for i, c := range cf.sent {
			if i == 20 {
				lines = append(lines, "...")
				break
			}
			lines = append(lines, fmt.Sprintf("%v %s %s/%d %s", c.at, c.Action, c.App.Droplet, c.Index, c.Reason))
		}
		cf.t.Fatalf("%s: %d starts and %d stops were sent, want %d and %d\n%s\ndrift: %v\ngate: %v", what, gotStarts, gotStops, starts, stops, strings.Join(lines, "\n"), cf.drift(), cf.core.gate)
	}
}

func (cf *simCF) wantGate(what string, reasons ...string) {
	cf.t.Helper()
	if !slices.Equal(cf.core.gate, reasons) {
		cf.t.Fatalf("%s: the gate's reasons are %v, want %v", what, cf.core.gate, reasons)
	}
}

// live counts the live instances that the DEAs really have of the apps of this cell.
func (cf *simCF) live() int {
	n := 0
	for _, d := range cf.deas {
		for _, i := range d.list {
			if i.State.Live() && !d.quiet && cf.isOurs(i.App.Droplet) {
				n++
			}
		}
	}
	return n
}

// steadyFleet is a simulation with so many apps of four instances. All run, and the gate is open.
func steadyFleet(t testing.TB, deas, apps int, opts Options) *simCF {
	cf := newSimCF(t, opts)
	cf.addDEAs(deas)
	cf.desire(apps, 4, true)
	cf.run(5 * hb)
	cf.wantGate("a steady fleet")
	cf.wantSent("a steady fleet", 0, 0)
	if d := cf.drift(); len(d) > 0 {
		t.Fatalf("a steady fleet drifts: %v", d)
	}
	return cf
}

var errTest = errors.New("out of order, for a test")
