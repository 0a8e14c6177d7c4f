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

// TestTheOnlyVoterLeadsAtOnce: it leads before raft's own timer can fire.
func TestTheOnlyVoterLeadsAtOnce(t *testing.T) {
	const timeout = time.Minute
	c := startCluster(t, 1, func(_ int, o *Options) {
		o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = timeout, timeout, timeout/2
	})
	for range 2 {
		for began := time.Now(); !c.nodes[0].Leadership().Leader; time.Sleep(2 * time.Millisecond) {
			if time.Since(began) > timeout*9/10 {
				t.Fatal("it does not lead")
			}
		}
		if got := c.nodes[0].raft.ReloadableConfig().HeartbeatTimeout; got != timeout {
			t.Errorf("raft's timeout is %v", got)
		}
		c.close(0)
		c.start(0)
	}
}
