package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// lostSnapshotGap is how far apart two attempts to replace a lost snapshot are at least.
const lostSnapshotGap = time.Second

// lostSnapshotTimeout bounds the wait for one.
const lostSnapshotTimeout = time.Minute

// replaceLostSnapshots takes a snapshot when the newest one is gone, or damaged: the log does not reach back to an older
// one, and a follower that needs the newest would be sent older ones without end.
func (n *Node) replaceLostSnapshots() {
	for {
		select {
		case <-n.halted:
			return
		case <-n.stores.snapshots.lost.C():
		}
		ctx, cancel := context.WithTimeout(context.Background(), lostSnapshotTimeout)
		err := n.ask(ctx, func() raft.Future { return n.raft.Snapshot() })
		cancel()
		if err != nil {
			n.log.log(slog.LevelError, "resnapshot", "the newest snapshot is lost, and no other could be taken yet", "error", err)
		} else {
			n.log.log(slog.LevelWarn, "resnapshot", "the newest snapshot was lost: another one was taken")
		}
		select {
		case <-n.halted:
			return
		case <-time.After(lostSnapshotGap):
		}
	}
}
