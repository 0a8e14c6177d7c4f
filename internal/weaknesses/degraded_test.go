package weaknesses

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOutagesAreProved: every row of docs/degraded.md names tests that exist.
func TestOutagesAreProved(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs", "degraded.md"))
	if err != nil {
		t.Fatal(err)
	}
	functions := testFunctions(t)
	rows := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| outage ") {
			continue
		}
		rows++
		if len(cells) != 5 {
			t.Errorf("%.60s…: %d cells, want 5", line, len(cells))
			continue
		}
		named := 0
		for _, span := range codeSpan.FindAllStringSubmatch(cells[4], -1) {
			name := testName.FindStringSubmatch(span[1])
			if name == nil {
				continue // a kind of fault, or a target of the Makefile
			}
			named++
			if n := (namedTest{dir: name[1], function: name[2]}); !functions[n.String()] {
				t.Errorf("%.60s…: there is no %s", line, n)
			}
		}
		if named == 0 {
			t.Errorf("%.60s…: no test is named", line)
		}
	}
	if rows < 40 {
		t.Errorf("%d rows, want at least 40", rows)
	}
}
