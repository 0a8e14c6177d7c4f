package reconcile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hm/internal/app"
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

// The fast path for an app that is plainly as desired must not leave the findings of an earlier evaluation.
func TestThePlanOfAnAppThatIsAsDesiredHasNoFindings(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	k, other := cf.apps[0].Key, testKey(77, 1)
	e := NewEvaluator(testPolicy)
	view := cf.View()
	e.App(view, k, Knowledge{}, cf.now)
	if len(e.app.Findings) != 4 {
		t.Fatalf("%d findings about four instances", len(e.app.Findings))
	}
	for _, settled := range []app.Key{k, other} {
		e.App(view, k, Knowledge{}, cf.now)
		if p := e.Plan(view, settled, Knowledge{}, cf.now); len(p.Ops) > 0 || len(e.app.Findings) > 0 {
			t.Errorf("the plan of %s leaves %d findings", settled.Droplet, len(e.app.Findings))
		}
	}
}
