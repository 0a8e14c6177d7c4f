package recording

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fileNames returns the names of the files in a directory.
func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPartsAreNumbered(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.0002.jsonl.zst", "x.12345.jsonl.zst", "x.0003.jsonl", "x.3.jsonl.zst", "x.000.jsonl.zst", "x.-001.jsonl.zst", "y.0009.jsonl.zst", "x.note.jsonl.zst", "x.jsonl.zst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := findParts(filepath.Join(dir, "x.jsonl.zst"))
	if err != nil || !slices.Equal(p.numbers, []int{2, 12345}) || p.last() != 12345 {
		t.Errorf("the parts are %v, %v", p, err)
	}
	if err := p.add(12346, 2); err != nil || !slices.Equal(p.numbers, []int{12345, 12346}) {
		t.Errorf("the parts are %v, %v", p, err)
	}
	if got := fileNames(t, dir); slices.Contains(got, "x.0002.jsonl.zst") || len(got) != 8 {
		t.Errorf("the files are %v", got)
	}
	for path, want := range map[string]string{"x": "x.0001", "x.json": "x.0001.json", "a.b/x.gz": "a.b/x.0001.gz", ".jsonl": ".jsonl.0001", "x.jsonl.gz": "x.0001.jsonl.gz"} {
		if filepath.Dir(path) != "." {
			path, want = filepath.Join(dir, path), filepath.Join(dir, want)
			_ = os.Mkdir(filepath.Dir(path), 0o700)
		}
		if p, err := findParts(path); err != nil || p.name(1) != want {
			t.Errorf("the first part of %s: %+v, %v, want %s", path, p, err, want)
		}
	}
	if _, err := findParts(filepath.Join(dir, "none", "x.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a missing directory: %v", err)
	}
}
