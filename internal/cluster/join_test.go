package cluster

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestNewClusterJoinsAtOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.start(0)
	if !c.nodes[0].join.active.Load() {
		t.Fatal("a blank node takes part in elections before it has heard anybody")
	}
	c.start(1) // two of three are a majority; the third may come whenever it likes
	c.propose(dea(1))
	c.start(2)
	c.propose(dea(2))
	c.converged()
	eventually(t, "every node takes part in elections", func() bool {
		for _, n := range c.nodes {
			if _, err := os.Stat(n.join.marker); err == nil || n.join.active.Load() {
				return false
			}
		}
		return true
	})
}

// A follower holds nothing of what the other two acknowledged. One of those loses its disk, the other dies. Were the
// blank one to vote, the follower would lead and everything would be lost.
func TestBlankNodeMakesNoLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	behind := (c.index(c.leader()) + 1) % 3
	c.close(behind)
	for i := range 20 {
		c.propose(dea(100 + i))
	}
	at := c.index(c.leader())
	wiped := 3 - at - behind
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	c.kill(at)

	c.start(behind)
	blank := c.start(wiped)
	follower := c.nodes[behind]
	// Both run and hear each other, and the follower asks for votes: several times, so that the answer is no accident.
	eventually(t, "they hear each other", func() bool {
		return member(follower, blank.opts.ID).Healthy && member(blank, follower.opts.ID).Healthy
	})
	eventually(t, "the follower has asked for votes", func() bool { return follower.raft.State() == raft.Candidate })
	for range 10 {
		id, address := raft.ServerID(follower.opts.ID), raft.ServerAddress(follower.opts.Listen)
		if err := blank.trans.RequestVote(id, address, &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); !errors.Is(err, errJoining) {
			t.Fatalf("the blank node asks for votes: %v", err)
		}
		if err := blank.trans.RequestPreVote(id, address, &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{}); !errors.Is(err, errJoining) {
			t.Fatalf("the blank node asks for votes: %v", err)
		}
		var resp raft.RequestPreVoteResponse
		err := follower.trans.RequestPreVote(raft.ServerID(blank.opts.ID), raft.ServerAddress(blank.opts.Listen),
			&raft.RequestPreVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(follower.opts.ID), Addr: []byte(follower.opts.Listen)}, Term: 1000, LastLogIndex: 1000, LastLogTerm: 1000}, &resp)
		if err == nil && resp.Granted {
			t.Fatal("the blank node gives its vote")
		}
	}
	if !blank.join.active.Load() || follower.Leadership().Leader || blank.Leadership().Leader {
		t.Fatal("the two nodes that lack acknowledged records elected a leader")
	}

	// A crash in the middle does not make it forget that it has to wait.
	c.kill(wiped)
	blank = c.start(wiped)
	if !blank.join.active.Load() {
		t.Fatal("after a crash the blank node takes part in elections")
	}
	c.start(at)
	c.propose(dea(200))
	s := c.converged()
	for i := range 20 {
		if _, ok := s.DEA(deaID(100 + i)); !ok {
			t.Fatalf("%s was acknowledged and is lost", deaID(100+i))
		}
	}
	eventually(t, "the blank node has caught up and takes part", func() bool { return !blank.join.active.Load() })
}

// A single node is configured to be one of three, without having been told. The two others must not found a cluster
// of their own, of which the leader would overwrite what the first recorded.
func TestNoSecondClusterBesideTheFirst(t *testing.T) {
	c := newCluster(t, 3, nil)
	peers := c.opts[0].Peers
	c.opts[0].Peers = nil
	c.start(0)
	c.propose(dea(1))
	first := c.leader()
	c.opts[0].Peers = peers
	c.start(1)
	c.start(2)
	for _, n := range c.nodes[1:] {
		eventually(t, "the first node says that they are no members", n.gossip.isShunned)
		eventually(t, "they hear each other", func() bool { return c.hearEachOther(1, 2) })
		eventually(t, "the hearing is over", func() bool { return time.Since(n.join.since) > hearingTime+2*tellEvery })
		if !n.join.active.Load() {
			t.Errorf("%s founds a cluster of its own", n.opts.ID)
		}
	}
	if !first.Leadership().Leader {
		t.Error("the first node no longer leads")
	}
}

func TestJoiningEndsAfterASnapshot(t *testing.T) {
	c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 8, 1 })
	for i := range 20 {
		c.propose(dea(i))
	}
	c.converged()
	leader := c.leader()
	wiped := (c.index(leader) + 1) % 3
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	if err := leader.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	n := c.start(wiped)
	// Nothing is proposed any more: the snapshot alone must do.
	eventually(t, "the node takes part in elections", func() bool { return !n.join.active.Load() })
	c.converged()
}
