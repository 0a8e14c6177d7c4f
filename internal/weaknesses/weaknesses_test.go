// Package weaknesses holds docs/weaknesses.md to the code: every weakness has its row, and every test that a row
// names exists.
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
	inLink   = regexp.MustCompile("`([^ `]+) (Test[^`]+)`")
	inName   = regexp.MustCompile(`W\d\d`)
)

// row is one line of the table.
type row struct {
	id, how string
	tests   []named
}

// named is a test that a row names: package directory, function, and the beginning of a subtest's name, if any.
type named struct{ dir, function, sub string }

func (n named) String() string { return n.dir + " " + n.function }

func rows(t *testing.T) []row {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", "weaknesses.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| W") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("%d cells instead of 4: %s", len(cells), line)
		}
		r := row{id: strings.TrimSpace(cells[0]), how: strings.TrimSpace(cells[2])}
		if strings.TrimSpace(cells[1]) == "" {
			t.Errorf("%s: the weakness is not told", r.id)
		}
		for part := range strings.SplitSeq(cells[3], "`, `") {
			m := inLink.FindStringSubmatch("`" + strings.Trim(strings.TrimSpace(part), "`") + "`")
			if m == nil {
				t.Errorf("%s: %q is no package and test", r.id, part)
				continue
			}
			n := named{dir: m[1]}
			n.function, n.sub, _ = strings.Cut(m[2], "/")
			r.tests = append(r.tests, n)
		}
		all = append(all, r)
	}
	return all
}

func TestEveryWeaknessHasOneRow(t *testing.T) {
	all := rows(t)
	if len(all) != count {
		t.Errorf("%d rows, want %d", len(all), count)
	}
	for n, r := range all {
		if want := fmt.Sprintf("W%02d", n+1); r.id != want {
			t.Fatalf("row %d is about %s, want %s", n+1, r.id, want)
		}
		if !slices.ContainsFunc(verdicts, func(v string) bool { return strings.HasPrefix(r.how, "**"+v+"**") }) {
			t.Errorf("%s: %.40q begins with none of %v", r.id, r.how, verdicts)
		}
		if len(r.tests) == 0 {
			t.Errorf("%s: no test shows it", r.id)
		}
	}
}

func TestNamedTestsExist(t *testing.T) {
	functions := testFunctions(t)
	for _, r := range rows(t) {
		seen := map[named]bool{}
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
func recorded(n named) bool {
	_, err := os.Stat(filepath.Join(root, "testdata", "recordings", n.sub+".jsonl"))
	return n.function == "TestCorpus" && err == nil
}

// TestTestsOfAWeaknessAreNamed holds the other way round: a test that has a weakness in its name stands in its row.
func TestTestsOfAWeaknessAreNamed(t *testing.T) {
	byID := map[string][]string{}
	for _, r := range rows(t) {
		for _, n := range r.tests {
			byID[r.id] = append(byID[r.id], n.String())
		}
	}
	for _, f := range slices.Sorted(maps.Keys(testFunctions(t))) {
		for _, id := range inName.FindAllString(f, -1) {
			if !slices.Contains(byID[id], f) {
				t.Errorf("%s is not in the row of %s", f, id)
			}
		}
	}
}

// TestW26OnlyTheFirstEntryReadsAWallClock: where hm decides, one place alone makes hm time of a wall clock's.
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
					t.Errorf("%s uses %s: only %s may make hm time of a wall clock's", rel, s.Sel.Name, clock)
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

// mentions reports whether the tests of a package, or what they read, have a text in them: names of subtests are
// data.
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
