package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// noteDiskChange is called just before the disk stalls, responds again, becomes tight or gets room again. A leader must
// confirm its leadership again afterwards. It must not block.
func (n *Node) noteDiskChange() {
	n.diskChanges.Add(1)
	n.confirmed.Store(0)
	n.diskChanged.Notify()
}

// watchDisk stops the node when its disk has failed.
func (n *Node) watchDisk() {
	select {
	case <-n.stores.disk.failed:
		n.fail(fmt.Errorf("node.data_dir: the disk failed: %w", n.stores.disk.trouble()))
	case <-n.halted:
	}
}

// DiskTrouble says how long the disk has been stalled, and why; 0 and nil if nothing is wrong. If stalled is 0 and err
// is not nil, the disk works but has too little room for this node to lead.
func (n *Node) DiskTrouble() (stalled time.Duration, err error) {
	return n.stores.disk.stalledFor(), n.stores.disk.problem()
}

// unfit reports whether this node must not lead because of its disk. A single voter may lead with a tight disk, because
// no other node can.
func (n *Node) unfit() bool {
	d := n.stores.disk
	return d.stalled.Load() || d.tight.Load() && len(n.voters()) > 1
}

// yieldTight hands over the leadership of a node whose disk is tight, if another can take it.
func (n *Node) yieldTight(last *time.Time) {
	if !n.stores.disk.tight.Load() || n.raft.State() != raft.Leader || n.stores.disk.stalled.Load() || len(n.voters()) < 2 || time.Since(*last) < tightGap {
		return
	}
	*last = time.Now()
	n.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tightGap)
		defer cancel()
		if err := n.transfer(ctx); err != nil {
			n.log.log(slog.LevelWarn, "tight", "the disk of this leader is almost full, and it could not hand over its leadership",
				"error", err)
			return
		}
		n.log.log(slog.LevelWarn, "tight", "the disk of this leader is almost full: it handed over its leadership")
	})
}

// tightGap is the time between two attempts to hand over, and the time limit of one.
const tightGap = time.Second
