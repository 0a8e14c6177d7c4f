// Package weaknesses compares docs/weaknesses.md, docs/invariants.md, docs/degraded.md and docs/compatibility.md with the
// code: each weakness and each invariant has a row and a section, each outage and each interface a row, and every test
// that they name exists.
package weaknesses

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root  = "../.."
	count = 61
)

var (
	verdicts = []string{"Impossible", "Decided", "Partly", "As well", "Remains"}
	tableRow = regexp.MustCompile(`(?m)^\| \[(\w+)\]\(#(\w+)\) \| (.+) \|$`)
	heading  = regexp.MustCompile(`(?m)^#{2,3} (.+)$`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
	testName = regexp.MustCompile(`^([^ ]+) (Test.+)$`)
	inName   = regexp.MustCompile(`W\d\d`)
)

// section is what a document says about one weakness or invariant: a row of its table, and the text below it.
type section struct {
	id    string
	cells []string // of the row, after the id
	text  string   // up to the tests that show it, in one line
	tests []namedTest
}

// namedTest is a test that a section names: its package directory, its function, and the beginning of the name of a
// subtest, if any.
type namedTest struct{ dir, function, sub string }

func (n namedTest) String() string { return n.dir + " " + n.function }

// sections reads a document: rows "| [id](#id) | ... |", and for each a heading with its id.
func sections(t *testing.T, document string) []section {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{} // of a heading
	marks := heading.FindAllSubmatchIndex(b, -1)
	for i, m := range marks {
		end := len(b)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		texts[string(b[m[2]:m[3]])] = strings.Join(strings.Fields(string(b[m[1]:end])), " ")
	}
	var all []section
	for _, m := range tableRow.FindAllSubmatch(b, -1) {
		s := section{id: string(m[1]), cells: strings.Split(string(m[3]), " | ")}
		if link := string(m[2]); link != strings.ToLower(s.id) {
			t.Errorf("%s: %s links to %s", document, s.id, link)
		}
		text, shown, found := strings.Cut(texts[s.id], "Shown by ")
		if s.text = strings.TrimSpace(text); s.text == "" || !found {
			t.Errorf("%s: %s has no section that says how it holds and what shows it", document, s.id)
		}
		for _, span := range codeSpan.FindAllStringSubmatch(shown, -1) {
			name := testName.FindStringSubmatch(span[1])
			if name == nil {
				t.Errorf("%s: %s: %q does not name a package and a test", document, s.id, span[1])
				continue
			}
			n := namedTest{dir: name[1]}
			n.function, n.sub, _ = strings.Cut(name[2], "/")
			s.tests = append(s.tests, n)
		}
		if len(s.tests) == 0 {
			t.Errorf("%s: no test shows %s", document, s.id)
		}
		all = append(all, s)
	}
	return all
}

func TestEveryWeaknessHasOneRow(t *testing.T) {
	all := sections(t, "weaknesses.md")
	if len(all) != count {
		t.Errorf("%d rows, want %d", len(all), count)
	}
	for n, s := range all {
		if want := fmt.Sprintf("W%02d", n+1); s.id != want {
			t.Fatalf("row %d is about %s, want %s", n+1, s.id, want)
		}
		if len(s.cells) != 2 || s.cells[0] == "" {
			t.Fatalf("%s: the row has the cells %q; want the weakness and the verdict", s.id, s.cells)
		}
		if verdict := s.cells[1]; !slices.Contains(verdicts, verdict) || !strings.HasPrefix(s.text, "**"+verdict+".** ") {
			t.Errorf("%s: the row says %q, the section %.40q; want one of %v in both", s.id, verdict, s.text, verdicts)
		}
	}
}

func TestNamedTestsExist(t *testing.T) {
	functions := testFunctions(t)
	for _, r := range sections(t, "weaknesses.md") {
		seen := map[namedTest]bool{}
		for _, n := range r.tests {
			if seen[n] {
				t.Errorf("%s: %s is named twice", r.id, n)
			}
			seen[n] = true
			switch {
			case !functions[n.String()]:
				t.Errorf("%s: there is no %s in %s", r.id, n.function, n.dir)
			case n.sub != "" && !mentions(t, n.dir, n.sub) && !recorded(n):
				t.Errorf("%s: nothing in the tests of %s is called %q", r.id, n.dir, n.sub)
			}
		}
	}
}

// recorded reports whether a test of the corpus is about a recording that is there.
func recorded(n namedTest) bool {
	_, err := os.Stat(filepath.Join(root, "testdata", "recordings", n.sub+".jsonl"))
	return n.function == "TestCorpus" && err == nil
}

// TestTestsOfAWeaknessAreNamed holds the reverse: a weakness names every test that has the weakness in its name.
func TestTestsOfAWeaknessAreNamed(t *testing.T) {
	byID := map[string][]string{}
	for _, r := range sections(t, "weaknesses.md") {
		for _, n := range r.tests {
			byID[r.id] = append(byID[r.id], n.String())
		}
	}
	for _, f := range slices.Sorted(maps.Keys(testFunctions(t))) {
		for _, id := range inName.FindAllString(f, -1) {
			if !slices.Contains(byID[id], f) {
				t.Errorf("%s does not name %s", id, f)
			}
		}
	}
}

// TestW26OnlyTheFirstEntryReadsAWallClock: in the packages that decide, only one place turns the time of a wall clock
// into hm time.
func TestW26OnlyTheFirstEntryReadsAWallClock(t *testing.T) {
	const clock = "internal/cluster/clock.go"
	found := 0
	for _, dir := range []string{"actual", "desired", "diff", "commands", "raftfsm", "internal/cluster", "internal/reconcile"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", dir, err, len(files))
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"TimeOf", "Unix", "UnixMilli", "UnixMicro", "UnixNano"}, s.Sel.Name) {
					return true
				}
				found++
				if rel, _ := filepath.Rel(root, f); rel != clock {
					t.Errorf("%s uses %s: only %s may turn the time of a wall clock into hm time", rel, s.Sel.Name, clock)
				}
				return true
			})
		}
	}
	if found != 1 {
		t.Errorf("%d places read a wall clock, want the one in %s", found, clock)
	}
}

// testFunctions gives "directory name" of every test function of the module.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	functions := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				functions[filepath.ToSlash(dir)+" "+f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return functions
}

// mentions reports whether the tests of a package, or their test data, contain a text. Names of subtests are data
// there.
func mentions(t *testing.T, dir, text string) bool {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*_test.go", "testdata/*.txtar"} {
		more, err := filepath.Glob(filepath.Join(root, dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	return slices.ContainsFunc(files, func(f string) bool {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), text)
	})
}
