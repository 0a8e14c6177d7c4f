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
