package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestE2ELeaderKilledInTheMiddleOfAFirstRead: the recorded parts of an incomplete read do not disturb the next read.
// HM_TEST_ROUNDS sets the number of clusters to try, with 100,000 apps each. Without DEAs, hm decides nothing meanwhile.
func TestE2ELeaderKilledInTheMiddleOfAFirstRead(t *testing.T) {
	takesSeconds(t)
	rounds, apps := 2, 40_000
	if n, err := strconv.Atoi(os.Getenv("HM_TEST_ROUNDS")); err == nil {
		rounds, apps = n, 100_000
	}
	halves := 0
	for round := range rounds {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			if killInAFirstRead(t, apps) {
				halves++
			}
		})
	}
	t.Logf("in %d rounds the leader was killed %d times between two parts of the read", rounds, halves)
}

// killInAFirstRead kills the leader while it records its first read, and waits until the other nodes have the whole next
// read. half reports whether some parts of the first read were recorded without its commit.
func killInAFirstRead(t *testing.T, apps int) (half bool) {
	f := newFoundry(t, 2*e2ePeriod, []string{"--apps", fmt.Sprint(apps), "--deas", "0", "--cold", "--cc-passive"},
		"desired.bulk.batch_size=5000", "desired.bulk.username=bulk_api", "desired.bulk.password=bulk-password",
		"commands.mode=shadow")
	leader := -1
	f.await("a node leads", 60*time.Second, func() bool {
		for i := range f.apis {
			if s, err := f.status(i); err == nil && s.Cluster.Leader == fmt.Sprintf("hm-%d", i) {
				leader = i
			}
		}
		return leader >= 0
	})
	part := 4 + rand.Uint64N(uint64(apps/20_000)) // a random part of the read
	for end := time.Now().Add(60 * time.Second); ; {
		s, err := f.status(leader)
		if err == nil && (s.Basis.Index >= part || s.Desired.Apps > 0) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no read is recorded: %+v, %v", s.Desired, err)
		}
	}
	f.nodes[leader].signal(syscall.SIGKILL)
	for i := range f.apis {
		if s, err := f.status(i); i != leader && err == nil && s.Basis.Index >= 4 && s.Desired.Apps == 0 {
			half = true
		}
	}
	f.await("the next read is complete", 60*time.Second, func() bool {
		for i := range f.apis {
			if s, err := f.status(i); i != leader && (err != nil || s.Desired.Apps != apps || !s.Desired.Fresh) {
				return false
			}
		}
		return true
	})
	return half
}
