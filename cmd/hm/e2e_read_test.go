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

// TestE2ELeaderKilledInTheMiddleOfAFirstRead: the parts of a half-recorded read never stay in the way of the next one.
// HM_TEST_ROUNDS says how many clusters are tried.
func TestE2ELeaderKilledInTheMiddleOfAFirstRead(t *testing.T) {
	takesSeconds(t)
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("HM_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	halves := 0
	for round := range rounds {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			if killInAFirstRead(t) {
				halves++
			}
		})
	}
	t.Logf("%d rounds, in %d of them the leader was killed between the parts of the read", rounds, halves)
}

// killInAFirstRead kills the leader while it records its first read, and waits for the others to have all of it. half
// says that some parts were recorded, and not the commit.
func killInAFirstRead(t *testing.T) (half bool) {
	const apps = 100_000
	f := newFoundry(t, 2*e2ePeriod, []string{"--apps", fmt.Sprint(apps), "--deas", "1", "--cold", "--cc-passive"},
		"desired.bulk.batch_size=5000", "desired.bulk.username=bulk_api", "desired.bulk.password=bulk-password", "commands.mode=shadow")
	leader := -1
	f.await("a first read is being recorded", 60*time.Second, func() bool {
		for i := range f.apis {
			if s, err := f.status(i); err == nil && s.Cluster.Leader == fmt.Sprintf("hm-%d", i) && s.Basis.Index >= 4 {
				leader = i
				return true
			}
		}
		return false
	})
	time.Sleep(rand.N(30 * time.Millisecond)) // anywhere in the read
	f.nodes[leader].signal(syscall.SIGKILL)
	for i := range f.apis {
		if s, err := f.status(i); i != leader && err == nil && s.Basis.Index >= 4 && s.Desired.Apps == 0 {
			half = true
		}
	}
	f.await("the next read counts", 60*time.Second, func() bool {
		for i := range f.apis {
			if s, err := f.status(i); i != leader && (err != nil || s.Desired.Apps != apps || !s.Desired.Fresh) {
				return false
			}
		}
		return true
	})
	return half
}
