package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/bus"
	"hm/internal/bus/bustest"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
)

func TestYieldTo(t *testing.T) {
	const window = 30 * time.Second
	now := time.Now()
	down := trouble{reconcile.ReasonNATSDown, now.Add(-window), window}
	input := func(change func(*yieldInput)) yieldInput {
		in := yieldInput{ID: "hm-0", Leads: true, Trouble: down, Applied: 1000, Hears: 5, Window: window}
		if change != nil {
			change(&in)
		}
		return in
	}
	member := func(id string, changes ...func(*cluster.Member)) cluster.Member {
		m := cluster.Member{ID: id, Voter: true, Healthy: true, HasInfo: true, Info: cluster.PeerInfo{NATSUp: true, AppliedIndex: 1000, Gate: "not-leader"}}
		for _, change := range changes {
			change(&m)
		}
		return m
	}
	unlinked := func(m *cluster.Member) { m.Info.NATSUp = false }
	own := member("hm-0", unlinked)
	applied := func(index uint64) func(*cluster.Member) {
		return func(m *cluster.Member) { m.Info.AppliedIndex = index }
	}
	hears := func(deas int) func(*cluster.Member) {
		return func(m *cluster.Member) { m.Info.HeardDEAs, m.Info.HearingComplete = deas, true }
	}
	late := func(in *yieldInput) {
		in.Trouble = trouble{reconcile.ReasonNATSLate, now.Add(-window / 3), window / 3}
	}
	deaf := func(in *yieldInput) { in.Trouble = trouble{reconcile.ReasonDeaf, now, 0} }
	gate := func(gate string) func(*cluster.Member) { return func(m *cluster.Member) { m.Info.Gate = gate } }
	both := []cluster.Member{own, member("hm-1"), member("hm-2")}
	for name, c := range map[string]struct {
		in      yieldInput
		members []cluster.Member
		want    string
	}{
		"down for a window":             {input(nil), both, "hm-1"},
		"down for less":                 {input(func(in *yieldInput) { in.Trouble.since = now.Add(-window + 1) }), both, ""},
		"no trouble":                    {input(func(in *yieldInput) { in.Trouble = trouble{} }), both, ""},
		"does not lead":                 {input(func(in *yieldInput) { in.Leads = false }), both, ""},
		"tried just now":                {input(func(in *yieldInput) { in.Attempted = now.Add(-window + 1) }), both, ""},
		"tried a window ago":            {input(func(in *yieldInput) { in.Attempted = now.Add(-window) }), both, "hm-1"},
		"alone":                         {input(nil), []cluster.Member{own}, ""},
		"nobody knows of a member":      {input(nil), nil, ""},
		"nobody has a link":             {input(nil), []cluster.Member{own, member("hm-1", unlinked), member("hm-2", unlinked)}, ""},
		"only one has a link":           {input(nil), []cluster.Member{own, member("hm-1", unlinked), member("hm-2")}, "hm-2"},
		"its own old word is no link":   {input(nil), []cluster.Member{member("hm-0")}, ""},
		"no voter":                      {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Voter = false })}, ""},
		"not heard lately":              {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = 2 * time.Second })}, ""},
		"not heard since it leads":      {input(func(in *yieldInput) { in.Since = now.Add(-time.Second / 2) }), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = time.Second / 2 }), member("hm-2", applied(990))}, "hm-2"},
		"unreachable":                   {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Healthy = false })}, ""},
		"has told nothing":              {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.HasInfo = false })}, ""},
		"far behind":                    {input(nil), []cluster.Member{own, member("hm-1", applied(900))}, ""},
		"a little behind":               {input(nil), []cluster.Member{own, member("hm-1", applied(950))}, "hm-1"},
		"the one that is furthest":      {input(nil), []cluster.Member{own, member("hm-1", applied(950)), member("hm-2", applied(951))}, "hm-2"},
		"the one that could command":    {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, desired-stale")), member("hm-2", applied(950))}, "hm-2"},
		"a link that has just returned": {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, actual-stale")), member("hm-2", gate("not-leader, actual-stale, paused"))}, ""},
		"heartbeats are refused to it":  {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, nats-refused"))}, ""},
		"a gate that was never told":    {input(nil), []cluster.Member{own, member("hm-1", gate(""))}, ""},
		"everyone is paused":            {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, paused"))}, "hm-1"},
		"late, as is a peer":            {input(late), []cluster.Member{own, member("hm-1", gate("not-leader, nats-late")), member("hm-2")}, "hm-2"},
		"late for less":                 {input(func(in *yieldInput) { late(in); in.Trouble.since = now.Add(-window/3 + 1) }), both, ""},
		"deaf":                          {input(deaf), []cluster.Member{own, member("hm-1", hears(6)), member("hm-2", hears(7), applied(990))}, "hm-2"},
		"deaf as all are":               {input(deaf), []cluster.Member{own, member("hm-1", hears(5)), member("hm-2", hears(4))}, ""},
		"deaf, and a peer cannot tell":  {input(deaf), []cluster.Member{own, member("hm-1", hears(9), func(m *cluster.Member) { m.Info.HearingComplete = false }), member("hm-2")}, ""},
		"deaf and not fresh":            {input(deaf), []cluster.Member{member("hm-0", gate("deaf, actual-stale")), member("hm-1", hears(9))}, "hm-1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := yieldTo(c.in, c.members, now); got != c.want {
				t.Errorf("hands over to %q, want %q", got, c.want)
			}
		})
	}
}

// TestTroubleOfALink: what a leader takes for trouble, and since when, while things come and go.
func TestTroubleOfALink(t *testing.T) {
	const window, period = 30 * time.Second, 10 * time.Second
	start := time.Now()
	up, fresh := bus.State{Up: true, Since: start}, reconcile.Overview{ActualFresh: true}
	gate := func(reasons ...string) reconcile.Overview {
		return reconcile.Overview{ActualFresh: !slices.Contains(reasons, "actual-stale"), GateReasons: reasons}
	}
	peer := func(gate string) []cluster.Member {
		return []cluster.Member{{ID: "hm-1", Voter: true, Healthy: true, HasInfo: true, Info: cluster.PeerInfo{NATSUp: true, Gate: gate}}}
	}
	y := &yielder{id: "hm-0", window: window, period: period}
	for _, c := range []struct {
		at      time.Duration
		what    string
		link    bus.State
		o       reconcile.Overview
		members []cluster.Member
		reason  string
		since   time.Duration
		within  time.Duration
	}{
		{0, "all is well", up, fresh, peer("not-leader"), "", 0, 0},
		{1, "late", up, gate("nats-late"), peer("not-leader"), "nats-late", 1, period},
		{3, "still late", up, gate("nats-late", "desired-stale"), peer("not-leader"), "nats-late", 1, period},
		{4, "late no more", up, fresh, peer("not-leader"), "", 0, 0},
		{5, "late again", up, gate("nats-late"), peer("not-leader"), "nats-late", 5, period},
		{6, "deaf", up, gate("deaf"), peer("not-leader"), "deaf", 6, 0},
		{7, "one DEA is missed", up, reconcile.Overview{ActualFresh: true, Missed: 1}, peer("not-leader"), "deaf", 6, period},
		{8, "the link is down, for less than a window", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{9, "it is back, and not fresh", up, gate("actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{10, "it comes and goes", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{11, "nobody's picture is fresh", up, gate("actual-stale"), peer("not-leader, actual-stale"), "", 0, 0},
		{12, "a peer's is again", up, gate("actual-stale"), peer("not-leader"), "actual-stale", 12, 2 * window},
		{40, "down for a window", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "nats-down", 0, window},
	} {
		got := y.look(c.link, c.o, c.members, start.Add(c.at*time.Second))
		want := trouble{c.reason, start.Add(c.since * time.Second), c.within}
		if got.reason != c.reason || c.reason != "" && got != want {
			t.Errorf("%s: %+v, want %+v", c.what, got, want)
		}
		y.trouble = got
	}
}

// linkedNodes are three nodes in this process, each with a way of its own to one NATS server.
type linkedNodes struct {
	t       *testing.T
	nodes   []*devNode
	proxies []*bustest.Proxy // of each node, if they have proxies
	server  *bustest.Server
	sim     *sim.Sim
}

// startLinkedNodes starts nodes that reach the server through a proxy each.
func startLinkedNodes(t *testing.T, period time.Duration, sets ...string) *linkedNodes {
	t.Helper()
	l := &linkedNodes{t: t, server: bustest.Run(t, nil)}
	for range 3 {
		l.proxies = append(l.proxies, bustest.RunProxy(t, l.server.Address()))
	}
	l.start(period, func(i int) string { return l.proxies[i].URL() }, sets...)
	return l
}

// start starts the simulated Cloud Foundry and the nodes. ways gives the server that a node is to use.
func (l *linkedNodes) start(period time.Duration, ways func(i int) string, sets ...string) {
	t := l.t
	t.Helper()
	logs := &devTestLog{}
	logger := newLogger(logs, config.Log{Level: "info"})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", logs)
		}
	})
	var err error
	l.sim, err = sim.Start(context.WithoutCancel(t.Context()), sim.Options{
		NATS: []string{l.server.URL()}, Apps: 30, InstancesPerApp: 2, DEAs: 10, Seed: 1, HeartbeatPeriod: period, Passive: true, Partition: "default", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.sim.Close)
	var peers []string
	ports := freePorts(t, 3)
	for i, port := range ports {
		peers = append(peers, fmt.Sprintf("hm-%d=127.0.0.1:%d", i, port))
	}
	for i, port := range ports {
		flags := configFlags{sets: append([]string{
			fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", port), "raft.peers=" + strings.Join(peers, ","),
			// A loaded machine must not change the leader by itself.
			"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s",
			"api.listen=127.0.0.1:0", "nats.servers=" + ways(i), "desired.bulk.url=" + l.sim.CCURL(),
			"policy.heartbeat_period=" + period.String(),
		}, sets...)}
		loaded, err := flags.load()
		if err != nil {
			t.Fatal(err)
		}
		n, err := openDevNode(loaded.Config, logger)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.close(); err != nil {
				t.Error(err)
			}
		})
		l.nodes = append(l.nodes, n)
	}
}

// commander gives the node that leads with an open gate, or -1.
func (l *linkedNodes) commander() int {
	for i, n := range l.nodes {
		if o := n.node.loop.Overview(); o.GateOpen && n.node.cluster.Leadership().Leader {
			return i
		}
	}
	return -1
}

func (l *linkedNodes) metrics(i int) string {
	l.t.Helper()
	resp, err := http.Get(l.nodes[i].url() + "/metrics")
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, resp.Body); err != nil {
		l.t.Fatal(err)
	}
	return text.String()
}

// TestLeaderWithoutNATSYields: the leader's own link is cut, and nobody else's. Without a hand-over nobody would ever
// command again.
func TestLeaderWithoutNATSYields(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	l := startLinkedNodes(t, period)
	first := -1
	bustest.Until(t, "a gate opens", func() bool { first = l.commander(); return first >= 0 && l.sim.State().Converged })

	l.proxies[first].BlackHole(true)
	second := -1
	bustest.Until(t, "another node's gate opens", func() bool { second = l.commander(); return second >= 0 && second != first })
	if c := l.sim.State().Commands; c.StartsAccepted+c.StopsAccepted+c.Needless != 0 {
		t.Errorf("the hand-over caused commands: %+v", c)
	}
	if _, err := l.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the loss shows", func() bool { return !l.sim.State().Converged })
	bustest.Until(t, "the new leader has replaced what was lost", func() bool { return l.sim.State().Converged })
	if c := l.sim.State().Commands; c.StartsAccepted == 0 || c.StopsAccepted+c.Needless+c.Harmful != 0 {
		t.Errorf("after the loss of a DEA: %+v", c)
	}
	// With heartbeats as close as these the lag shows before the pings do.
	done := func(i int) uint64 {
		return l.yields(i, reconcile.ReasonNATSDown) + l.yields(i, reconcile.ReasonNATSLate)
	}
	told := func(reason string) string {
		return fmt.Sprintf(`hm_leadership_transfers_total{outcome="done",reason=%q} %d`, reason, l.yields(first, reason))
	}
	if text := l.metrics(first); done(first) == 0 || !strings.Contains(text, told(reconcile.ReasonNATSDown)) || !strings.Contains(text, told(reconcile.ReasonNATSLate)) {
		t.Errorf("the node that led first does not tell of the hand-over: %d", done(first))
	}

	// Nobody has a link: then it does not matter who leads, and nobody hands over.
	for _, p := range l.proxies {
		p.BlackHole(true)
	}
	bustest.Until(t, "everyone knows that no link is up, and no transfer is under way", func() bool {
		for _, n := range l.nodes {
			for _, m := range n.node.cluster.Members() {
				if m.Info.NATSUp || n.node.yields.busy.Load() {
					return false
				}
			}
		}
		return true
	})
	before := [3]uint64{done(0), done(1), done(2)}
	for began := time.Now(); time.Since(began) < 10*period; time.Sleep(period) {
		if now := [3]uint64{done(0), done(1), done(2)}; now != before {
			t.Fatalf("a leader handed over to a node without a link: %v transfers, before %v", now, before)
		}
	}

	// All links return: whoever leads goes on.
	for _, p := range l.proxies {
		p.BlackHole(false)
	}
	bustest.Until(t, "a gate opens again", func() bool { return l.commander() >= 0 })
	if c := l.sim.State().Commands; c.StopsAccepted+c.Needless+c.Harmful != 0 {
		t.Errorf("in the end: %+v", c)
	}
}
