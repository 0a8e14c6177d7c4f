package sqldb

import (
	"errors"
	"fmt"
	"strings"
)

// maxTargets is the most servers of a Source.
const maxTargets = 16

// parseDSNs returns the targets of all DSNs in a text.
func parseDSNs(driver, text string) ([]target, error) {
	d, ok := dialects[driver]
	if !ok {
		return nil, fmt.Errorf("driver %.40q is none of postgres, mysql, sqlite", driver)
	}
	if d.absent != nil {
		return nil, d.absent
	}
	var dsns []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			dsns = append(dsns, d.split(line)...)
		}
	}
	if len(dsns) == 0 {
		return nil, fmt.Errorf("the DSN is empty; an example is %s", d.example)
	}
	var targets []target
	for i, dsn := range dsns {
		list, err := d.parse(dsn)
		if errors.Is(err, errUnparsable) {
			err = fmt.Errorf("%w; an example is %s", err, d.example)
		}
		if err != nil {
			return nil, fmt.Errorf("%s DSN %d of %d: %w", driver, i+1, len(dsns), err)
		}
		for _, t := range list {
			t.dialect = d
			targets = append(targets, t)
		}
	}
	if len(targets) > maxTargets {
		return nil, fmt.Errorf("the DSN names %d servers, at most %d are allowed", len(targets), maxTargets)
	}
	return targets, nil
}

// errUnparsable replaces the parser's error, which might quote the password.
var errUnparsable = errors.New("it cannot be parsed")

func wholeLine(line string) []string { return []string{line} }
