package diff_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"hm/diff"
)

var update = flag.Bool("update", false, "rewrite what the cases under testdata expect")

const arrow = "=>\n" // between the facts of a case and its result

// TestRules runs every case under testdata: it compares the findings and the plan that follow from the facts. The
// name of a case begins with the rules that it shows.
func TestRules(t *testing.T) {
	for _, file := range caseFiles(t) {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ar.Files {
			c := &ar.Files[i]
			t.Run(c.Name, func(t *testing.T) {
				facts, want, _ := strings.Cut(string(c.Data), arrow)
				in, err := parseInput(facts)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				got := decide(in)
				if *update {
					c.Data = []byte(strings.TrimSpace(facts) + "\n" + arrow + got + "\n")
				} else if got != strings.TrimSuffix(want, "\n") {
					t.Errorf("%s: %s\n%s=> got\n%s=> want\n%s", file, c.Name, facts, got, want)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func caseFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases under testdata: %v", err)
	}
	return files
}

// idPattern finds the ids of rules, weaknesses and invariants at the beginning of a name.
var idPattern = regexp.MustCompile(`^[RWI][0-9]+( [RWI][0-9]+)*\b`)

func caseIDs(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, file := range caseFiles(t) {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range ar.Files {
			if !idPattern.MatchString(c.Name) {
				t.Errorf("%s: case %q names no rule", file, c.Name)
			}
			for _, id := range strings.Fields(idPattern.FindString(c.Name)) {
				ids[id] = true
			}
		}
	}
	return ids
}

// stepped are the rules that scenarios show.
var stepped = []string{"R01", "R02", "R07", "R08", "R09", "R12", "R19", "R20", "R26", "R29", "R31", "R34", "R51", "R52", "W02", "W18", "W19", "W20", "W32", "W33", "W44"}

// elsewhere are the rules that neither diff nor commands decides, each with the package that does.
var elsewhere = map[string]string{
	"R23": "internal/reconcile evaluates at once when a heartbeat shows EVACUATING; the start itself is R29",
	"R35": "raftfsm ignores STOPPED exits",
	"R36": "raftfsm ignores exits for reasons that hm does not know",
	"R38": "internal/reconcile wakes when a pending command is due, and verifies it again (R54)",
	"R39": "internal/reconcile asks for an early read on droplet.updated",
	"R40": "actual.Liveness says which DEAs are silent; then R01",
	"R41": "raftfsm removes the instance from its DEA; then R01",
	"R42": "internal/reconcile records a heartbeat only where it differs from what is recorded",
	"R43": "actual.Liveness.Fresh and the gate of internal/reconcile",
	"R44": "actual.Liveness.Fresh and the gate of internal/reconcile",
	"R45": "the gate of internal/reconcile: what was heard must be recorded first",
	"R46": "internal/cluster: what is not committed is not recorded; the gate stays shut",
	"R47": "desired/bulk, desired/sqldb and the gate of internal/reconcile",
	"R48": "desired/bulk and raftfsm: only a whole read is committed",
	"R49": "actual.Liveness and the gate of internal/reconcile",
	"R50": "internal/reconcile and commands/natspub: a claim is published once and expires",
	"R56": "raftfsm drops records that nothing refers to; internal/reconcile forgets crash series",
	"R57": "the gate of internal/reconcile: nothing is stopped before a complete read",
	"R58": "the guard of internal/reconcile (desired_shrink)",
	"R59": "raftfsm and internal/reconcile: two DEAs with one id",
	"R60": "the guard of internal/reconcile (mass_loss)",
	"R61": "internal/app.Time and internal/cluster: hm time never goes back",
	"R62": "internal/cluster: an election",
}

// TestEveryRuleIsCovered holds that each rule is either shown by a case or a scenario here, or decided by another
// package that is named.
func TestEveryRuleIsCovered(t *testing.T) {
	ids := caseIDs(t)
	for _, r := range diff.Rules() {
		here := ids[r.ID] || slices.Contains(stepped, r.ID)
		if other := elsewhere[r.ID]; here == (other != "") {
			t.Errorf("%s: shown here: %v; decided elsewhere: %q; want exactly one of the two", r.ID, here, other)
		}
	}
	for _, id := range []string{"W02", "W18", "W19", "W20", "W23", "W31", "W32", "W33", "W37", "W44", "W48"} {
		if !ids[id] && !slices.Contains(stepped, id) {
			t.Errorf("%s is not shown by any case", id)
		}
	}
}

// TestSteppedRulesExist holds that the scenarios that stepped claims are really there.
func TestSteppedRulesExist(t *testing.T) {
	var all []byte
	for _, f := range []string{"scenario_test.go", "appsim_test.go", "plan_properties_test.go"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for _, id := range stepped {
		if !regexp.MustCompile(id + `\D`).Match(all) {
			t.Errorf("no scenario names %s", id)
		}
	}
}
