package cluster

import (
	"context"

	"github.com/hashicorp/raft"
)

// maxQuestions bounds the questions to raft that wait for an answer at a time. Raft itself takes 64 and then blocks.
const maxQuestions = 32

// ask puts a question to raft and waits for the answer, or for ctx. Raft's futures know no context, so the waiting
// is done by a goroutine, for which settle waits by its place in n.raftCalls.
func (n *Node) ask(ctx context.Context, question func() raft.Future) error {
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
		answer <- question().Error()
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
