package diff_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRulesDocument holds that docs/rules.md has one row for each of R01 to R64, in order and complete, and that
// the rows marked "finding" are exactly the ids that findings carry.
func TestRulesDocument(t *testing.T) {
	b, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	byFinding := map[string]bool{}
	n := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| R") {
			continue
		}
		n++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 {
			t.Fatalf("%d cells instead of 6: %s", len(cells), line)
		}
		for i := range cells {
			if cells[i] = strings.TrimSpace(cells[i]); cells[i] == "" {
				t.Errorf("cell %d is empty: %s", i+1, line)
			}
		}
		id, by := cells[0], cells[5]
		if want := fmt.Sprintf("R%02d", n); id != want {
			t.Fatalf("row %d is about %s, want %s", n, id, want)
		}
		byFinding[id] = by == "finding"
		_, other := elsewhere[id]
		if here := by == "finding" || by == "diff" || by == "commands"; here == other {
			t.Errorf("%s: the document says %q, the tests say %q", id, by, elsewhere[id])
		}
		if other && !strings.Contains(elsewhere[id], by) {
			t.Errorf("%s: the document says %q, the tests say %q", id, by, elsewhere[id])
		}
	}
	if n != 64 {
		t.Errorf("%d rows, want 64", n)
	}
	inCode := rulesInCode(t)
	for id, said := range byFinding {
		if said != inCode[id] {
			t.Errorf("%s: marked as a finding's: %v; carried by findings: %v", id, said, inCode[id])
		}
	}
}

// rulesInCode gives the rule ids that the package's code puts into findings.
func rulesInCode(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(R\d+)"`).FindAllSubmatch(b, -1) {
			ids[string(m[1])] = true
		}
	}
	return ids
}

// TestEveryRuleInCodeIsShown holds that some case ends in a finding of each rule that the code knows.
func TestEveryRuleInCodeIsShown(t *testing.T) {
	var all strings.Builder
	for _, file := range caseFiles(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for id := range rulesInCode(t) {
		if !regexp.MustCompile(`(?m)^\d+/\S+ (keep|start|stop|wait|hold) \S+ ` + id + `\b`).MatchString(all.String()) {
			t.Errorf("no case has a finding of %s", id)
		}
	}
}
