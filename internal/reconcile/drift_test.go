package reconcile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyTheEvaluatorAsksDiff: leader, API, explain, drift and replay give the same answer, since
// nobody else calls the functions that decide.
func TestOnlyTheEvaluatorAsksDiff(t *testing.T) {
	root := filepath.Join("..", "..")
	calls := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" && d.IsDir() {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, call := range []string{"diff.App(", "diff.MakePlan("} {
			if !bytes.Contains(source, []byte(call)) {
				continue
			}
			if calls++; path != filepath.Join(root, "internal", "reconcile", "drift.go") {
				t.Errorf("%s calls %s): ask reconcile.Evaluator", path, call)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls == 0 {
		t.Error("nobody calls diff: this test looks for the wrong names")
	}
}
