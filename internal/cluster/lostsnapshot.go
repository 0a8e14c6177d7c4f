package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

const (
	lostSnapshotGap     = time.Second // between two attempts to replace a lost snapshot, at least
	lostSnapshotTimeout = time.Minute // for one attempt
)

// replaceLostSnapshots takes a snapshot when the newest one is gone or damaged. The log does not reach back to an older
// one, so a follower that needs the newest would be sent older ones for ever.
func (n *Node) replaceLostSnapshots() {
	for {
		select {
		case <-n.halted:
			return
		case <-n.stores.snapshots.lost.C():
		}
		ctx, cancel := context.WithTimeout(context.Background(), lostSnapshotTimeout)
		err := n.askRaft(ctx, func() raft.Future { return n.raft.Snapshot() })
		cancel()
		if err != nil {
			n.log.log(slog.LevelError, "snapshot", "the newest snapshot is lost, and another one could not be taken yet",
				"error", err)
		} else {
			n.log.log(slog.LevelWarn, "snapshot", "the newest snapshot was lost: another one was taken")
		}
		select {
		case <-n.halted:
			return
		case <-time.After(lostSnapshotGap):
		}
	}
}
