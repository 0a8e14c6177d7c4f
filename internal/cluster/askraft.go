package cluster

import (
	"context"

	"github.com/hashicorp/raft"
)

// maxRaftCalls bounds the calls of askRaft under way. Raft itself takes 64 requests and then blocks.
const maxRaftCalls = 32

// askRaft sends raft a request and waits for the answer, or for the end of ctx. A goroutine waits for the answer,
// because raft's futures have no context. Close waits for the goroutine by its place in n.raftCalls.
func (n *Node) askRaft(ctx context.Context, request func() raft.Future) error {
	stalled := n.stores.disk.untilStalled()
	select {
	case n.raftCalls <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-stalled:
		return errDiskStalled
	case <-n.halted:
		return ErrClosed
	}
	answer := make(chan error, 1)
	go func() {
		answer <- request().Error()
		<-n.raftCalls
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-stalled:
		return errDiskStalled
	case <-n.halted:
		return ErrClosed
	}
}
