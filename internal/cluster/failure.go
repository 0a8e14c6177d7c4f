package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

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
