package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/tcpproxy"
	"hm/raftfsm"
)

// patience bounds every wait of these tests. It is long, because a machine may stall for seconds.
const patience = 2 * time.Minute

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// logLines keeps the log lines of several goroutines.
type logLines struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logLines) count(part string) int { return strings.Count(l.String(), part) }

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testCluster is a cluster in this process, over real TCP and real files.
type testCluster struct {
	t     testing.TB
	opts  []Options
	nodes []*Node // nil: not running
}

// newCluster makes the options of size nodes and starts none.
func newCluster(t testing.TB, size int, tweak func(i int, o *Options)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, opts: make([]Options, size), nodes: make([]*Node, size)}
	root := t.TempDir()
	var peers []Peer
	for i := range c.opts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		c.opts[i] = Options{
			ID: fmt.Sprintf("hm-%d", i), DataDir: filepath.Join(root, fmt.Sprint(i)), Listen: address, listener: l,
			HeartbeatTimeout: 200 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond, LeaseTimeout: 100 * time.Millisecond,
		}
		if os.Getenv("HM_TEST_LOG") != "" {
			c.opts[i].Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", c.opts[i].ID)
		}
		peers = append(peers, Peer{c.opts[i].ID, address})
	}
	for i := range c.opts {
		c.opts[i].Peers = peers
		if size == 1 {
			c.opts[i].Peers = nil
		}
		if tweak != nil {
			tweak(i, &c.opts[i])
		}
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.close(i)
			if l := c.opts[i].listener; l != nil {
				_ = l.Close()
			}
		}
	})
	return c
}

// startCluster starts every node.
func startCluster(t testing.TB, size int, tweak func(i int, o *Options)) *testCluster {
	t.Helper()
	c := newCluster(t, size, tweak)
	for i := range c.opts {
		c.start(i)
	}
	return c
}

func (c *testCluster) start(i int) *Node {
	c.t.Helper()
	if c.opts[i].listener == nil {
		eventually(c.t, "the node's port is free again", func() bool {
			l, err := net.Listen("tcp", c.opts[i].Listen)
			c.opts[i].listener = l
			return err == nil
		})
	}
	n, err := Open(c.opts[i])
	c.opts[i].listener = nil
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = n
	return n
}

func (c *testCluster) close(i int) {
	if n := c.nodes[i]; n != nil {
		c.nodes[i] = nil
		if err := n.Close(); err != nil {
			c.t.Errorf("closing %s: %v", n.opts.ID, err)
		}
	}
}

// kill ends a node as a crash would: it waits for no proposal and hands nothing over.
func (c *testCluster) kill(i int) {
	n := c.nodes[i]
	c.nodes[i] = nil
	if err := n.close(false); err != nil {
		c.t.Errorf("killing %s: %v", n.opts.ID, err)
	}
}

func (c *testCluster) running() (nodes []*Node) {
	for _, n := range c.nodes {
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func (c *testCluster) index(n *Node) int {
	for i, m := range c.nodes {
		if m == n {
			return i
		}
	}
	c.t.Fatal("the node is not running")
	return -1
}

// leader waits until a node leads.
func (c *testCluster) leader() (leader *Node) {
	c.t.Helper()
	eventually(c.t, "a node leads", func() bool {
		for _, n := range c.running() {
			if n.Leadership().Leader {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

// propose has a leader apply records, and gives the results and that leader. It tries again after an election, because
// a stall of the machine may end the leader's lease at any time. So the records may be applied twice.
func (c *testCluster) propose(recs ...raftfsm.Record) ([]raftfsm.Result, *Node) {
	c.t.Helper()
	ctx := bounded(c.t)
	for {
		n := c.leader()
		res, err := n.Propose(ctx, recs...)
		if err == nil {
			return res, n
		}
		if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLeadershipLost) {
			c.t.Error(err)
			return nil, n
		}
	}
}

// converged waits until the running nodes have applied the same log and checks that they hold the same state.
func (c *testCluster) converged() *raftfsm.State {
	c.t.Helper()
	var first *raftfsm.State
	eventually(c.t, "every node has applied the same index", func() bool {
		nodes := c.running()
		first = nodes[0].View()
		for _, n := range nodes[1:] {
			if n.View().Index() != first.Index() {
				return false
			}
		}
		return true
	})
	for _, n := range c.running() {
		v := n.View()
		if v.Index() == first.Index() && v.Hash() != first.Hash() {
			c.t.Fatalf("%s has the hash %s at index %d, another node has %s", n.opts.ID, v.Hash(), v.Index(), first.Hash())
		}
	}
	return first
}

// wantDEAs fails if one of the count DEAs from the number from on is not recorded, although it was acknowledged.
func wantDEAs(t testing.TB, s *raftfsm.State, from, count int) {
	t.Helper()
	for i := from; i < from+count; i++ {
		if _, ok := s.DEA(deaID(i)); !ok {
			t.Fatalf("%s was acknowledged and is lost", deaID(i))
		}
	}
}

func dea(i int) raftfsm.DEAChanges {
	return raftfsm.DEAChanges{DEA: deaID(i), Upserts: []actual.Instance{instance(i), instance(i + 1<<20)}}
}

func deaID(i int) string { return fmt.Sprintf("dea-%d", i) }

func instance(i int) actual.Instance {
	guid := func(kind byte) app.GUID {
		return app.FromBinary([16]byte{kind, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), 15: 1}, 'u')
	}
	return actual.Instance{App: app.Key{Droplet: guid(1), Version: guid(2)}, GUID: guid(3), Index: uint32(i % 8), State: actual.Running, Since: int64(i)}
}

// linked puts a proxy between every two nodes, one for each direction: links[i][j] leads from i to j.
func (c *testCluster) linked() (links [][]*tcpproxy.Proxy) {
	links = make([][]*tcpproxy.Proxy, len(c.opts))
	for i := range c.opts {
		links[i] = make([]*tcpproxy.Proxy, len(c.opts))
		peers := append([]Peer{}, c.opts[i].Peers...)
		for j := range peers {
			if j != i {
				p, err := tcpproxy.Start(tcpproxy.Options{Target: c.opts[j].Listen})
				if err != nil {
					c.t.Fatal(err)
				}
				c.t.Cleanup(p.Close)
				links[i][j], peers[j].Address = p, p.Addr()
			}
		}
		c.opts[i].Peers = peers
	}
	return links
}

// isolate sets every link from and to node i.
func isolate(links [][]*tcpproxy.Proxy, i int, to tcpproxy.Mode) {
	for j := range links {
		if j != i {
			links[i][j].Set(to)
			links[j][i].Set(to)
		}
	}
}

// haveStatus reports whether each of the nodes has a status message of each other one.
func (c *testCluster) haveStatus(nodes ...int) bool {
	for _, i := range nodes {
		for _, j := range nodes {
			if _, ok := c.nodes[i].peerStatus.latestFrom(c.opts[j].ID); i != j && !ok {
				return false
			}
		}
	}
	return true
}
