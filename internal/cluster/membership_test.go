package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// newcomer makes the options of one more node, which waits to be added, and does not start it. It gives the node's number.
func (c *testCluster) newcomer() int {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	i := len(c.opts)
	o := c.opts[0]
	o.ID, o.DataDir = fmt.Sprintf("hm-%d", i), filepath.Join(c.t.TempDir(), fmt.Sprint(i))
	o.Listen, o.Advertise, o.listener, o.Peers, o.Join = l.Addr().String(), "", l, nil, true
	c.opts, c.nodes = append(c.opts, o), append(c.nodes, nil)
	return i
}

// asLeader calls fn with the leader, again and again while the leadership changes.
func (c *testCluster) asLeader(fn func(context.Context, *Node) error) error {
	c.t.Helper()
	ctx := bounded(c.t)
	for {
		err := fn(ctx, c.leader())
		slow := err != nil && (strings.Contains(err.Error(), "leadership transfer timeout") || // on a busy machine
			errors.Is(err, raft.ErrLeadershipTransferInProgress)) // and raft still ends one that took too long
		if !slow && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLeadershipLost) && !errors.Is(err, ErrHandedOver) {
			return err
		}
		if ctx.Err() != nil {
			c.t.Fatal(err)
		}
	}
}

// add adds a running node, and waits until it votes.
func (c *testCluster) add(i int) {
	c.t.Helper()
	id := c.opts[i].ID
	if err := c.asLeader(func(ctx context.Context, l *Node) error {
		_, err := l.Add(ctx, id, c.opts[i].Listen, false)
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	c.awaitVote(i)
}

func (c *testCluster) awaitVote(i int) {
	c.t.Helper()
	id := c.opts[i].ID
	var m Member
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s at last: %+v", id, m)
			for _, n := range c.running() {
				c.t.Logf("%s: %+v removed %q servers %v", n.opts.ID, n.Leadership(), n.Removed(), n.servers())
			}
		}
	}()
	eventually(c.t, id+" votes", func() bool {
		m = member(c.leader(), id)
		return m.Voter && m.Healthy && !m.Joining && m.Address == c.opts[i].Listen
	})
}

func (c *testCluster) remove(i int, force bool) {
	c.t.Helper()
	if err := c.asLeader(func(ctx context.Context, l *Node) error {
		err := l.Remove(ctx, c.opts[i].ID, force)
		if errors.Is(err, ErrNoMember) {
			return nil // an earlier attempt did it
		}
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
}

func wantRefusal(t *testing.T, err error, forced bool, part string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Forced != forced || !strings.Contains(err.Error(), part) {
		t.Errorf("the error is %v, want a refusal with %q, that force overrides: %v", err, part, forced)
	}
}

// A single node becomes three, and each of them may die then.
func TestSingleNodeBecomesThree(t *testing.T) {
	t.Parallel()
	var log logLines
	c := startCluster(t, 1, func(_ int, o *Options) { o.Logger = log.logger() })
	c.propose(dea(1))
	for range 2 {
		i := c.newcomer()
		c.start(i)
		if !c.nodes[i].Joining() || len(c.nodes[i].Members()) != 0 {
			t.Errorf("a new node is not joining, or knows members: %+v", c.nodes[i].Members())
		}
		c.add(i)
	}
	c.propose(dea(2))
	wantDEAs(t, c.converged(), 1, 2)
	eventually(t, "the first node tells that raft.peers differs", func() bool {
		return strings.Contains(c.nodes[0].Configured(), "hm-2="+c.opts[2].Listen+" is missing")
	})
	for i := range c.nodes {
		c.kill(i)
		c.propose(dea(10 + i))
		c.start(i)
		c.awaitVote(i)
	}
	wantDEAs(t, c.converged(), 10, 3)
	for i := range c.nodes {
		if c.nodes[i].alone() {
			t.Errorf("hm-%d takes itself for alone", i)
		}
	}
	// The first node forgets everything. It must not found its own cluster again, as raft.peers says.
	c.kill(0)
	if err := os.Remove(filepath.Join(c.opts[0].DataDir, "raft", "raft.db")); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(dea(20))
	c.awaitVote(0)
	wantDEAs(t, c.converged(), 10, 3)
}

// A node that waits to be added founds no cluster, and two of them do not either.
func TestJoinNeverFounds(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(_ int, o *Options) { o.Join = true })
	for i := range c.opts {
		c.start(i)
	}
	time.Sleep(newClusterWait + 4*statusEvery)
	for _, n := range c.nodes {
		if l := n.Leadership(); l.Leader || l.LeaderID != "" || !n.Joining() || n.Stats().LastIndex != 0 {
			t.Errorf("%s: %+v, joining %v", n.opts.ID, l, n.Joining())
		}
	}
}

// What Add refuses, and what it takes.
func TestAddRefuses(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	add := func(id, address string, force bool) error {
		return c.asLeader(func(ctx context.Context, l *Node) error {
			_, err := l.Add(ctx, id, address, force)
			return err
		})
	}
	if err := add("a b", "127.0.0.1:1", false); !errors.Is(err, ErrMember) {
		t.Errorf("a bad id: %v", err)
	}
	if err := add("x", "0.0.0.0:1", false); !errors.Is(err, ErrMember) {
		t.Errorf("a bad address: %v", err)
	}
	if err := add("hm-0", c.opts[0].Listen, false); err != nil {
		t.Errorf("a member again: %v", err)
	}
	wantRefusal(t, add("x", c.opts[0].Listen, false), false, "hm-0 has the address")
	wantRefusal(t, add("x", "10.0.0.1:7140", false), false, "no TLS")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	wantRefusal(t, add("x", nobody, false), true, "no node answers")
	other := startCluster(t, 1, func(_ int, o *Options) { o.ID = "other" })
	other.propose(dea(2))
	wantRefusal(t, add("other", other.opts[0].Listen, false), false, "is a member of another cluster")
	i, j := c.newcomer(), c.newcomer()
	c.start(j)
	wantRefusal(t, add(c.opts[i].ID, c.opts[j].Listen, false), false, c.opts[j].ID+" answers at")
	if err := add("x", nobody, true); err != nil {
		t.Fatalf("forced: %v", err)
	}
	wantRefusal(t, add(c.opts[j].ID, c.opts[j].Listen, false), false, "one node is added at a time")
	if m := member(c.leader(), "x"); m.Voter {
		t.Error("a node that is away got a vote")
	}
	if err := c.asLeader(func(ctx context.Context, l *Node) error { return l.Remove(ctx, "x", false) }); err != nil {
		t.Fatal(err)
	}
	c.add(j)
	if err := c.asLeader(func(ctx context.Context, l *Node) error { return l.Remove(ctx, "x", false) }); !errors.Is(err, ErrNoMember) {
		t.Errorf("removing a stranger: %v", err)
	}
}

// A removed node says so, leads nothing, disturbs no election, and starts again without doing harm.
func TestRemovedNode(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		t.Run(map[bool]string{false: "while it runs", true: "while it is away"}[away], func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 3, nil)
			c.propose(dea(1))
			c.converged()
			gone := (c.index(c.leader()) + 1) % 3
			if away {
				c.kill(gone)
			}
			c.remove(gone, false)
			if away {
				c.start(gone)
			}
			says := func() bool {
				m := member(c.nodes[gone], c.opts[gone].ID)
				return m.State == stateRemoved && !m.Healthy && strings.Contains(m.Problem, "removed from the cluster")
			}
			eventually(t, "it says that it was removed", says)
			leader, term := c.leader(), c.leader().Leadership().Term
			time.Sleep(5 * c.opts[0].ElectionTimeout)
			if l := leader.Leadership(); !l.Leader || l.Term != term {
				t.Errorf("the removed node disturbed the leader: %+v, before in term %d", l, term)
			}
			if len(leader.Members()) != 2 || c.nodes[gone].Leadership().Leader {
				t.Errorf("the members are %+v", leader.Members())
			}
			c.kill(gone)
			c.start(gone) // with its data
			eventually(t, "it says so after a start, too", says)
			c.propose(dea(2))
			// It is added again with the same data, under another address.
			c.close(gone)
			c.moveTo(gone)
			c.start(gone)
			c.add(gone)
			if c.nodes[gone].Removed() != "" {
				eventually(t, "it knows that it is a member again", func() bool { return c.nodes[gone].Removed() == "" })
			}
			c.propose(dea(3))
			wantDEAs(t, c.converged(), 1, 3)
			// Once more without its data.
			c.remove(gone, false)
			c.kill(gone)
			if err := os.RemoveAll(c.opts[gone].DataDir); err != nil {
				t.Fatal(err)
			}
			c.opts[gone].Join = true
			n := c.start(gone)
			if !n.Joining() {
				t.Error("a node without its data may vote")
			}
			c.add(gone)
			c.propose(dea(4))
			wantDEAs(t, c.converged(), 1, 4)
		})
	}
}

// What Remove refuses: what would leave no majority that is healthy, and the last voter.
func TestRemoveRefuses(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	leader := c.leader()
	at := c.index(leader)
	down, up := (at+1)%3, (at+2)%3
	c.kill(down)
	eventually(t, "the leader notices that a node is away", func() bool { return !member(leader, c.opts[down].ID).Healthy })
	wantRefusal(t, leader.Remove(bounded(t), c.opts[up].ID, false), true, "a majority needs 2: "+c.opts[down].ID+" is not healthy")
	c.remove(down, false)
	c.remove(up, false)
	wantRefusal(t, c.leader().Remove(bounded(t), c.opts[at].ID, true), false, "is the only voter")
	c.propose(dea(2))
}

// The leader is removed: it hands over first.
func TestRemoveTheLeader(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	old := c.index(c.leader())
	if err := c.nodes[old].Remove(bounded(t), c.opts[old].ID, false); !errors.Is(err, ErrHandedOver) {
		t.Fatalf("removing itself: %v", err)
	}
	c.remove(old, false)
	eventually(t, "the old leader says that it was removed", func() bool { return c.nodes[old].Removed() != "" })
	c.close(old)
	c.propose(dea(2))
	c.converged()
}

// A node lost its disk, and raft.peers of its configuration still has the members of long ago. It takes nothing from a
// deposed leader: it asks as many of the present voters as it must.
func TestWipedNodeWithOldPeers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	for range 2 {
		i := c.newcomer()
		c.start(i)
		c.add(i)
	}
	c.remove(0, false)
	c.close(0)
	wiped := 1
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	n := c.start(wiped)
	c.awaitVote(wiped)
	c.propose(dea(2))
	wantDEAs(t, c.converged(), 1, 2)
	if got := len(n.Members()); got != 4 {
		t.Errorf("it knows %d members, want 4", got)
	}
}

// Members come and go at random while nodes die and records are written: nothing that was acknowledged is lost, and all
// nodes agree (I7, I8). HM_TEST_MEMBERS=N makes N changes.
func TestMembersChangeUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 6
	if text := os.Getenv("HM_TEST_MEMBERS"); text != "" {
		if _, err := fmt.Sscan(text, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 64, 32 })
	random := rand.New(rand.NewPCG(uint64(rounds), 14))
	var known []int
	in := []int{0, 1, 2}
	for round := range rounds {
		a := keepProposing(c, c.running(), 2)
		a.next.Store(int64(10000 * (round + 1)))
		eventually(t, "some proposals are acknowledged", func() bool { return a.count() > 20 })
		switch grow := len(in) < 5 && (len(in) <= 3 || random.IntN(2) == 0); {
		case grow:
			i := c.newcomer()
			c.start(i)
			c.add(i)
			in = append(in, i)
		default:
			at := random.IntN(len(in))
			i := in[at]
			c.remove(i, false)
			in = slices.Delete(in, at, at+1)
			c.close(i)
		}
		victim := in[random.IntN(len(in))]
		c.kill(victim)
		if random.IntN(3) == 0 {
			if err := os.RemoveAll(c.opts[victim].DataDir); err != nil {
				t.Fatal(err)
			}
			c.opts[victim].Join = true
		}
		c.start(victim)
		for _, i := range in { // a leader that is killed may take a promotion with it that only it knew
			c.awaitVote(i)
		}
		a.stop()
		a.wg.Wait()
		known = append(known, a.known...)
	}
	c.propose(dea(0))
	(&acknowledged{known: known}).check(t, c.converged())
	t.Logf("%d changes, %d records acknowledged, %d members at the end", rounds, len(known), len(in))
}
