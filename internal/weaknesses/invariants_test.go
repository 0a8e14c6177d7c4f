package weaknesses

import (
	"fmt"
	"testing"
)

// TestInvariantsAreShown: docs/invariants.md has a row and a section for each invariant, and the tests that a section
// names exist.
func TestInvariantsAreShown(t *testing.T) {
	functions := testFunctions(t)
	all := sections(t, "invariants.md")
	for n, s := range all {
		if want := fmt.Sprint("I", n+1); s.id != want || len(s.cells) != 1 || s.cells[0] == "" {
			t.Fatalf("row %d is about %s with the cells %q, want %s and the invariant", n+1, s.id, s.cells, want)
		}
		for _, test := range s.tests {
			if !functions[test.String()] {
				t.Errorf("%s: there is no %s in %s", s.id, test.function, test.dir)
			}
		}
	}
	if len(all) != 10 {
		t.Errorf("%d rows, want 10", len(all))
	}
}
