package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotBytes is how many bytes of entries make a snapshot due, whatever their number. raft counts entries alone, and a
// large fleet that is heard for the first time takes few, but large ones: without a snapshot each restart would apply them
// again.
const snapshotBytes = 32 << 20

// snapshotPause is how many times as long as a snapshot took no further one is taken by size: they take at most a quarter of
// the time. A fleet of millions that is heard for the first time makes one due every second, and each is larger than the
// one before it.
const snapshotPause = 3

// logGrowth is by how much the log has grown since the state was last frozen for a snapshot, also while the log is read back
// at a start.
type logGrowth struct {
	limit int64
	bytes atomic.Int64
	due   chan struct{} // has an element when the limit is passed
}

func newLogGrowth(limit int64) *logGrowth {
	return &logGrowth{limit: limit, due: make(chan struct{}, 1)}
}

// applied counts an entry.
func (g *logGrowth) applied(bytes int) {
	if now := g.bytes.Add(int64(bytes)); now >= g.limit && now-int64(bytes) < g.limit {
		select {
		case g.due <- struct{}{}:
		default:
		}
	}
}

// frozen notes that the state was frozen for a snapshot.
func (g *logGrowth) frozen() { g.bytes.Store(0) }

// snapshotBySize takes a snapshot when the log has grown enough, until the node ends.
func (n *Node) snapshotBySize() {
	for {
		select {
		case <-n.halted:
			return
		case <-n.growth.due:
		}
		if n.growth.bytes.Load() < n.growth.limit {
			continue // raft has taken one meanwhile
		}
		ctx, cancel := context.WithTimeout(context.Background(), lostSnapshotTimeout)
		began := time.Now()
		err := n.askRaft(ctx, func() raft.Future { return n.raft.Snapshot() })
		cancel()
		pause := snapshotPause * time.Since(began)
		if err != nil {
			n.log.log(slog.LevelWarn, "snapshot by size", "the log has grown, and a snapshot could not be taken yet", "error", err)
			n.growth.bytes.Store(0) // it is tried again when the log has grown as much again, or by raft's own count
			pause = lostSnapshotGap
		}
		select {
		case <-n.halted:
			return
		case <-time.After(pause):
		}
	}
}
