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
// allocates much: then a large one saves time. But a collection reads only what has pointers, and most of the record has
// none: while little has, as at a start, collections cost little, and a small headroom is enough.
const (
	headroomPeriod  = time.Second      // between two settings
	collectionEvery = 2 * time.Second  // how often garbage is collected about, between the bounds
	returnEvery     = 10 * time.Second // between two returns of unused memory to the system, at least
	mostUnused      = 32 << 20         // bytes beyond the headroom that may be unused before they are returned
	leastHeadroom   = 25               // percent
	firstHeadroom   = 50               // percent, until it is known what the process does
	quietHeadroom   = 50               // percent, up to which unused memory is returned
	mostHeadroom    = 100              // percent, which is Go's own
	perScanned      = 2                // bytes of headroom for each byte that a collection reads, at most
)

// keepHeadroom sets the headroom by what the process allocates, until ctx ends. When more is unused than the headroom, as
// after a start or a storm, it returns that to the system: by itself Go does so over minutes. It does not while much is
// allocated, since all that allocate wait meanwhile. GOGC in the environment wins.
func keepHeadroom(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(firstHeadroom))
	ticker := time.NewTicker(headroomPeriod)
	defer ticker.Stop()
	before, set := readHeap(), firstHeadroom
	returned := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := readHeap()
		wanted := headroom(now.allocated-before.allocated, headroomPeriod, now.live)
		percent := enoughHeadroom(wanted, now)
		if before = now; percent != set {
			set = percent
			debug.SetGCPercent(set)
		}
		if wanted <= quietHeadroom && now.unused > now.live*uint64(set)/100+mostUnused && time.Since(returned) >= returnEvery {
			debug.FreeOSMemory()
			returned = time.Now()
		}
	}
}

// heap is what is known of the process's heap, in bytes.
type heap struct {
	allocated uint64 // since the process began
	live      uint64 // after the newest collection
	scanned   uint64 // what a collection reads
	unused    uint64 // neither in use nor returned to the system
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

// enoughHeadroom limits a headroom to perScanned. It is a multiple of 5, too.
func enoughHeadroom(percent int, h heap) int {
	enough := float64(h.scanned) * perScanned / float64(max(h.live, 1))
	return max(leastHeadroom, min(percent, int(min(enough*100, mostHeadroom))/5*5))
}

// headroom gives the percentage with which garbage is collected every collectionEvery, if allocated bytes in a time were
// what comes, too. It is a multiple of 5, since setting it stops the process for a moment.
func headroom(allocated uint64, in time.Duration, live uint64) int {
	share := float64(allocated) * float64(collectionEvery) / float64(in) / float64(max(live, 1))
	return int(max(leastHeadroom, min(share*100, mostHeadroom))) / 5 * 5
}
