package claimmodel

import (
	"strings"
	"testing"
)

// runs are the beginnings that the check looks at, each with bounds for about a second.
var runs = map[string]struct {
	from Start
	Bounds
}{
	"a wanted index without an instance": {Start{Wanted: true},
		Bounds{Nodes: 2, Elections: 3, Commands: 3, Ticks: 4, Losses: 1, Gaps: 1, Lease: 2, Grace: 3}},
	"a wanted index without an instance, and the app changes": {Start{Wanted: true},
		Bounds{Nodes: 2, Elections: 2, Commands: 2, Ticks: 3, Losses: 1, Changes: 2, Gaps: 1, Restarts: 1, Lease: 2, Grace: 3}},
	"a wanted index with two instances": {Start{Wanted: true, Instances: 2},
		Bounds{Nodes: 2, Elections: 3, Commands: 3, Ticks: 4, Losses: 1, Lease: 2, Grace: 3}},
	"an instance that nobody wants": {Start{Instances: 1},
		Bounds{Nodes: 2, Elections: 2, Commands: 2, Ticks: 3, Losses: 1, Changes: 2, Lease: 2, Grace: 3}},
	"three nodes": {Start{Wanted: true},
		Bounds{Nodes: 3, Elections: 3, Commands: 2, Ticks: 3, Losses: 1, Gaps: 1, Lease: 2, Grace: 3}},
}

// TestClaimsKeepI2AndI3 looks at every run of the claim protocol within the bounds.
func TestClaimsKeepI2AndI3(t *testing.T) {
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Check(run.Bounds, Faults{}, run.from)
			t.Log(r)
			if r.Broken != "" {
				t.Error("a property does not hold")
			}
		})
	}
}

// TestTheModelFindsBugs: each bug is found, and its shortest trace shows it.
func TestTheModelFindsBugs(t *testing.T) {
	for name, c := range map[string]struct {
		fault  Faults
		run    string
		broken string
		trace  []string // lines of it, in this order
	}{
		"a command is published before its claim is committed": {Faults{PublishBeforeCommit: true},
			"a wanted index without an instance", "I2: command 1 is published, and its claim is not committed",
			[]string{"proposes it, and publishes it at once"}},
		"Apply does not compare the term of a claim": {Faults{ClaimWithoutTerm: true},
			"a wanted index without an instance", "I2: command 1, decided in term 1, is claimed in term 3",
			[]string{"hm-0 decides to claim command 1", "hm-1 is elected in term 2", "hm-0 is elected in term 3", "the claim of command 1 by hm-0 commits"}},
		"Apply does not compare the basis of a claim": {Faults{ClaimWithoutBasis: true},
			"a wanted index with two instances", "I3: the claim of command 1 leaves the wanted index without an instance",
			[]string{"hm-0 decides to claim command 1 (a stop of instance B)", "ends by itself", "the claim of command 1 by hm-0 commits"}},
		"the app is wanted again meanwhile": {Faults{ClaimWithoutBasis: true},
			"an instance that nobody wants", "I3: the claim of command 1 leaves the wanted index without an instance",
			[]string{"hm-0 decides to claim command 1 (a stop of instance A)", "records that the app is wanted", "the claim of command 1 by hm-0 commits"}},
		"a leader that stalled publishes": {Faults{NoStallCheck: true},
			"a wanted index without an instance", "I2: command 1 is published after its claim had ended",
			[]string{"a majority confirms that hm-0 leads", "time passes", "hm-1 is elected in term 2", "hm-1 lets command 1 expire", "hm-0 publishes command 1"}},
		"a confirmed lease counts for too long": {Faults{OldLease: true},
			"a wanted index without an instance", "I2: command 2 starts the index again while command 3 is outstanding",
			[]string{"a majority confirms that hm-0 leads", "hm-1 is elected in term 2", "hm-1 publishes command 3", "hm-0 publishes command 2"}},
		"no majority is asked": {Faults{NoLeaseCheck: true},
			"a wanted index without an instance", "I2: command 2 starts the index again while command 3 is outstanding",
			[]string{"hm-0 asks nobody", "hm-1 is elected in term 2", "hm-1 publishes command 3", "hm-0 publishes command 2"}},
		"a command is published after a gap of the link": {Faults{NoEpochCheck: true},
			"a wanted index without an instance", "I1: command 1 is published after a gap of the link",
			[]string{"the NATS link of hm-0 has a gap", "hm-0 publishes command 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Check(runs[c.run].Bounds, c.fault, runs[c.run].from)
			t.Logf("found among %d states: %v", r.States, r)
			if r.Broken != c.broken {
				t.Fatalf("the check found %q, want %q", r.Broken, c.broken)
			}
			rest := strings.Join(r.Trace, "\n")
			for _, line := range c.trace {
				_, after, ok := strings.Cut(rest, line)
				if !ok {
					t.Errorf("the trace does not have %q in its place", line)
				}
				rest = after
			}
		})
	}
}

// TestALeaseAsLongAsTheGraceIsTooLong: the claim's lease must end before a successor takes the claim for lost.
func TestALeaseAsLongAsTheGraceIsTooLong(t *testing.T) {
	b := runs["a wanted index without an instance"].Bounds
	b.Lease = b.Grace + 1
	if r := Check(b, Faults{OldLease: true}, Start{Wanted: true}); !strings.Contains(r.Broken, "after its claim had ended") {
		t.Errorf("the check found %v", r)
	}
}
