package server

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/config"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
)

// TestMain runs more tests at a time than there are processors: a test of a cluster mostly waits for heartbeats.
func TestMain(m *testing.M) {
	bustest.ServeIfAsked()
	if err := flag.Set("test.parallel", fmt.Sprint(2*runtime.GOMAXPROCS(0))); err != nil { // a -parallel flag overrides it
		panic(err)
	}
	os.Exit(m.Run())
}

// takesSeconds skips a test under -short, unless HM_TEST_REQUIRE=all asks for every test.
func takesSeconds(t *testing.T) {
	t.Helper()
	if testing.Short() && os.Getenv("HM_TEST_REQUIRE") != "all" {
		t.Skip("runs a cluster for seconds")
	}
}

// testCluster is nodes and a simulated Cloud Foundry, all in this process.
type testCluster struct {
	t           *testing.T
	nats        *bustest.Server
	natsProxies []*bustest.Proxy // one between each node and NATS, if the test asks for them
	raftProxies []*bustest.Proxy // one in front of each node's cluster port, if the test asks for them
	sim         *sim.Sim
	front       *ccFront // if the test asks for it
	nodes       []*testNode
	log         *testLog // of all nodes
}

// clusterSetup says how a test's cluster differs from the plain one.
type clusterSetup struct {
	nodes       int                   // 0: three
	period      time.Duration         // of heartbeats
	natsURL     func(node int) string // the servers that a node uses, separated by commas; nil: the cluster's own
	raftProxies bool
	startDelay  time.Duration           // from STARTING to RUNNING; only for startBesideHM9000. 0: the simulation's default
	sets        []string                // further keys of each node's configuration, as key=value
	nodeSets    func(node int) []string // and those of one node; may be nil
	front       bool                    // the nodes post commands, and a ccFront stands before the Cloud Controller
	sim         func(*sim.Options)      // changes the simulation; may be nil
	quiet       bool                    // the DEAs are cut off until all nodes are up
}

// startCluster starts the simulated Cloud Foundry and the nodes on a NATS server.
func startCluster(t *testing.T, nats *bustest.Server, o clusterSetup) *testCluster {
	t.Helper()
	c := &testCluster{t: t, nats: nats, log: &testLog{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", c.log)
		}
	})
	if o.nodes == 0 {
		o.nodes = 3
	}
	simulation := sim.Options{
		Apps: 30, InstancesPerApp: 2, DEAs: 10, Seed: 1, HeartbeatPeriod: o.period,
		Passive: true, Partition: "default", Logger: slog.New(slog.DiscardHandler),
	}
	if nats != nil {
		simulation.NATS = []string{nats.URL()}
	}
	if o.sim != nil {
		o.sim(&simulation)
	}
	var err error
	if c.sim, err = sim.Start(context.WithoutCancel(t.Context()), simulation); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.sim.Close)
	if o.quiet {
		c.allDEAs(fleet.Pause)
	}
	if o.front {
		c.front = runFront(t, c.sim.CCURL())
		o.sets = append(slices.Clone(o.sets), "commands.protocol=http", "commands.cc_url="+c.front.URL,
			"commands.cc_username=bulk_api", "commands.cc_password=bulk-password")
	}
	var peers []string
	ports := bustest.FreePorts(t, o.nodes)
	for i, port := range ports {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if o.raftProxies {
			c.raftProxies = append(c.raftProxies, bustest.RunProxy(t, address))
			address = c.raftProxies[i].Addr()
		}
		peers = append(peers, fmt.Sprintf("hm-%d=%s", i, address))
	}
	for i, port := range ports {
		_, advertise, _ := strings.Cut(peers[i], "=")
		var url string
		if o.natsURL != nil {
			url = o.natsURL(i)
		} else {
			url = nats.URL()
		}
		var ofNode []string
		if o.nodeSets != nil {
			ofNode = o.nodeSets(i)
		}
		all := strings.Join(peers, ",")
		if o.nodes == 1 {
			all = ""
		}
		n := &testNode{logger: slog.New(slog.NewTextHandler(c.log, nil)), cfg: configOf(t, append([]string{
			fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + t.TempDir(),
			fmt.Sprintf("raft.listen=127.0.0.1:%d", port), "raft.advertise=" + advertise, "raft.peers=" + all,
			// A loaded machine must not change the leader by itself.
			"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s",
			"api.listen=127.0.0.1:0", "nats.servers=" + url, "desired.bulk.url=" + c.sim.CCURL(),
			"policy.heartbeat_period=" + o.period.String(),
		}, slices.Concat(o.sets, ofNode)...))}
		n.open(t)
		t.Cleanup(func() { n.close(t) })
		c.nodes = append(c.nodes, n)
	}
	if o.quiet {
		c.allDEAs(fleet.Resume)
	}
	return c
}

// allDEAs lets something happen to all DEAs at once.
func (c *testCluster) allDEAs(a fleet.Action) {
	c.t.Helper()
	if _, err := c.sim.Fleet.ActOnRandom(fleet.MaxDEAs, a); err != nil {
		c.t.Fatal(err)
	}
}

// startProxiedCluster starts nodes that reach NATS through one proxy each.
func startProxiedCluster(t *testing.T, period time.Duration, sets ...string) *testCluster {
	t.Helper()
	nats := bustest.Run(t, nil)
	var proxies []*bustest.Proxy
	for range 3 {
		proxies = append(proxies, bustest.RunProxy(t, nats.Address()))
	}
	c := startCluster(t, nats, clusterSetup{period: period, natsURL: func(i int) string { return proxies[i].URL() }, sets: sets})
	c.natsProxies = proxies
	return c
}

// configOf makes a valid configuration from the defaults and "key=value" texts.
func configOf(t *testing.T, sets []string) config.Config {
	t.Helper()
	cfg := config.Default()
	for _, text := range sets {
		name, value, _ := strings.Cut(text, "=")
		key, ok := config.KeyNamed(name)
		if !ok {
			t.Fatalf("there is no key %s", name)
		}
		if problem := key.SetText(&cfg, value); problem != nil {
			t.Fatal(problem)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// testNode is a node that can be closed and opened again on the same data and the same addresses.
type testNode struct {
	*Node
	cfg    config.Config // api.listen is the real address once the node has been open
	client *api.Client
	logger *slog.Logger
}

func (n *testNode) open(t *testing.T) {
	t.Helper()
	var err error
	if n.Node, err = Open(n.cfg, Options{Version: "test", Logger: n.logger}); err != nil {
		t.Fatal(err)
	}
	n.cfg.API.Listen = n.APIAddr()
	if n.client, err = api.NewClient(api.ClientOptions{Addr: n.url(), Timeout: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) url() string { return "http://" + n.cfg.API.Listen }

// close closes the node; closing it twice does no harm.
func (n *testNode) close(t *testing.T) {
	t.Helper()
	n.client.Close()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func (c *testCluster) status(i int) api.Status {
	c.t.Helper()
	s, _, err := c.nodes[i].client.Status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *testCluster) metrics(i int) string {
	c.t.Helper()
	resp, err := http.Get(c.nodes[i].url() + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// commander gives the number of the node that leads with an open gate, or -1.
func (c *testCluster) commander() int {
	for i, n := range c.nodes {
		if n.loop.Overview().GateOpen && n.Leads() {
			return i
		}
	}
	return -1
}

// awaitConverged waits until a gate is open and everything runs, and gives the number of the leader.
func (c *testCluster) awaitConverged() (leader int) {
	c.t.Helper()
	bustest.Until(c.t, "a gate is open, everything runs, and the cluster has its id", func() bool {
		leader = c.commander()
		return leader >= 0 && c.sim.State().Converged && !c.nodes[leader].cluster.View().ClusterID().IsZero()
	})
	return leader
}

func (c *testCluster) wantNoCommands(cause string) {
	c.t.Helper()
	if n := c.sim.State().Commands; n.StartsAccepted+n.StopsAccepted+n.Needless+n.Harmful != 0 {
		c.t.Errorf("%s caused commands: %+v", cause, n)
	}
}

// testLog collects what several nodes log.
type testLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
