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

// parts are the files of a recording in several files: FILE.0001.jsonl.zst and so on.
type parts struct {
	stem, endings string
	numbers       []int // of the existing files, in order
}

// findParts finds the existing files of the recording at path, which an earlier recorder has written.
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

// name returns the path of part n.
func (p *parts) name(n int) string { return fmt.Sprintf("%s.%04d%s", p.stem, n, p.endings) }

// last returns the number of the newest file, 0 if there is none.
func (p *parts) last() int {
	if len(p.numbers) == 0 {
		return 0
	}
	return p.numbers[len(p.numbers)-1]
}

// add adds the new file n. If keep is not 0, it removes the oldest files until keep are left.
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
