package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

// The snapshot that a running leader must send is damaged or gone. Its log does not reach back to an older one, so
// without a new snapshot the follower would never catch up.
func TestSnapshotLostUnderARunningLeader(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, newest string, all []string){
		"the newest is damaged": func(t *testing.T, newest string, _ []string) { flip(t, filepath.Join(newest, snapshotState), 200, 1) },
		"the newest is gone": func(t *testing.T, newest string, _ []string) {
			if err := os.RemoveAll(newest); err != nil {
				t.Fatal(err)
			}
		},
		"all are gone": func(t *testing.T, _ string, all []string) {
			for _, dir := range all {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 1<<30, 1 })
			leader := c.leader()
			away := (c.index(leader) + 1) % 3
			c.propose(wide(1))
			c.close(away)
			for round := range 2 {
				for i := range 5 {
					c.propose(wide(10*round + i))
				}
				if err := leader.raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
			at := c.index(leader)
			dirs, err := filepath.Glob(c.file(at, "snapshots", "*"))
			if err != nil || len(dirs) != 2 {
				t.Fatal(dirs, err)
			}
			newest := dirs[0]
			if a, err := readSnapshotMeta(dirs[0]); err != nil || a.Index != usableSnapshot(c.file(at)) {
				newest = dirs[1]
			}
			spoil(t, newest, dirs)
			for l := c.leader(); l != leader; l = c.leader() { // on a busy machine the leadership may have moved
				if err := l.TransferTo(bounded(t), leader.opts.ID); err != nil {
					t.Fatal(err)
				}
			}
			n := c.start(away)
			eventually(t, "the follower has caught up", func() bool {
				return n.View().Index() >= leader.View().Index() && n.View().Hash() == leader.View().Hash()
			})
		})
	}
}
