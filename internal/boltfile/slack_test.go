package boltfile

import (
	"testing"
	"time"
)

// TestACopyPaysIfMostWasFreeForAWhile: a file that is needed again soon is not copied.
func TestACopyPaysIfMostWasFreeForAWhile(t *testing.T) {
	const mib = 1 << 20
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type look struct {
		minute     int
		size, free int64
		pays       bool
	}
	for name, looks := range map[string][]look{
		"after a storm":   {{0, 400, 40, false}, {1, 400, 390, false}, {5, 400, 385, false}, {10, 400, 385, false}, {11, 400, 385, true}},
		"storms in turn":  {{0, 400, 390, false}, {9, 400, 390, false}, {10, 400, 100, false}, {11, 400, 390, false}, {20, 400, 390, false}, {21, 400, 390, true}},
		"small":           {{0, 40, 31, false}, {60, 40, 31, false}},
		"half is used":    {{0, 400, 200, false}, {60, 400, 200, false}},
		"a third is used": {{0, 390, 260, false}, {60, 390, 260, true}},
	} {
		var s Slack
		for _, l := range looks {
			at := start.Add(time.Duration(l.minute) * time.Minute)
			if got := s.Pays(at, Use{Size: l.size * mib, Free: l.free * mib}, CalmFor); got != l.pays {
				t.Errorf("%s: after %d minutes with %d of %d MiB free it pays: %v", name, l.minute, l.free, l.size, got)
			}
		}
	}
}
