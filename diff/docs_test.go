package diff_test

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hm/diff"
)

const rulesDocument = "../docs/rules.md"

// TestRulesDocument holds that docs/rules.md is what the table of rules gives. With -update it writes the file.
func TestRulesDocument(t *testing.T) {
	want := rulesMarkdown(t)
	if *update {
		if err := os.WriteFile(rulesDocument, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(rulesDocument); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/rules.md is not what diff/rules.go gives (%v): run go generate ./diff", err)
	}
}

// rulesMarkdown gives docs/rules.md: its head, a table with a line for each rule, then each rule in full.
func rulesMarkdown(t *testing.T) []byte {
	t.Helper()
	head, err := os.ReadFile("testdata/rules-head.md")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.Write(head)
	for _, r := range diff.Rules() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", r.ID, strings.ToLower(r.ID), r.Short, r.By)
	}
	b.WriteString("\n## In full\n")
	for _, r := range diff.Rules() {
		fmt.Fprintf(&b, "\n### %s\n\n", r.ID)
		for _, part := range []struct{ name, text string }{
			{"When", r.When}, {"What hm does", r.Does}, {"How soon", r.Timing}, {"HM9000", r.HM9000},
		} {
			if part.text != "" {
				b.WriteString(wrap(fmt.Sprintf("- **%s.** %s", part.name, part.text)))
			}
		}
	}
	return b.Bytes()
}

// wrap breaks an item of a list into lines of at most 100 columns.
func wrap(item string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(item) {
		switch {
		case i == 0:
		case column+1+len(word) > 100:
			b.WriteString("\n ")
			column = 1
			fallthrough
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String() + "\n"
}

// TestRulesTable holds that the table has every rule that the code, the cases and the scenarios name, in order, without a
// gap and complete, and that the rules marked ByFinding are exactly those that the code puts into findings.
func TestRulesTable(t *testing.T) {
	inCode := rulesInCode(t)
	rules := diff.Rules()
	for _, named := range []iter.Seq[string]{
		maps.Keys(inCode), maps.Keys(caseIDs(t)), maps.Keys(elsewhere), slices.Values(stepped),
	} {
		for id := range named {
			if strings.HasPrefix(id, "R") && !slices.ContainsFunc(rules, func(r diff.Rule) bool { return r.ID == id }) {
				t.Errorf("%s is not in the table", id)
			}
		}
	}
	for i, r := range rules {
		if want := fmt.Sprintf("R%02d", i+1); r.ID != want {
			t.Fatalf("rule %d is %s, want %s", i, r.ID, want)
		}
		if r.Short == "" || r.When == "" || r.Does == "" || r.HM9000 == "" || diff.RuleText(r.ID) != r.Short {
			t.Errorf("%s is not complete: %+v", r.ID, r)
		}
		if here := r.By == diff.ByFinding || r.By == "diff" || r.By == "commands"; here == (elsewhere[r.ID] != "") ||
			!here && !strings.Contains(elsewhere[r.ID], r.By) {
			t.Errorf("%s: the table says %q, the tests say %q", r.ID, r.By, elsewhere[r.ID])
		}
		if marked := r.By == diff.ByFinding; marked != inCode[r.ID] {
			t.Errorf("%s: marked as a finding's: %v; carried by findings: %v", r.ID, marked, inCode[r.ID])
		}
	}
	if got := diff.RuleText("R99"); got != "" {
		t.Errorf("an unknown rule reads %q", got)
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
		if strings.HasSuffix(f, "_test.go") || f == "rules.go" {
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
