package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// newRaft starts raft. What it comes upon in the stores while it starts ends the start and not the process.
func (n *Node) newRaft(conf *raft.Config) error {
	guarded := &guardedFSM{FSM: n.fsm, dir: n.stores.dir, fail: n.fail, logger: n.opts.Logger}
	var fsm raft.FSM = guarded
	if n.opts.wrapFSM != nil {
		fsm = n.opts.wrapFSM(fsm)
	}
	var err error
	done := make(chan struct{})
	go func() { // of its own, since a damage ends the goroutine that comes upon it
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("node.data_dir: starting raft on %s: %v", n.stores.dir, p)
			}
		}()
		var r *raft.Raft
		r, err = raft.NewRaft(conf, fsm, raftLog{n.stores.log, n.failStore}, raftValues{n.stores.values, n.failStore}, n.stores.snapshots, n.trans)
		if err != nil {
			err = fmt.Errorf("node.data_dir: starting raft on %s: %w", n.stores.dir, explainFull(err))
			return
		}
		n.stores.log.raft.Store(r)
		n.raft = r
	}()
	<-done
	switch {
	case err != nil && guarded.restore != nil: // raft has tried an older one; the log need not reach back to that
		return &DataDirError{
			Err: fmt.Errorf("node.data_dir: the newest snapshot in %s is whole, but this version of hm cannot restore it: %w", n.stores.dir, guarded.restore),
			Hint: fmt.Sprintf("run the version of hm that wrote it, or move %s away as a whole: hm then takes the record from its peers, or, without peers, begins with nothing",
				n.stores.dir),
		}
	case err == nil && n.raft == nil:
		return n.Err()
	}
	return err
}
