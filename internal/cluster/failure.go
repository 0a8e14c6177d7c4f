package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// failure says why a node has stopped by itself.
type failure struct {
	once   sync.Once
	err    error         // set before failed is closed
	failed chan struct{} // closed when the node stops
}

// Failed is closed when the node has stopped by itself: it no longer leads or takes part in anything. Err says why.
// Close the node and open it again: Open repairs what can be repaired.
func (n *Node) Failed() <-chan struct{} { return n.failure.failed }

// Err says why the node has stopped by itself; nil if it has not.
func (n *Node) Err() error {
	select {
	case <-n.failure.failed:
		return n.failure.err
	default:
		return nil
	}
}

// fail stops the node. It may be called from any goroutine, also from raft's, and does not wait.
func (n *Node) fail(err error) {
	n.failure.once.Do(func() {
		n.failure.err = err
		close(n.failure.failed)
		n.opts.Logger.Error("this node stops, because it cannot go on with its data", "module", "cluster", "error", err)
	})
}

// failStore stops the node because raft found damage.
func (n *Node) failStore(err error) {
	d := &Damage{Dir: n.stores.dir, What: damageText(err), Kind: FaultStore, Alone: n.alone()}
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
			n.log.log(slog.LevelInfo, "", "the leader stops and could not hand over its leadership", "error", err)
		}
	}
	n.endRaft()
}

// waitRaft waits until raft's goroutines have ended. After a failure the wait has a time limit: a goroutine that ended
// while it read a damaged store may have left a lock locked.
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
		return errors.New("raft did not end: it waits for the damaged store")
	}
}

// closeStores closes the stores. After a failure the wait has a time limit.
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
