package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// parts are the files of a recording that is in several, by name, oldest first: FILE.0001.jsonl.zst and so on.
type parts struct {
	stem, endings string
	numbers       []int // of those that are there
}

// findParts finds the files of the recording at path that are there already: those of an earlier recorder.
func findParts(path string) (*parts, error) {
	dir, stem := filepath.Split(path)
	p := &parts{}
	for _, ending := range []string{".zst", ".gz", ".jsonl", ".json"} {
		if s, ok := strings.CutSuffix(stem, ending); ok && s != "" {
			stem, p.endings = s, ending+p.endings
		}
	}
	p.stem = dir + stem
	entries, err := os.ReadDir(filepath.Clean(dir)) // "." if dir is empty
	if err != nil {
		return nil, fmt.Errorf("beginning a recording: %w", err)
	}
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), stem+".")
		if !ok {
			continue
		}
		if text, ok = strings.CutSuffix(text, p.endings); !ok {
			continue
		}
		if n, err := strconv.Atoi(text); err == nil && n > 0 && p.name(n) == dir+e.Name() {
			p.numbers = append(p.numbers, n)
		}
	}
	slices.Sort(p.numbers)
	return p, nil
}

// name puts a number before the file's endings.
func (p *parts) name(n int) string { return fmt.Sprintf("%s.%04d%s", p.stem, n, p.endings) }

// last is the number of the newest file, 0 if there is none.
func (p *parts) last() int {
	if len(p.numbers) == 0 {
		return 0
	}
	return p.numbers[len(p.numbers)-1]
}

// add tells of file n, which is there now, and removes the oldest files but for so many, if keep is not 0.
func (p *parts) add(n, keep int) error {
	p.numbers = append(p.numbers, n)
	for keep > 0 && len(p.numbers) > keep {
		if err := os.Remove(p.name(p.numbers[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the oldest part of the recording: %w", err)
		}
		p.numbers = p.numbers[1:]
	}
	return nil
}
