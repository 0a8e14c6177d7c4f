package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// raftFuture is an answer without an error.
type raftFuture struct{}

func (raftFuture) Error() error { return nil }

func TestTransferToOneVoter(t *testing.T) {
	c := startCluster(t, 3, nil)
	for range 3 {
		var to string
		eventually(t, "the named voter leads", func() bool {
			old := c.leader()
			to = c.nodes[(c.index(old)+2)%3].opts.ID
			return old.TransferTo(bounded(t), to) == nil && c.leader().opts.ID == to
		})
	}
	c.propose(dea(0))
	leader := c.leader()
	for _, n := range c.nodes {
		if n.HandingOver() {
			t.Errorf("%s is handing over after every transfer has ended", n.opts.ID)
		}
	}
	seen := false
	_ = leader.askTransfer(bounded(t), func() raft.Future { seen = leader.HandingOver(); return raftFuture{} })
	if !seen || leader.HandingOver() {
		t.Errorf("a transfer is under way: %v during it, %v after it", seen, leader.HandingOver())
	}
	for _, id := range []string{leader.opts.ID, "nobody", ""} {
		if err := leader.TransferTo(bounded(t), id); err == nil {
			t.Errorf("the leader %s handed over to %q", leader.opts.ID, id)
		}
	}
	if other := c.nodes[(c.index(leader)+1)%3]; !errors.Is(other.TransferTo(bounded(t), leader.opts.ID), ErrNotLeader) {
		t.Error("a follower handed over a leadership")
	}
}
