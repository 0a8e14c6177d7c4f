package cluster

import (
	"errors"
	"testing"
)

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
	for _, id := range []string{leader.opts.ID, "nobody", ""} {
		if err := leader.TransferTo(bounded(t), id); err == nil {
			t.Errorf("the leader %s handed over to %q", leader.opts.ID, id)
		}
	}
	if other := c.nodes[(c.index(leader)+1)%3]; !errors.Is(other.TransferTo(bounded(t), leader.opts.ID), ErrNotLeader) {
		t.Error("a follower handed over a leadership")
	}
}
