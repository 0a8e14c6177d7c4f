package cluster

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/actual"
	"hm/raftfsm"
)

// TestStorm lets 300,000 instances crash, one record each, on a single node, and prints how large
// raft.db, the heap and the process are before, at the peak, and when it is calm again. It runs for minutes, and only if
// HM_TEST_STORM is set.
func TestStorm(t *testing.T) {
	if os.Getenv("HM_TEST_STORM") == "" {
		t.Skip("a storm lasts for minutes: set HM_TEST_STORM=1")
	}
	const deas, each, callers = 300, 1000, 32
	c := startCluster(t, 1, func(_ int, o *Options) {
		o.SnapshotInterval, o.compactAfter = 20*time.Minute, 30*time.Second // only the size of the log makes a snapshot due
	})
	n := c.leader()
	figures := func(when string) {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s := n.Stats()
		fmt.Fprintf(os.Stderr, "%-28s raft.db %6d KiB, %6d of them free; entry %6d, snapshot of %6d; heap %4d MiB, from the system %4d MiB\n", when, s.File.Size>>10, s.File.Free>>10,
			s.LastIndex, s.SnapshotIndex, m.HeapAlloc>>20, (m.Sys-m.HeapReleased)>>20)
	}
	figures("empty")
	of := func(d, i int) actual.Instance { return instance(d*each + i) }
	for d := range deas {
		r := raftfsm.DEAChanges{DEA: deaID(d)}
		for i := range each {
			r.Upserts = append(r.Upserts, of(d, i))
		}
		c.propose(r)
	}
	figures("before")
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	var peak atomic.Int64
	for range callers {
		wg.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				if k >= deas*each {
					return
				}
				i := of(k%deas, k/deas)
				if _, err := n.Propose(t.Context(), raftfsm.InstanceExited{Exit: actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed}}); err != nil {
					t.Error(err)
					return
				}
				if k%1000 == 0 {
					if s := n.Stats().File.Size; s > peak.Load() {
						peak.Store(s)
					}
				}
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(os.Stderr, "the storm took %v; raft.db had %d KiB at its peak\n", time.Since(began).Round(time.Second), peak.Load()>>10)
	figures("after the storm")
	for d := range deas { // the DEAs forget their crashed instances
		r := raftfsm.DEAChanges{DEA: deaID(d)}
		for i := range each {
			r.Removes = append(r.Removes, of(d, i).GUID)
		}
		c.propose(r)
	}
	figures("the instances are gone")
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	figures("a snapshot is made")
	for began = time.Now(); n.Stats().Compactions == 0 && time.Since(began) < 6*time.Minute; {
		time.Sleep(time.Second)
	}
	figures("calm")
}
