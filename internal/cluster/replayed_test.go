package cluster

import (
	"sync"
	"testing"
	"time"

	"hm/raftfsm"
)

// TestEntriesOfAnEarlierProcessAreReplayed: what is counted as it is applied must not be counted anew at each start.
func TestEntriesOfAnEarlierProcessAreReplayed(t *testing.T) {
	var mu sync.Mutex
	told := map[uint64]bool{} // by index, whether it was told as replayed
	c := newCluster(t, 1, func(_ int, o *Options) {
		o.OnApply = func(a raftfsm.Applied) {
			mu.Lock()
			defer mu.Unlock()
			told[a.Index] = a.Replayed
		}
	})
	c.start(0)
	c.leader()
	for i := range 5 {
		c.propose(dea(i))
	}
	check := func(when string, want func(index uint64) bool) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if len(told) < 5 {
			t.Errorf("%s: OnApply was called for %d entries", when, len(told))
		}
		for index, replayed := range told {
			if replayed != want(index) {
				t.Errorf("%s: entry %d was called replayed: %v", when, index, replayed)
			}
		}
	}
	check("first", func(uint64) bool { return false })
	last := c.leader().View().Index()
	c.close(0)
	n := c.start(0)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		replaying := n.Replaying()
		if is := n.View().Index(); is == last {
			break
		} else if !replaying {
			t.Fatalf("the record is at %d of %d, and the node says that it has replayed its log", is, last)
		}
	}
	c.leader()
	eventually(t, "the log is replayed", func() bool { return !n.Replaying() })
	if got := n.View().Index(); got < last {
		t.Errorf("the log is replayed, and the record is at %d, want %d", got, last)
	}
	c.propose(dea(9))
	check("after a restart", func(index uint64) bool { return index <= last })
}
