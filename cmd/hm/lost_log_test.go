package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"hm/internal/api"
)

// TestE2ELogLostOnEachNodeInTurn: on one node after the other, an operator removes raft.db and leaves the snapshots, while
// holds are set. No acknowledged record is lost.
func TestE2ELogLostOnEachNodeInTurn(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	b := newBareNodes(t, 3, "raft.snapshot_threshold=8", "raft.snapshot_interval=200ms")
	var names []string
	hold := func(n int) {
		for range n {
			names = append(names, fmt.Sprintf("hold-%03d", len(names)))
			b.hold(names[len(names)-1], "a record to be kept")
		}
	}
	has := func(i int) bool {
		var holds []api.Hold
		if getJSON(b.apis[i]+"/v1/holds", &holds) != nil {
			return false
		}
		for _, name := range names {
			if !slices.ContainsFunc(holds, func(h api.Hold) bool { return h.Name == name }) {
				return false
			}
		}
		return true
	}
	b.leader()
	hold(15)
	for i := range b.nodes {
		db := filepath.Join(b.dirs[i], "raft", "raft.db")
		b.await("a snapshot is taken", func() bool {
			snapshots, err := os.ReadDir(filepath.Join(b.dirs[i], "raft", "snapshots"))
			return err == nil && len(snapshots) > 0
		})
		hold(3)
		b.nodes[i].signal(syscall.SIGKILL)
		if err := os.Remove(db); err != nil {
			t.Fatal(err)
		}
		hold(3)
		b.nodes[i].start()
		hold(3)
		b.await("the node has all records again", func() bool { return has(i) })
		b.await("the node takes part again", func() bool {
			_, err := os.Stat(filepath.Join(b.dirs[i], "raft", "joining"))
			return os.IsNotExist(err)
		})
	}
	for i := range b.nodes {
		b.await("every node has every record", func() bool { return has(i) })
	}
}
