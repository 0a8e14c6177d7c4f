package cluster

import (
	"errors"
	"strings"
	"testing"

	"hm/raftfsm"
)

// A kind that came after the first release is proposed only when every voter says that it knows the kind. Here all but
// the first three kinds are such later ones.
func TestKindThatAVoterDoesNotKnow(t *testing.T) {
	c := newCluster(t, 3, func(_ int, o *Options) { o.commonKind = raftfsm.KindDEAChanges })
	later := raftfsm.HoldReleased{Name: "none"} // kind 11
	c.start(0)
	c.start(1)
	c.propose(dea(1)) // of the first release: a voter that is away does not matter
	tell := func(i int, kinds raftfsm.Kind) { c.nodes[i].SetInfo(PeerInfo{Kinds: uint32(kinds)}) }
	refused := func(by string) {
		t.Helper()
		eventually(t, "the kind is refused: "+by, func() bool {
			n := c.leader()
			_, err := n.Propose(bounded(t), dea(2), later)
			if err == nil {
				t.Fatalf("a record of kind %d was proposed", later.Kind())
			}
			return errors.Is(err, ErrKind) && strings.Contains(err.Error(), by) && !n.Knows(later.Kind())
		})
	}
	tell(0, raftfsm.MaxKind)
	tell(1, raftfsm.MaxKind)
	refused("hm-2 knows kinds up to 3") // it has sent no message

	c.start(2)
	tell(2, later.Kind()-1)
	refused("hm-2 knows kinds up to 10")

	tell(2, later.Kind())
	eventually(t, "every voter knows the kind", func() bool {
		for _, n := range c.nodes {
			if !n.Knows(later.Kind()) {
				return false
			}
		}
		return true
	})
	c.propose(dea(3), later)
	c.converged()

	c.kill(2) // what it told last counts
	eventually(t, "the others go on", func() bool {
		_, err := c.leader().Propose(bounded(t), later)
		if errors.Is(err, ErrKind) {
			t.Fatal(err)
		}
		return err == nil
	})
	if n := c.leader(); n.Knows(later.Kind() + 1) {
		t.Error("a kind that hm-2 does not know counts as known")
	}
	if n := c.leader(); n.Knows(raftfsm.MaxKind + 1) {
		t.Error("a kind that this node does not know counts as known")
	}
}

// The kinds of the first release are proposed whatever the voters say.
func TestKindsOfTheFirstRelease(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	for k := raftfsm.Kind(1); k <= commonKind; k++ {
		if !n.Knows(k) {
			t.Errorf("kind %d counts as unknown", k)
		}
	}
	if commonKind != 14 {
		t.Errorf("the last kind of the first release is %d, and this never changes", commonKind)
	}
}
