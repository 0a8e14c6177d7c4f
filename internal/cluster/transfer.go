package cluster

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// TransferTo hands leadership to one voter. It returns nil when this node no longer leads. It returns an error if this
// node goes on leading, because the voter does not catch up within an election timeout, or refuses. No proposal is
// accepted meanwhile.
func (n *Node) TransferTo(ctx context.Context, id string) error {
	if err := n.checkLeading(); err != nil {
		return err
	}
	for _, v := range n.voters() {
		if string(v.ID) != id || id == n.opts.ID {
			continue
		}
		address := raft.ServerAddress(addressBook(n.opts.Peers).of(v))
		n.transfers.Add(1)
		if err := n.askRaft(ctx, func() raft.Future { return n.raft.LeadershipTransferToServer(v.ID, address) }); err != nil {
			return fmt.Errorf("transferring leadership to %s: %w", id, err)
		}
		return nil
	}
	return fmt.Errorf("transferring leadership to %s: it is not another voter of this cluster", id)
}

// Transfer hands leadership to the follower whose log reaches furthest. It returns when this node no longer leads.
func (n *Node) Transfer(ctx context.Context) error {
	if err := n.checkLeading(); err != nil {
		return err
	}
	if err := n.stores.disk.trouble(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return n.transfer(ctx)
}

// checkLeading fails if this node does not lead, or is closing.
func (n *Node) checkLeading() error {
	if n.raft.State() != raft.Leader {
		return n.notLeader()
	}
	select {
	case <-n.closing:
		return ErrClosed
	default:
		return nil
	}
}

func (n *Node) transfer(ctx context.Context) error {
	n.transfers.Add(1)
	if err := n.askRaft(ctx, func() raft.Future { return n.raft.LeadershipTransfer() }); err != nil {
		return fmt.Errorf("transferring leadership: %w", err)
	}
	return nil
}
