package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Close ends the node. Pending proposals get up to two election timeouts to end, and a leader hands over; then
// everything stops and Close returns. If the disk does not respond, the node hands nothing over, and Close returns an
// error after two election timeouts; goroutines that wait for the disk end later. Close may be called again.
func (n *Node) Close() error { return n.close(true) }

func (n *Node) close(graceful bool) error {
	n.closeOnce.Do(func() {
		close(n.closing)
		if graceful && !n.stores.disk.stalled.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*n.opts.ElectionTimeout)
			release(n.slots, fill(ctx, n.slots))
			if n.raft.State() == raft.Leader && len(n.voters()) > 1 {
				if err := n.transfer(ctx); err != nil {
					n.log.log(slog.LevelInfo, "", "the leader closes and could not hand over its leadership",
						"error", err)
				}
			}
			// Raft may never answer calls that are under way when it is shut down.
			fill(ctx, n.slots)
			fill(ctx, n.raftCalls)
			cancel()
		}
		// The shutdown of raft waits for exchanges with peers. They end at once when the connections are closed.
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
	case <-n.delivered:
	case <-time.After(n.opts.ElectionTimeout): // it waits for an answer that raft will never give
	}
	n.trans.wait()
	n.wg.Wait()
	n.port.wait()
	return errors.Join(err, n.closeStores())
}

// awaitEnd waits for end, with a time limit: a write that hangs cannot be cancelled.
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
			trouble = fmt.Errorf("a read or write in %s has not ended after %s",
				n.stores.dir, lasted.Round(time.Second))
		default:
			continue
		}
		n.haltOnce.Do(func() { close(n.halted) })
		_ = n.trans.Close()
		return fmt.Errorf("closing the node took too long: %w", trouble)
	}
}

// closeWithin bounds the wait for writes that do not go to raft.db: snapshots and small files.
const closeWithin = 20 * time.Second

// fill takes all places of a semaphore, so that nobody else holds one. It gives how many it got before ctx ended.
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
