package faulttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// breakage is a fault in hm that somebody put in on purpose.
type breakage struct {
	name  string
	edits map[string][][2]string // by file: texts and what replaces them
	finds []string               // invariants, of which the bench must find at least one broken
	needs func(Fault) bool       // a schedule without such a fault cannot show it; nil: any may
}

var breakages = []breakage{
	{"a command is published without a committed claim", map[string][][2]string{
		"internal/reconcile/publish.go": {{"results, err := c.log.Propose(ctx, decided.with(c, claims)...)", "results, err := []raftfsm.Result(nil), error(nil)"}},
	}, []string{"I2"}, nil},
	{"times to live run on while NATS is away", map[string][][2]string{
		"actual/liveness.go": {
			{"l.up, l.upSince, l.window, l.heardAny = up, now, now, 0\n\tl.renew(now)", "l.up, l.upSince, l.window, l.heardAny = up, now, now, 0"},
			{"\t\tl.window = now\n\t\tl.renew(now)", "\t\tl.window = now"},
			{"\t\tl.renew(now)\n\t}\n\tbefore, known", "\t}\n\tbefore, known"},
		},
	}, []string{"needless"}, func(f Fault) bool { return f.Kind == NATSKill && f.Count > 0 && f.After > 6 }},
	{"the guard does not look at what a read drops", map[string][][2]string{
		"internal/reconcile/guard.go": {{"\tif g.DesiredShrink <= 0 {\n\t\treturn \"\"\n\t}\n\tbefore, kept", "\tif true {\n\t\treturn \"\"\n\t}\n\tbefore, kept"}},
	}, []string{"I6"}, func(f Fault) bool { return f.Bulk == "empty" && f.For > 3 }},
	{"the guard does not look at how much is lost", map[string][][2]string{
		"internal/reconcile/loss.go": {{"if c.opts.Guard.MassLoss <= 0 {\n\t\treturn records, nothing", "if true {\n\t\treturn records, nothing"}},
	}, []string{"hold"}, func(f Fault) bool { return strings.HasPrefix(string(f.Kind), "dea-") && f.Count > 2 }},
	{"there is no freshness window", map[string][][2]string{
		"actual/liveness.go": {{"return l.up && now.Sub(l.window) >= l.Freshness && now < l.StaleAt()", "return l.up"}},
	}, []string{"I1", "I4", "needless"}, nil},
}

// TestBrokenBuilds builds hm with faults in it, and requires that the bench finds each. HM_CHAOS_BROKEN is for how many
// seeds it may need; without that it does nothing.
func TestBrokenBuilds(t *testing.T) {
	seeds := number(t, "HM_CHAOS_BROKEN", 0)
	if seeds == 0 {
		t.Skip("this takes minutes for each fault: use make chaos-broken")
	}
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			hm := buildHM(t, false, b.replacements(t))
			for seed := uint64(1); seed <= seeds; seed++ {
				if plan := Plan(seed, float64(number(t, "HM_CHAOS_PERIODS", 40))); b.needs != nil && !slices.ContainsFunc(plan, b.needs) {
					continue
				}
				r, err := Run(t.Context(), settings(t, hm, false), seed)
				if err != nil {
					t.Logf("no result: %v", err)
					continue
				}
				for _, v := range r.Violations {
					if slices.Contains(b.finds, v.Invariant) {
						t.Logf("found with seed %d: %s", seed, v)
						return
					}
				}
				t.Logf("not found with seed %d: %d commands, %v", seed, len(r.Record.Commands), r.Violations)
			}
			t.Errorf("not found in %d seeds", seeds)
		})
	}
}

// replacements writes the files with the fault.
func (b breakage) replacements(t *testing.T) map[string]string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	dir := t.TempDir()
	for file, edits := range b.edits {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		broken := string(text)
		for _, e := range edits {
			if strings.Count(broken, e[0]) != 1 {
				t.Fatalf("%s has %d times %q, want it once", file, strings.Count(broken, e[0]), e[0])
			}
			broken = strings.Replace(broken, e[0], e[1], 1)
		}
		name := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(name, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = name
	}
	return replace
}

// TestBreakagesStillApply: the texts that the broken builds replace are still there.
func TestBreakagesStillApply(t *testing.T) {
	for _, b := range breakages {
		b.replacements(t)
	}
}
