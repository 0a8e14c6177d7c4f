package main

import (
	"testing"
	"time"
)

func TestHeadroom(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		allocated, live uint64 // in 10 s
		want            int
	}{
		"nothing is allocated":          {0, 100 * mib, 25},
		"a quiet fleet of 1,000,000":    {270 * mib, 185 * mib, 25},
		"a fleet that changes":          {540 * mib, 185 * mib, 55},
		"a storm":                       {3_000 * mib, 300 * mib, 100},
		"nothing is live":               {mib, 0, 100},
		"nothing is live nor allocated": {0, 0, 25},
	} {
		t.Run(name, func(t *testing.T) {
			if got := headroom(c.allocated, 10*time.Second, c.live); got != c.want {
				t.Errorf("headroom is %d %%, want %d %%", got, c.want)
			}
		})
	}
}

// TestEnoughHeadroom: the less of the heap has pointers, the less a collection costs, and the smaller the headroom.
func TestEnoughHeadroom(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		percent       int
		live, scanned uint64
		want          int
	}{
		"all has pointers":       {100, 300 * mib, 300 * mib, 100},
		"half has":               {100, 300 * mib, 150 * mib, 100},
		"a quarter has":          {100, 300 * mib, 75 * mib, 50},
		"hardly any has":         {100, 300 * mib, 10 * mib, 25},
		"little is allocated":    {25, 300 * mib, 300 * mib, 25},
		"a multiple of 5":        {100, 300 * mib, 64 * mib, 40},
		"nothing is live":        {100, 0, mib, 100},
		"more than live is read": {100, mib, 1 << 40, 100},
	} {
		t.Run(name, func(t *testing.T) {
			if got := enoughHeadroom(c.percent, heap{live: c.live, scanned: c.scanned}); got != c.want {
				t.Errorf("headroom is %d %%, want %d %%", got, c.want)
			}
		})
	}
}
