package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/reconcile"
	"hm/internal/sim/fleet"
	"hm/internal/tcpproxy"
)

// TestLeaderWithLateLinkHandsOver: the leader's link is up, but lets through less than is sent.
func TestLeaderWithLateLinkHandsOver(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	c := startProxiedCluster(t, period)
	first, _ := c.handsOver(reconcile.ReasonNATSLate, func(first int) {
		if s := c.status(first); s.NATS.Lag == nil || s.NATS.LagRefused != "" {
			t.Errorf("before the link is late the status shows %+v", s.NATS)
		}
		c.natsProxies[first].Throttle(6_000, 0)
		bustest.Until(t, "its gate closes because of the lag", func() bool {
			s := c.status(first)
			return slices.Contains(s.Gate.Reasons, reconcile.ReasonNATSLate) && s.NATS.Lag != nil && *s.NATS.Lag > (period/2).Seconds()
		})
	}, func(first int) { c.natsProxies[first].Throttle(0, 0) })
	c.wantNoCommands("a late link")
	c.natsProxies[first].Throttle(0, 0)
	bustest.Until(t, "the link is no longer late", func() bool {
		s := c.status(first)
		return slices.Equal(s.Gate.Reasons, []string{reconcile.ReasonNotLeader}) || s.Gate.Open
	})
	c.wantNoCommands("a link that is no longer late")
}

// TestDeafLeaderHandsOver: the leader does not hear a part of the fleet: first most of it, then a single DEA.
func TestDeafLeaderHandsOver(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 500 * time.Millisecond
	nats := bustest.Run(t, nil)
	var relays []*relay
	for range 3 {
		relays = append(relays, runRelay(t, nats))
	}
	c := startCluster(t, nats, clusterSetup{period: period, natsURL: func(i int) string { return relays[i].server.URL() }})
	var deas []string
	bustest.Until(t, "all DEAs are recorded", func() bool {
		deas = deas[:0]
		for d := range c.nodes[0].cluster.View().DEAs() {
			deas = append(deas, d.ID)
		}
		return len(deas) == 10
	})
	first, second := c.handsOver(reconcile.ReasonDeaf, func(first int) {
		bustest.Until(t, "every node hears all DEAs", func() bool { return c.hears(first) == "10 10 10" })
		relays[first].hide(deas[:6]...)
		bustest.Until(t, "its gate closes", func() bool {
			return slices.Contains(c.status(first).Gate.Reasons, reconcile.ReasonDeaf) || !c.nodes[first].Leads()
		})
	}, func(first int) { relays[first].hide() })
	bustest.Until(t, "the status shows what each node hears", func() bool {
		want := []string{"10", "10", "10"}
		want[first] = "4"
		return c.hears(second) == strings.Join(want, " ")
	})
	c.wantNoCommands("a deaf leader")
	c.wantNoGoneDEAs(second, "a deaf leader")

	// The leader misses a single DEA, which does not close its gate.
	relays[first].hide()
	bustest.Until(t, "every node hears all DEAs again", func() bool { return c.hears(second) == "10 10 10" })
	_, third := c.handsOver(reconcile.ReasonDeaf,
		func(leader int) { relays[leader].hide(deas[3]) }, func(leader int) { relays[leader].hide() })
	c.wantNoCommands("a leader that misses one DEA")
	c.wantNoGoneDEAs(third, "a leader that misses one DEA")

	if _, err := c.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the loss is noticed", func() bool { return !c.sim.State().Converged })
	bustest.Until(t, "the lost instances are replaced", func() bool { return c.sim.State().Converged })
	if n := c.sim.State().Commands; n.StartsAccepted == 0 || n.StopsAccepted+n.Needless+n.Harmful != 0 {
		t.Errorf("after the loss of a DEA: %+v", n)
	}
}

// TestRefusedMarkerDoesNotCloseTheGate: the server does not permit the messages that measure the lag.
func TestRefusedMarkerDoesNotCloseTheGate(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, func(o *server.Options) {
		no := &server.SubjectPermission{Deny: []string{"hm.>"}}
		o.Users = []*server.User{
			{Username: "hm", Password: "pw", Permissions: &server.Permissions{Publish: no, Subscribe: no}},
			{Username: "cf", Password: "pw"},
		}
		o.NoAuthUser = "cf"
	})
	c := startCluster(t, nats, clusterSetup{period: 300 * time.Millisecond, sets: []string{"nats.username=hm", "nats.password=pw"}})
	leader := c.awaitConverged()
	if s := c.status(leader); s.NATS.Lag != nil || !strings.Contains(s.NATS.LagRefused, `"hm.hm-`) {
		t.Errorf("the status shows %+v, want no lag and the refused subject", s.NATS)
	}
}

// TestLeaderWithoutNATSHandsOver: only the leader's own link is cut. Without a handover no node would ever command
// again.
func TestLeaderWithoutNATSHandsOver(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	c := startProxiedCluster(t, period)
	first := c.awaitConverged()

	c.natsProxies[first].BlackHole(true)
	bustest.Until(t, "another node's gate opens", func() bool { second := c.commander(); return second >= 0 && second != first })
	if n := c.sim.State().Commands; n.StartsAccepted+n.StopsAccepted+n.Needless != 0 {
		t.Errorf("the handover caused commands: %+v", n)
	}
	if _, err := c.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the loss is noticed", func() bool { return !c.sim.State().Converged })
	bustest.Until(t, "the new leader has replaced the lost instances", func() bool { return c.sim.State().Converged })
	if n := c.sim.State().Commands; n.StartsAccepted == 0 || n.StopsAccepted+n.Needless+n.Harmful != 0 {
		t.Errorf("after the loss of a DEA: %+v", n)
	}
	// With heartbeats this frequent the lag may be noticed before the silence.
	done := func(i int) uint64 {
		return c.handovers(i, reconcile.ReasonNATSDown) + c.handovers(i, reconcile.ReasonNATSLate)
	}
	metric := func(reason string) string {
		return fmt.Sprintf(`hm_leadership_transfers_total{outcome="done",reason=%q} %d`, reason, c.handovers(first, reason))
	}
	text := c.metrics(first)
	if done(first) == 0 || !strings.Contains(text, metric(reconcile.ReasonNATSDown)) || !strings.Contains(text, metric(reconcile.ReasonNATSLate)) {
		t.Errorf("the metrics of the first leader do not show the handover; it counts %d", done(first))
	}

	// No node has a link: then it does not matter which one leads, and none hands over.
	for _, p := range c.natsProxies {
		p.BlackHole(true)
	}
	bustest.Until(t, "every node knows that no link is up, and no transfer is running", func() bool {
		for _, n := range c.nodes {
			for _, m := range n.cluster.Members() {
				if m.Info.NATSUp || n.handover.busy.Load() {
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

	// All links return: the leader goes on leading.
	for _, p := range c.natsProxies {
		p.BlackHole(false)
	}
	bustest.Until(t, "a gate opens again", func() bool { return c.commander() >= 0 })
	if n := c.sim.State().Commands; n.StopsAccepted+n.Needless+n.Harmful != 0 {
		t.Errorf("in the end: %+v", n)
	}
}

// TestHandoverWhileCommandingSendsNothingTwice: the leader loses its link while it sends commands. The next leader goes on
// where it stopped (I2).
func TestHandoverWhileCommandingSendsNothingTwice(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	for _, mode := range []tcpproxy.Mode{tcpproxy.Refuse, tcpproxy.Hold} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			c := startProxiedCluster(t, 300*time.Millisecond, "policy.start_limit=2", "guard.mass_loss=0", "nats.ping_interval=1s")
			first := c.awaitConverged()
			if _, err := c.sim.Fleet.ActOnRandom(4, fleet.Kill); err != nil {
				t.Fatal(err)
			}
			bustest.Until(t, "the leader commands", func() bool { return c.sim.State().Commands.StartsAccepted >= 4 })
			c.natsProxies[first].Set(mode)
			bustest.Until(t, "another node's gate opens", func() bool { second := c.commander(); return second >= 0 && second != first })
			bustest.Until(t, "everything runs", func() bool { return c.sim.State().Converged })
			if n := c.sim.State().Commands; n.Needless+n.Harmful+n.Repeated+n.StopsAccepted != 0 || n.StartsAccepted < 8 {
				t.Errorf("in the end: %+v", n)
			}
		})
	}
}

// handsOver disturbs the leader and waits until another node commands because the leader handed over for the reason. It
// gives both nodes. On a loaded machine the leader may stall until it loses its lease; then it hands over to nobody. In
// that case handsOver mends the disturbance and tries again with the next leader.
func (c *testCluster) handsOver(reason string, disturb, mend func(i int)) (first, second int) {
	c.t.Helper()
	for range 5 {
		first = c.awaitConverged()
		before := c.handovers(first, reason)
		disturb(first)
		bustest.Until(c.t, "another node's gate opens", func() bool { second = c.commander(); return second >= 0 && second != first })
		for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(time.Millisecond) {
			if c.handovers(first, reason) > before {
				return first, second
			}
		}
		mend(first)
	}
	c.t.Fatalf("no leader handed over for the reason %s", reason)
	return 0, 0
}

// handovers counts how often a node has handed over for a reason.
func (c *testCluster) handovers(i int, reason string) (done uint64) {
	for _, t := range c.nodes[i].handover.totals() {
		if t.Reason == reason {
			done = t.Done
		}
	}
	return done
}

// hears lists how many DEAs each node hears, as node i shows it.
func (c *testCluster) hears(i int) string {
	c.t.Helper()
	var all []string
	for _, n := range c.status(i).Cluster.Nodes {
		if n.Hears == nil {
			return ""
		}
		all = append(all, fmt.Sprint(*n.Hears))
	}
	return strings.Join(all, " ")
}

func (c *testCluster) wantNoGoneDEAs(i int, cause string) {
	c.t.Helper()
	if n := c.nodes[i].cluster.View().Counts().GoneDEAs; n != 0 {
		c.t.Errorf("%s: %d DEAs are recorded as gone", cause, n)
	}
}

// relay is a NATS server of one node's own. It passes on all messages of another server, except the heartbeats of
// hidden DEAs.
type relay struct {
	server *bustest.Server
	hidden atomic.Pointer[[]string]
}

func runRelay(t *testing.T, to *bustest.Server) *relay {
	t.Helper()
	r := &relay{server: bustest.Run(t, nil)}
	connect := func(s *bustest.Server) *nats.Conn {
		nc, err := nats.Connect(s.URL(), nats.NoEcho()) // so that no message goes back to where it came from
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	there, here := connect(to), connect(r.server)
	pass := func(from, to *nats.Conn) {
		if _, err := from.Subscribe(">", func(m *nats.Msg) {
			if !r.hides(m) {
				_ = to.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}) // a lost message stays lost
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := from.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	pass(there, here)
	pass(here, there)
	return r
}

// hide hides the heartbeats of these DEAs, and of no others.
func (r *relay) hide(deas ...string) { r.hidden.Store(&deas) }

func (r *relay) hides(m *nats.Msg) bool {
	var heartbeat struct {
		DEA string `json:"dea"`
	}
	hidden := r.hidden.Load()
	return hidden != nil && m.Subject == "dea.heartbeat" && json.Unmarshal(m.Data, &heartbeat) == nil && slices.Contains(*hidden, heartbeat.DEA)
}
