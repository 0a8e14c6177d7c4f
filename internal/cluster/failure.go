package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The kinds of Fault.
const (
	FaultStore   = "store-damaged" // what is stored is not what was written; the node has stopped
	FaultState   = "state-differs" // its state is not that of its peers at the same index
	FaultHealing = "healing"       // it set aside what was damaged, and takes the record from its peers
)

// Fault is what is wrong with a node.
type Fault struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// Fault tells what is wrong with this node. A node with a fault must not be believed, and must act on nothing.
func (n *Node) Fault() (Fault, bool) {
	var d *Damage
	if err := n.Err(); errors.As(err, &d) {
		return Fault{d.Kind, d.What}, true
	}
	if text := n.states.undecided(); text != "" {
		return Fault{FaultState, text}, true
	}
	if n.healing != "" && n.join.active.Load() {
		return Fault{FaultHealing, n.healing}, true
	}
	return Fault{}, false
}

// StateDiffers reports whether this node's state is not that of its peers, or nobody can tell whose is right.
func (n *Node) StateDiffers() bool {
	f, ok := n.Fault()
	return ok && f.Kind == FaultState
}

// failure is why a node has stopped by itself.
type failure struct {
	once   sync.Once
	err    error         // set before failed is closed
	failed chan struct{} // closed when the node stops
}

// Failed is closed when the node has stopped by itself: it leads no more and takes part in nothing. Err tells why.
// It is to be closed, and opened anew; that mends what can be mended.
func (n *Node) Failed() <-chan struct{} { return n.failure.failed }

// Err is why the node has stopped by itself, nil while it has not.
func (n *Node) Err() error {
	select {
	case <-n.failure.failed:
		return n.failure.err
	default:
		return nil
	}
}

// fail stops the node. It may be called from any goroutine, raft's too, and does not wait.
func (n *Node) fail(err error) {
	n.failure.once.Do(func() {
		n.failure.err = err
		close(n.failure.failed)
		n.opts.Logger.Error("this node stops: it must not go on with what it has", "module", "cluster", "error", err)
	})
}

// failStore stops the node for a damage that raft came upon.
func (n *Node) failStore(err error) {
	d := &Damage{Dir: n.stores.dir, What: damageText(err), Kind: FaultStore, Alone: len(n.opts.Peers) == 1}
	if d.Alone {
		d.Snapshot = usableSnapshot(d.Dir)
	}
	n.fail(d)
}

// stopRaft ends raft after a failure. If raft works it hands over first, so that another node leads at once.
func (n *Node) stopRaft() {
	var d *Damage
	if errors.As(n.Err(), &d) && d.Kind == FaultState && n.raft.State() == raft.Leader {
		ctx, cancel := context.WithTimeout(context.Background(), 2*n.opts.ElectionTimeout)
		defer cancel()
		if err := n.transfer(ctx); err != nil {
			n.log.log(slog.LevelInfo, "", "stopping as leader without a hand-over", "error", err)
		}
	}
	n.endRaft()
}

// waitRaft waits until raft's goroutines have ended. One that was in the middle of a damaged store may hold its locks
// for ever, so that those who wait for them never end.
func (n *Node) waitRaft(ended raft.Future) error {
	if n.Err() == nil {
		return ended.Error()
	}
	done := make(chan error, 1)
	go func() { done <- ended.Error() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * n.opts.ElectionTimeout):
		return errors.New("raft did not end: the damaged store holds it")
	}
}

// closeStores closes the stores, and does not wait for ever for those that are damaged.
func (n *Node) closeStores() error {
	if n.Err() == nil {
		return n.stores.close()
	}
	done := make(chan error, 1)
	go func() { done <- n.stores.close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * n.opts.ElectionTimeout):
		return errors.New("the damaged store did not close")
	}
}

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
		return &Unusable{
			Err: fmt.Errorf("node.data_dir: the newest snapshot in %s is whole, but this version of hm cannot restore it: %w", n.stores.dir, guarded.restore),
			Hint: fmt.Sprintf("run the version of hm that wrote it, or move %s away as a whole: hm then takes the record from its peers, or, without peers, begins with nothing",
				n.stores.dir),
		}
	case err == nil && n.raft == nil:
		return n.Err()
	}
	return err
}
