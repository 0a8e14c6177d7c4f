package cluster

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hm/raftfsm"
)

// savedState gives a copy of a state, as a snapshot has it.
func savedState(t *testing.T, s *raftfsm.State) *raftfsm.State {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	c, err := raftfsm.RestoreState(&b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var shut = raftfsm.Hold{Name: "restored", Reason: "a snapshot was restored"}

// All nodes take over a restored snapshot, and keep it through restarts. The log goes on, and hm time does not go back.
func TestRestore(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	old := c.converged()
	c.propose(dea(2))
	before := c.converged()
	follower := c.nodes[(c.index(c.leader())+1)%3]
	if _, err := follower.Restore(bounded(t), savedState(t, old), shut); !errors.Is(err, ErrNotLeader) && !follower.Leadership().Leader {
		t.Errorf("a follower restored: %v", err)
	}
	var index uint64
	eventually(t, "a leader restores the snapshot", func() (done bool) {
		n := c.leader()
		var err error
		if index, err = n.Restore(bounded(t), savedState(t, old), shut); err != nil && !errors.Is(err, ErrNotLeader) {
			t.Fatal(err)
		}
		return err == nil
	})
	s := c.converged()
	if _, there := s.DEA(deaID(2)); there || s.Index() != index || s.Restores() != 1 || s.Time() < before.Time() || len(s.Holds()) != 1 {
		t.Errorf("after the restore: dea-2 is there: %v, index %d, want %d, %d restores, time %d, before it was %d",
			there, s.Index(), index, s.Restores(), s.Time(), before.Time())
	}
	wantDEAs(t, s, 1, 1)
	c.propose(dea(3))
	if c.converged().Index() <= index {
		t.Error("the log did not go on")
	}
	for i := range c.nodes {
		if _, err := os.Stat(filepath.Join(c.opts[i].DataDir, "raft", differsMarker)); err == nil {
			t.Errorf("%s doubts the restored snapshot", c.opts[i].ID)
		}
		c.kill(i)
		c.start(i)
	}
	c.propose(dea(4))
	s = c.converged()
	wantDEAs(t, s, 3, 2)
	if _, there := s.DEA(deaID(2)); there || s.Restores() != 1 {
		t.Errorf("after restarts: dea-2 is there: %v, %d restores", there, s.Restores())
	}
}

// I7, I8: a leader that takes over a snapshot without a majority does not keep it: the others go on without it.
func TestRestoreWithoutAMajority(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	old := savedState(t, c.converged())
	c.propose(dea(2))
	c.converged()
	n := c.leader()
	leader := c.index(n)
	for i := range c.nodes {
		if i != leader {
			c.kill(i)
		}
	}
	_, err := n.Restore(bounded(t), old, shut)
	if err == nil {
		t.Fatal("a snapshot was restored without a majority")
	}
	if !errors.Is(err, ErrLeadershipLost) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("the error is %v", err)
	}
	if n.View().Restores() > 0 {
		eventually(t, "the node stops", func() bool { return n.Err() != nil })
	}
	c.kill(leader)
	for i := range c.nodes {
		if i != leader {
			c.start(i)
		}
	}
	c.propose(dea(3)) // without the node
	c.start(leader)
	c.propose(dea(4))
	s := c.converged()
	wantDEAs(t, s, 1, 4)
	if s.Restores() != 0 {
		t.Errorf("%d restores", s.Restores())
	}
}

func TestRestoreIntoASingleNode(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	old := savedState(t, c.converged())
	c.propose(dea(2))
	n := c.leader()
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	n.slots <- struct{}{} // an entry is under way
	if _, err := n.Restore(ctx, savedState(t, n.View()), shut); !errors.Is(err, context.Canceled) {
		t.Errorf("with an entry under way until the caller gave up: %v", err)
	}
	<-n.slots
	if _, err := n.Restore(bounded(t), old, raftfsm.Hold{}); !errors.Is(err, raftfsm.ErrInvalid) {
		t.Errorf("with an invalid hold: %v", err)
	}
	if _, err := n.Restore(bounded(t), savedState(t, old), shut); err != nil {
		t.Fatal(err)
	}
	c.propose(dea(3))
	c.kill(0)
	c.start(0)
	c.leader()
	s := c.converged()
	wantDEAs(t, s, 3, 1)
	if _, there := s.DEA(deaID(2)); there {
		t.Error("what was recorded after the snapshot is there")
	}
	if left, _ := filepath.Glob(filepath.Join(c.opts[0].DataDir, "raft", "*.tmp")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	if got := c.nodes[0].Now(); got < s.Time() || time.Since(got.Std()) > time.Hour {
		t.Errorf("hm time is %d", got)
	}
}
