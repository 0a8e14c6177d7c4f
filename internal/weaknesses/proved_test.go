package weaknesses

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rows gives the cells of each row of a document's tables, and leaves out the headings, which begin with a word.
func rows(t *testing.T, document, heading string, cells int) [][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| "+heading+" ") {
			continue
		}
		row := strings.Split(strings.TrimSpace(line), " | ")
		if len(row) != cells {
			t.Errorf("%.60s…: %d cells, want %d", line, len(row), cells)
			continue
		}
		row[0], row[cells-1] = strings.TrimPrefix(row[0], "| "), strings.TrimSuffix(row[cells-1], " |")
		all = append(all, row)
	}
	return all
}

// proofs counts the tests that a cell names. Each must exist.
func proofs(t *testing.T, functions map[string]bool, row, cell string) int {
	t.Helper()
	named := 0
	for _, span := range codeSpan.FindAllStringSubmatch(cell, -1) {
		name := testName.FindStringSubmatch(span[1])
		if name == nil {
			continue // a kind of fault, or a target of the Makefile
		}
		named++
		if n := (namedTest{dir: name[1], function: name[2]}); !functions[n.String()] {
			t.Errorf("%.60s…: there is no %s", row, n)
		}
	}
	return named
}
