package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	few := func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 1<<30, 1 }
	build := func(t *testing.T, size int) *testCluster {
		c := startCluster(t, size, few)
		for round := range 2 {
			for i := range 10 {
				c.propose(wide(10*round + i))
			}
			c.converged()
			for _, n := range c.nodes {
				if err := n.raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.propose(wide(99))
		c.converged()
		return c
	}
	snapshots := func(t *testing.T, c *testCluster, i int) []string {
		dirs, err := filepath.Glob(c.file(i, "snapshots", "*"))
		if err != nil || len(dirs) != 2 {
			t.Fatalf("snapshots %v, %v", dirs, err)
		}
		return dirs // the older first: the names begin with term and index, and index grows within two digits
	}
	for name, spoil := range map[string]func(t *testing.T, dirs []string){
		"both states": func(t *testing.T, dirs []string) {
			flip(t, filepath.Join(dirs[0], snapshotState), 200, 1)
			flip(t, filepath.Join(dirs[1], snapshotState), 200, 1)
		},
		"a description": func(t *testing.T, dirs []string) { flipText(t, filepath.Join(dirs[1], snapshotMeta), "hm-0") },
		"an index":      func(t *testing.T, dirs []string) { flipText(t, filepath.Join(dirs[1], snapshotMeta), `Index":`) },
		"a checksum":    func(t *testing.T, dirs []string) { flip(t, filepath.Join(dirs[1], snapshotSum), 9, 1) },
		"no state": func(t *testing.T, dirs []string) {
			if err := os.Remove(filepath.Join(dirs[1], snapshotState)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name+", alone", func(t *testing.T) {
			c := build(t, 1)
			c.close(0)
			spoil(t, snapshots(t, c, 0))
			before := listing(t, c.file(0))
			_, err := Open(c.opts[0])
			var d *Damage
			if !errors.As(err, &d) || !d.Alone || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "snapshot") {
				t.Errorf("it starts with %v", err)
			}
			if after := listing(t, c.file(0)); after != before {
				t.Errorf("the refused start changed the directory from %s to %s", before, after)
			}
		})
	}
	t.Run("with peers", func(t *testing.T) {
		c := build(t, 3)
		c.close(0)
		dirs := snapshots(t, c, 0)
		flip(t, filepath.Join(dirs[0], snapshotState), 200, 1)
		flip(t, filepath.Join(dirs[1], snapshotState), 200, 1)
		n := c.start(0)
		if f, ok := n.Fault(); !ok || f.Kind != FaultHealing {
			t.Errorf("the fault is %+v", f)
		}
		c.propose(wide(100))
		eventually(t, "the node has healed", func() bool { return !n.join.active.Load() })
		c.converged()
	})
	t.Run("the log reaches back to the older snapshot", func(t *testing.T) {
		c := build(t, 1)
		want := c.nodes[0].View().Hash()
		c.close(0)
		// The older snapshot and the log have everything: the node needs no peer.
		c.opts[0].trailingLogs = 1 << 20
		n := c.start(0)
		c.propose(wide(100))
		if err := n.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		c.propose(wide(101))
		c.propose(wide(102))
		if err := n.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		if n.View().Hash() == want {
			t.Fatal("nothing was recorded")
		}
		dea := n.View().Counts().DEAs
		c.close(0)
		dirs, _ := filepath.Glob(c.file(0, "snapshots", "*"))
		newest, index := "", uint64(0)
		for _, d := range dirs {
			if facts, err := readSnapshotMeta(d); err == nil && facts.Index > index {
				newest, index = d, facts.Index
			}
		}
		flip(t, filepath.Join(newest, snapshotState), 200, 1)
		n = c.start(0)
		c.leader()
		if got := n.View().Counts().DEAs; got != dea {
			t.Errorf("%d DEAs are recorded, %d were", got, dea)
		}
		if kept, _ := filepath.Glob(c.file(0, "snapshot.damaged-*")); len(kept) != 1 {
			t.Errorf("the damaged snapshot was not set aside: %v", kept)
		}
	})
}
