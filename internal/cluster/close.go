package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Close ends the node: proposals under way get up to two election timeouts to land, a leader hands over, then
// everything stops, and Close returns when it has. If the disk does not answer, nothing is handed over, and Close
// returns an error after two election timeouts; what is stuck then ends with the write that it waits for. It may be
// called again.
func (n *Node) Close() error { return n.close(true) }

func (n *Node) close(graceful bool) error {
	n.closeOnce.Do(func() {
		close(n.closing)
		if graceful && !n.stores.disk.stalled.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*n.opts.ElectionTimeout)
			release(n.slots, fill(ctx, n.slots))
			if n.raft.State() == raft.Leader && len(n.voters()) > 1 {
				if err := n.transfer(ctx); err != nil {
					n.log.log(slog.LevelInfo, "", "closing as leader without a hand-over", "error", err)
				}
			}
			// Raft forgets to answer what it was asked when it is shut down: let nothing be under way then.
			fill(ctx, n.slots)
			fill(ctx, n.raftCalls)
			cancel()
		}
		// Shutting raft down waits for exchanges with peers; closing the connections ends those at once.
		raftEnded := n.endRaft()
		n.stores.disk.close()
		n.trans.CloseStreams()
		closed := n.port.Close()
		n.peerStatus.close()
		ended := make(chan error, 1)
		go func() { ended <- errors.Join(closed, n.end(raftEnded)) }()
		n.closeErr = n.awaitEnd(ended)
	})
	return n.closeErr
}

// end waits until everything has stopped, and closes the stores.
func (n *Node) end(raftEnded raft.Future) error {
	err := n.waitRaft(raftEnded)
	n.haltOnce.Do(func() { close(n.halted) })
	select {
	case <-n.landed:
	case <-time.After(n.opts.ElectionTimeout): // waits for an answer that raft forgot
	}
	n.trans.wait()
	n.wg.Wait()
	n.port.wait()
	return errors.Join(err, n.closeStores())
}

// awaitEnd waits for end, but not without a bound: a write that hangs cannot be called off.
func (n *Node) awaitEnd(ended <-chan error) error {
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ticker.C:
		}
		trouble := n.stores.disk.trouble()
		lasted := time.Since(began)
		switch {
		case trouble != nil && lasted > 2*n.opts.ElectionTimeout:
		case lasted > closeWithin:
			trouble = fmt.Errorf("something in %s has not ended after %s", n.stores.dir, lasted.Round(time.Second))
		default:
			continue
		}
		n.haltOnce.Do(func() { close(n.halted) })
		_ = n.trans.Close()
		return fmt.Errorf("closing gave up: %w", trouble)
	}
}

// closeWithin bounds the wait for what does not go through raft.db: snapshots and small files.
const closeWithin = 20 * time.Second

// fill takes every place of a semaphore, which shows that nothing holds one any more, and gives how many it got
// before ctx ended.
func fill(ctx context.Context, places chan struct{}) (taken int) {
	for taken < cap(places) {
		select {
		case places <- struct{}{}:
			taken++
		case <-ctx.Done():
			return taken
		}
	}
	return taken
}

func release(places chan struct{}, n int) {
	for range n {
		<-places
	}
}
