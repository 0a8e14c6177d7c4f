package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// diskChanged is called when the disk is about to be stalled, or well again. Whoever was leader must show anew that it
// is. It must not block.
func (n *Node) diskChanged() {
	n.stalls.Add(1)
	n.confirmed.Store(0)
	n.diskEvents.Notify()
}

// watchDisk stops the node when its disk has failed for good.
func (n *Node) watchDisk() {
	select {
	case <-n.stores.disk.failed:
		n.fail(fmt.Errorf("node.data_dir: the disk failed: %w", n.stores.disk.trouble()))
	case <-n.halted:
	}
}

// DiskTrouble says for how long the disk has taken nothing in, and why; 0 and nil if it does. An error with 0 says that
// it does, and that there is too little room for this node to lead.
func (n *Node) DiskTrouble() (stalled time.Duration, err error) {
	return n.stores.disk.stalledFor(), n.stores.disk.complaint()
}

// unfit reports whether this node must not lead for the state of its disk. Where there is no other voter nobody else
// can: then a tight disk is better than none.
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
			n.log.log(slog.LevelWarn, "tight", "the disk of this node is almost full, and it could not hand over its leadership", "error", err)
			return
		}
		n.log.log(slog.LevelWarn, "tight", "the disk of this node is almost full: it handed over its leadership")
	})
}

// tightGap is how far apart two attempts to hand over are, and how long one may take.
const tightGap = time.Second
