package cluster

import (
	"strings"
	"sync"
	"testing"
	"time"

	"hm/raftfsm"
)

// TestASnapshotIsDueBySize: few, but large entries make a snapshot due, long before raft counts enough of them; and so does a
// log that is read back at a start.
func TestASnapshotIsDueBySize(t *testing.T) {
	c := startCluster(t, 1, func(_ int, o *Options) { o.SnapshotThreshold = 1 << 20 })
	for range 40 {
		note := raftfsm.Note{Event: "test", Reason: strings.Repeat("x", 1000), Detail: strings.Repeat("y", 1000)}
		c.propose(raftfsm.Noted{Notes: []raftfsm.Note{note, note, note}})
	}
	n := c.nodes[0]
	if got := n.growth.bytes.Load(); got < 40*6000 || got > 40*8000 {
		t.Errorf("the log has grown by %d bytes", got)
	}
	if index := n.Stats().SnapshotIndex; index != 0 {
		t.Fatalf("there is a snapshot at %d", index)
	}
	c.close(0)
	c.opts[0].snapshotBytes = 100_000
	n = c.start(0)
	eventually(t, "a snapshot of what was read back is there", func() bool { return n.Stats().SnapshotIndex > 30 })
	if got := n.growth.bytes.Load(); got >= 100_000 {
		t.Errorf("%d bytes are counted after the snapshot", got)
	}
}

// TestSnapshotsBySizeLeaveTime: a log that grows all the time does not keep a node busy with snapshots.
func TestSnapshotsBySizeLeaveTime(t *testing.T) {
	const takes, wanted = 50 * time.Millisecond, 4
	var mu sync.Mutex
	var began []time.Time
	snapshots := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(began)
	}
	c := startCluster(t, 1, func(_ int, o *Options) {
		o.SnapshotThreshold, o.snapshotBytes = 1<<20, 10_000
		o.BeforeSnapshot = func(uint64) {
			mu.Lock()
			began = append(began, time.Now())
			mu.Unlock()
			time.Sleep(takes)
		}
	})
	for snapshots() < wanted {
		c.propose(raftfsm.Noted{Notes: []raftfsm.Note{{Event: "test", Reason: strings.Repeat("x", 1000), Detail: strings.Repeat("y", 1000)}}})
	}
	c.close(0)
	for i := 1; i < len(began); i++ {
		if gap := began[i].Sub(began[i-1]); gap < (1+snapshotPause)*takes {
			t.Errorf("snapshot %d began %s after the one before it, which took %s at least", i, gap, takes)
		}
	}
}
