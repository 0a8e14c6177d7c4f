package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/tcpproxy"
)

// I8: a leader stands still while the other two elect another one and record something. One of these loses its disk
// before it hears from the old leader again. It has forgotten the term of the new leader. If it followed the old one,
// the two would be a majority, and would record something else in the same place.
func TestAJoiningNodeFollowsNoDeposedLeader(t *testing.T) {
	const old, lost, other = 0, 1, 2
	c := newCluster(t, 3, func(i int, o *Options) {
		if i == old { // it is as slow to notice that nobody follows it as a process that stood still
			o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = time.Minute, time.Minute, time.Minute
		}
	})
	links := c.linked()
	for i := range c.opts {
		c.start(i)
	}
	c.propose(dea(1))
	c.converged()
	deposed := c.nodes[old]
	if l := c.leader(); l != deposed {
		if err := l.TransferTo(bounded(t), deposed.opts.ID); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the leader that will be deposed leads", func() bool { return deposed.Leadership().Leader })
	c.propose(dea(2))
	c.converged()
	term := deposed.Leadership().Term

	isolate(links, old, tcpproxy.Refuse)
	eventually(t, "the other two have a leader", func() bool {
		l := c.nodes[other].Leadership()
		return l.LeaderID != "" && l.Term > term && l.LeaderID != deposed.opts.ID
	})
	record := func(n *Node, i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := n.Propose(ctx, dea(i))
		return err
	}
	eventually(t, "the other two record something", func() bool {
		return errors.Join(record(c.nodes[other], 3), record(c.nodes[lost], 3)) == nil || hasDEA(c.nodes[lost], 3) && hasDEA(c.nodes[other], 3)
	})
	isolate(links, other, tcpproxy.Refuse)
	c.kill(lost)
	if err := os.RemoveAll(c.opts[lost].DataDir); err != nil {
		t.Fatal(err)
	}
	n := c.start(lost)
	links[old][lost].Set(tcpproxy.Pass)
	links[lost][old].Set(tcpproxy.Pass)
	eventually(t, "the two have each other's status", func() bool { return c.haveStatus(old, lost) })
	if !deposed.Leadership().Leader {
		t.Fatal("the old leader knows that it was deposed: the test shows nothing")
	}
	if err := record(deposed, 4); err == nil {
		t.Errorf("the deposed leader recorded something with a node that forgot its term")
	}
	if !n.join.active.Load() {
		t.Error("the node takes part in elections again")
	}
	isolate(links, other, tcpproxy.Pass)
	eventually(t, "the old leader learns that it was deposed", func() bool { return deposed.Leadership().Term > term })
	c.propose(dea(5))
	wantDEAs(t, c.converged(), 1, 3)
	eventually(t, "the node has caught up and takes part", func() bool { return !n.join.active.Load() })
}

func hasDEA(n *Node, i int) bool {
	_, ok := n.View().DEA(deaID(i))
	return ok
}

// Of n voters, n/2 others were in each election in which this node voted: it needs word from so many that one of them
// must be among these.
func TestAJoiningNodeNeedsWordFromEnoughMembers(t *testing.T) {
	for _, x := range []struct{ voters, need int }{{2, 1}, {3, 2}, {4, 2}, {5, 3}, {7, 4}} {
		j := &joining{self: "self", marker: filepath.Join(t.TempDir(), "joining")}
		if err := j.begin(); err != nil {
			t.Fatal(err)
		}
		if err := j.mayFollow(9); !errors.Is(err, errTermsUnknown) {
			t.Errorf("%d voters: with no word from anybody: %v", x.voters, err)
		}
		voters := []string{"self"}
		for i := range x.voters - 1 {
			voters = append(voters, string(rune('a'+i)))
		}
		j.hear("a", toldTerm{term: 9}, true, voters)
		for i := range x.need {
			if err := j.mayFollow(9); !errors.Is(err, errTermsUnknown) {
				t.Errorf("%d voters: with word from %d: %v", x.voters, i, err)
			}
			j.hear(string(rune('a'+i)), toldTerm{term: uint64(5 + i)}, false, voters)
		}
		newest := uint64(5 + x.need - 1)
		if err := j.mayFollow(newest); err != nil {
			t.Errorf("%d voters: with word from %d: %v", x.voters, x.need, err)
		}
		if err := j.mayFollow(newest - 1); !errors.Is(err, errDeposed) {
			t.Errorf("%d voters: an older term: %v", x.voters, err)
		}
		if err := j.end(); err != nil {
			t.Fatal(err)
		}
		if err := j.mayFollow(1); err != nil {
			t.Errorf("%d voters: after the joining: %v", x.voters, err)
		}
	}
}
