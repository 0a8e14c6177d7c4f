package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// newRaft starts raft. If raft finds damage while it starts, the start ends with an error, and not the process.
func (n *Node) newRaft(conf *raft.Config) error {
	n.growth = newLogGrowth(n.opts.snapshotBytes)
	guarded := &guardedFSM{growth: n.growth, FSM: n.fsm, dir: n.stores.dir, fail: n.fail, logger: n.opts.Logger, beforeSnapshot: n.opts.BeforeSnapshot, versions: n.peerVersions, observe: n.opts.ObserveApply}
	var fsm raft.FSM = guarded
	if n.opts.wrapFSM != nil {
		fsm = n.opts.wrapFSM(fsm)
	}
	var err error
	done := make(chan struct{})
	go func() { // in a goroutine of its own, because damage ends the goroutine that finds it
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("node.data_dir: starting raft on %s: %v", n.stores.dir, p)
			}
		}()
		var r *raft.Raft
		r, err = raft.NewRaft(conf, fsm, raftLog{n.stores.log, n.failStore, n.clock}, raftValues{n.stores.values, n.failStore}, n.stores.snapshots, awaitingTransport{n.trans, n.waits})
		if err != nil {
			err = fmt.Errorf("node.data_dir: starting raft on %s: %w", n.stores.dir, explainFull(err))
			return
		}
		n.stores.log.raft.Store(r)
		n.raft = r
	}()
	<-done
	switch {
	case err != nil && guarded.restore != nil: // raft has tried an older one; the log may not reach back to it
		return &DataDirError{
			Err: fmt.Errorf("node.data_dir: the newest snapshot in %s is undamaged, but this version of hm cannot restore it: %w",
				n.stores.dir, guarded.restore),
			Hint: noted(n.stores.dir) + fmt.Sprintf("run the version of hm that wrote it; or move %s away: hm then copies the record from its peers, or starts empty if it has none",
				n.stores.dir),
		}
	case err == nil && n.raft == nil:
		return n.Err()
	}
	return err
}
