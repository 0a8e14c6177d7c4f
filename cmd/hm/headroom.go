package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Headroom is how much a process allocates between two collections of garbage, in percent of what is live: GOGC. While a
// fleet is quiet hm allocates little, so a small headroom costs little time and saves much memory. In a storm it
// allocates much: then a large one saves time.
const (
	headroomPeriod  = 5 * time.Second // between two settings
	collectionEvery = 2 * time.Second // how often garbage is collected about, between the bounds
	returnEvery     = time.Minute     // between two returns of unused memory to the system, at least
	leastHeadroom   = 25              // percent
	mostHeadroom    = 100             // percent, which is Go's own
)

// keepHeadroom sets the headroom by what the process allocates, until ctx ends. When less is allocated than before, as after
// a start or a storm, it returns the memory that is no longer used to the system at once: by itself Go does so over
// minutes. GOGC in the environment wins.
func keepHeadroom(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(mostHeadroom)
	ticker := time.NewTicker(headroomPeriod)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	before, set := sample[0].Value.Uint64(), mostHeadroom
	var returned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		allocated, live := sample[0].Value.Uint64(), sample[1].Value.Uint64()
		if percent := headroom(allocated-before, headroomPeriod, live); percent != set {
			debug.SetGCPercent(percent)
			if percent < set && time.Since(returned) >= returnEvery {
				returned = time.Now()
				debug.FreeOSMemory()
			}
			set = percent
		}
		before = allocated
	}
}

// headroom gives the percentage with which garbage is collected every collectionEvery, if allocated bytes in a time were
// what comes, too. It is a multiple of 5, since setting it stops the process for a moment.
func headroom(allocated uint64, in time.Duration, live uint64) int {
	share := float64(allocated) * float64(collectionEvery) / float64(in) / float64(max(live, 1))
	return int(max(leastHeadroom, min(share*100, mostHeadroom))) / 5 * 5
}
