package cluster

import (
	"net"
	"strings"
	"testing"
)

// moveTo gives a node that is not running another address, without a change on its peers.
func (c *testCluster) moveTo(i int) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	o := &c.opts[i]
	if o.listener != nil {
		_ = o.listener.Close()
	}
	o.listener, o.Listen, o.Advertise = l, l.Addr().String(), ""
	peers := append([]Peer(nil), o.Peers...)
	peers[i].Address = o.Listen
	o.Peers = peers
}

// A node has moved, and the log still has its old address. All nodes show it as not healthy, and why, until it is added
// with the new address.
func TestMovedNodeIsNotHealthy(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	moved := (c.index(c.leader()) + 1) % 3
	old := c.opts[moved].Listen
	c.close(moved)
	c.moveTo(moved)
	n := c.start(moved)
	id := n.opts.ID
	for i, peer := range c.nodes {
		if i == moved {
			continue
		}
		eventually(t, peer.opts.ID+" shows the moved node as not healthy", func() bool {
			m := member(peer, id)
			return !m.Healthy && strings.HasPrefix(m.Problem, "its messages arrive, but this node has not reached it at "+old+" for ")
		})
	}
	eventually(t, "it shows itself as not healthy", func() bool {
		m := member(n, id)
		return !m.Healthy && strings.HasPrefix(m.Problem, "it reaches hm-") && strings.HasSuffix(m.Problem, "run hm cluster add "+id+"="+n.opts.Listen)
	})
	for i := range c.nodes {
		if m := member(c.nodes[i], c.opts[(moved+1)%3].ID); i != moved && !m.Healthy {
			t.Errorf("%s shows %s, which has not moved, as %+v", c.opts[i].ID, m.ID, m)
		}
	}
	c.add(moved) // the others reach it again
	c.propose(dea(2))
	c.converged()
	for _, peer := range c.nodes {
		eventually(t, "all are healthy", func() bool {
			for _, m := range peer.Members() {
				if !m.Healthy || m.Problem != "" {
					return false
				}
			}
			return true
		})
	}
}

// Another member answers at the old address of a node. It must not be taken for the node that moved.
func TestAnotherNodeAtTheOldAddress(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	a, b := 0, 1
	c.close(a)
	c.close(b)
	old := c.opts[b].Listen
	c.moveTo(b)
	var l net.Listener
	eventually(t, "a can take the address that b had", func() (free bool) {
		var err error
		l, err = net.Listen("tcp", old)
		return err == nil
	})
	c.moveTo(a)
	_ = c.opts[a].listener.Close()
	c.opts[a].listener, c.opts[a].Listen = l, old
	c.opts[a].Peers[a].Address, c.opts[a].Peers[b].Address = old, c.opts[b].Listen
	c.start(a)
	c.start(b)
	eventually(t, "the third node shows which node answers at the old address", func() bool {
		m := member(c.nodes[2], c.opts[b].ID)
		return !m.Healthy && strings.Contains(m.Problem, c.opts[a].ID+" answers there")
	})
}
