// Package importlaw tests who may import whom. A test that fails gives the reason of the law.
package importlaw

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestImportLaw(t *testing.T) {
	all := moduleImports(t)
	for _, l := range laws {
		for _, v := range all.violations(l) {
			t.Error(v)
		}
	}
}

// TestLawsBind holds that every law is about packages that exist, so that it still binds after a rename.
func TestLawsBind(t *testing.T) {
	packages := moduleImports(t).packages()
	for _, l := range laws {
		for _, of := range l.of {
			if !slices.ContainsFunc(packages, func(p string) bool { return matches([]string{of}, p) }) {
				t.Errorf("the law %q is about %s, and there is no such package", l.why, of)
			}
		}
	}
}

func TestNoClockInPurePackages(t *testing.T) {
	root := moduleRoot(t)
	for _, pkg := range append([]string{"raftfsm"}, pure...) {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.After(", "time.Sleep(", "time.NewTimer(", "time.Tick(", "go func"} {
				if strings.Contains(string(text), call) {
					t.Errorf("%s calls %s): time is an argument here, and there are no goroutines", f, call)
				}
			}
		}
	}
}

// moduleImports gives the direct imports of every file of the module that is not a test.
func moduleImports(t *testing.T) imports {
	t.Helper()
	root := moduleRoot(t)
	all := imports{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(name)
		all[file] = nil
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[file] = append(all[file], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("the module's root is not where it should be: %v", err)
	}
	return dir
}
