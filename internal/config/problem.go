package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one error in a configuration.
type Problem struct {
	Key   string // the key, or the text that is in the place of a key
	Value string // the value found, with secrets masked; empty if there is none to show
	Want  string // what would be right
}

// Error gives "key: value: want ...", on one line.
func (p Problem) Error() string {
	if p.Value == "" {
		return fmt.Sprintf("%s: %s", p.Key, p.Want)
	}
	return fmt.Sprintf("%s: %q: want %s", p.Key, p.Value, p.Want)
}

// Problems is all errors in a configuration, in the order of the keys.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d problems in the configuration\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Unwrap gives each problem as an error, for errors.As.
func (ps Problems) Unwrap() []error {
	list := make([]error, len(ps))
	for i, p := range ps {
		list[i] = p
	}
	return list
}

// err gives ps as an error, which is nil if there are no problems.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Sort sorts ps in the order of the keys. Texts that are not keys come first.
func (ps Problems) Sort() {
	rank := func(p Problem) int {
		if i, ok := keyIndex[p.Key]; ok {
			return i
		}
		return -1
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Key, b.Key))
	})
}
