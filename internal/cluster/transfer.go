package cluster

import (
	"cmp"
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
		transfer := func() raft.Future { return n.raft.LeadershipTransferToServer(v.ID, v.Address) }
		if err := n.askTransfer(ctx, transfer); err != nil {
			return fmt.Errorf("transferring leadership to %s: %w", id, err)
		}
		return nil
	}
	return fmt.Errorf("transferring leadership to %s: it is not another voter of this cluster", id)
}

// HandOver hands leadership to a voter as a person asks for it, or to the best one if id is empty, and gives its id. It
// refuses a voter that is not healthy.
func (n *Node) HandOver(ctx context.Context, id string) (to string, err error) {
	if err := n.checkLeading(); err != nil {
		return "", err
	}
	successor, err := n.successor(id)
	if err != nil {
		return "", err
	}
	return successor.ID, n.TransferTo(ctx, successor.ID)
}

// successor finds the voter to which leadership is to be handed: the one with the id, or the healthy one whose log reaches
// furthest.
func (n *Node) successor(id string) (best Member, err error) {
	var found bool
	for _, m := range n.Members() {
		if m.ID == n.opts.ID || id != "" && m.ID != id {
			continue
		}
		switch {
		case id != "" && !m.Voter:
			return m, refusal("wait until it has caught up", "%s does not vote yet, so it cannot lead", id)
		case id != "" && (!m.Healthy || m.Joining):
			return m, refusal("see hm cluster status; hm cluster transfer without a node hands over to the best one", "%s is not healthy: %s", id,
				cmp.Or(m.Problem, map[bool]string{true: "it has not caught up yet"}[m.Joining], "it is "+m.State))
		case !m.Voter || !m.Healthy || m.Joining:
			continue
		}
		if !found || m.LastIndex > best.LastIndex {
			best, found = m, true
		}
	}
	switch {
	case !found && id == n.opts.ID:
		return best, refusal("", "%s leads already", id)
	case !found && id != "":
		return best, fmt.Errorf("%w: %.80q", ErrNoMember, id)
	case !found:
		return best, refusal("see hm cluster status", "no other voter is healthy")
	}
	return best, nil
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
	if err := n.askTransfer(ctx, func() raft.Future { return n.raft.LeadershipTransfer() }); err != nil {
		return fmt.Errorf("transferring leadership: %w", err)
	}
	return nil
}

// askTransfer makes raft transfer the leadership.
func (n *Node) askTransfer(ctx context.Context, transfer func() raft.Future) error {
	n.transfers.Add(1)
	return n.askRaft(ctx, func() raft.Future {
		n.handingOver.Add(1)
		n.waits.handoverBegins()
		return transferFuture{transfer(), n}
	})
}

// transferFuture counts a transfer that has ended. askRaft waits for it once.
type transferFuture struct {
	raft.Future
	node *Node
}

func (f transferFuture) Error() error {
	defer f.node.handingOver.Add(-1)
	return f.Future.Error()
}

// HandingOver reports whether a transfer of this node's leadership is under way. Then another node may lead at any
// moment, however lately a majority has confirmed that this one does.
func (n *Node) HandingOver() bool { return n.handingOver.Load() > 0 }
