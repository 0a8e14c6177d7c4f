package weaknesses

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInvariantsAreShown: docs/invariants.md has a row for each invariant, and the tests that a row names exist.
func TestInvariantsAreShown(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs", "invariants.md"))
	if err != nil {
		t.Fatal(err)
	}
	functions := testFunctions(t)
	n := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| I") {
			continue
		}
		n++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if id := strings.TrimSpace(cells[0]); len(cells) != 4 || id != fmt.Sprint("I", n) {
			t.Fatalf("row %d is %q with %d cells", n, id, len(cells))
		}
		named := inLink.FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("I%d: no test shows it", n)
		}
		for _, m := range named {
			if !functions[m[1]+" "+m[2]] {
				t.Errorf("I%d: there is no %s in %s", n, m[2], m[1])
			}
		}
	}
	if n != 10 {
		t.Errorf("%d rows, want 10", n)
	}
}
