package cluster

import (
	"testing"
	"time"
)

// TestVotersLookForALostLeaderOneAfterTheOther: none before the timeout, and none at the same time as another.
func TestVotersLookForALostLeaderOneAfterTheOther(t *testing.T) {
	contact := time.Now()
	for place, want := range []time.Duration{500, 600, 700, 800, 900} {
		if at := lookAt(contact, 500*time.Millisecond, place).Sub(contact); at != want*time.Millisecond {
			t.Errorf("voter %d looks after %v, want %v", place, at, want*time.Millisecond)
		}
	}
	c := startCluster(t, 3, nil)
	for i, n := range c.nodes {
		eventually(t, "each node knows its place", func() bool { return n.place() == i })
	}
}

// TestRaftLooksForALostLeaderAtOnce: the change of raft's timeout that makes it look is valid, and does not last.
func TestRaftLooksForALostLeaderAtOnce(t *testing.T) {
	c := startCluster(t, 3, nil)
	lead := c.leader()
	n := c.nodes[(c.index(lead)+1)%3]
	c.kill(c.index(lead))
	eventually(t, "another node leads", func() bool {
		next := c.leader()
		return next != nil && next != lead
	})
	if got := n.raft.ReloadableConfig().HeartbeatTimeout; got != n.opts.HeartbeatTimeout {
		t.Errorf("raft's timeout is %v, want %v", got, n.opts.HeartbeatTimeout)
	}
}
