package cluster

import (
	"testing"
	"time"
)

func member(n *Node, id string) Member {
	for _, m := range n.Members() {
		if m.ID == id {
			return m
		}
	}
	return Member{}
}

func TestPeersExchangeStatus(t *testing.T) {
	c := startCluster(t, 3, nil)
	a, b := c.nodes[0], c.nodes[1]
	eventually(t, "every node has the status of every other", func() bool {
		leader := c.leader()
		for _, n := range c.nodes {
			for _, m := range n.Members() {
				want := stateFollower
				if m.ID == leader.opts.ID {
					want = stateLeader
				}
				if !m.Healthy || !m.Voter || m.State != want || m.LastContact.IsZero() {
					return false
				}
			}
		}
		return true
	})
	if m := member(a, "hm-1"); m.HasInfo {
		t.Errorf("a node that sent no info has the info %+v", m.Info)
	}
	for i := range 3 {
		c.propose(dea(i)) // then the log's time is known, and the times of the others can be checked
	}
	c.converged()
	info := PeerInfo{API: "10.0.0.2:5155", NATSUp: true, AppliedIndex: b.View().Index(), Kinds: 12, DesiredReadBegan: 99, DesiredReadApps: 7, Version: "v1"}
	b.SetInfo(info)
	eventually(t, "the info arrives", func() bool { m := member(a, "hm-1"); return m.HasInfo && m.Info == info })
	if m := member(b, "hm-1"); !m.HasInfo || m.Info != info || !m.Healthy || m.InfoAge != 0 {
		t.Errorf("a node sees itself as %+v", m)
	}
	info.NATSUp = false
	b.SetInfo(info)
	eventually(t, "a change arrives", func() bool { return member(a, "hm-1").Info == info })

	c.kill(1)
	eventually(t, "a node that is gone is no longer healthy", func() bool { return !member(a, "hm-1").Healthy })
	m := member(a, "hm-1")
	if m.State != stateUnreachable || !m.HasInfo || m.InfoAge < staleAfter || m.Info != info {
		t.Errorf("a node that is gone is shown as %+v", m)
	}
	c.start(1)
	eventually(t, "its messages arrive again", func() bool { m := member(a, "hm-1"); return m.Healthy && !m.HasInfo })
}

// TestAgesAreRenewed: an age is told as it is when the message is sent, and does not cause messages.
func TestAgesAreRenewed(t *testing.T) {
	c := startCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	proved := time.Now()
	b.RenewInfo(func(i *PeerInfo) { i.NATSProved = AgoOf(proved, time.Now()) })
	b.SetInfo(PeerInfo{NATSUp: true, HandedOver: 5})
	for range 2 { // at least one message later it still means the same time
		m := member(a, "hm-1")
		eventually(t, "a new message arrives", func() bool {
			next := member(a, "hm-1")
			return next.HasInfo && next.LastContact.After(m.LastContact)
		})
		m = member(a, "hm-1")
		told := m.Info.NATSProved.Before(time.Now().Add(-m.InfoAge))
		if off := told.Sub(proved); off > patience || off < -5*time.Millisecond || m.Info.HandedOver != 0 {
			t.Errorf("the time told is %v after the real one; the info is %+v", off, m.Info)
		}
	}
	if AgoOf(time.Time{}, proved) != 0 || !Ago(0).Before(proved).IsZero() || AgoOf(proved.Add(time.Hour), proved) != 1 || AgoOf(proved, proved.Add(200*365*24*time.Hour)) != maxAgo {
		t.Error("ages at the ends of their range are wrong")
	}
}
