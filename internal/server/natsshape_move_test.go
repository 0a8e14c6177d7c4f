package server

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/tcpproxy"
)

// TestHotWarmPair: one address moves from the hot server to the warm one. The DEAs move at their own times, some of them
// long after the nodes.
func TestHotWarmPair(t *testing.T) {
	takesSeconds(t)
	for name, halfOpen := range map[string]bool{"old connections are cut": false, "old connections stay half-open": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const period = 200 * time.Millisecond
			hot, warm := bustest.Run(t, nil), bustest.Run(t, nil)
			forNodes, forDEAs := bustest.RunProxy(t, hot.Address()), bustest.RunProxy(t, hot.Address())
			s := startShape(t, clusterSetup{
				period: period, sim: deasApart(forDEAs.URL()), natsURL: func(int) string { return forNodes.URL() },
			}, hot, warm)
			s.awaitConverged()
			clients := hot.NumClients()
			before := s.states()
			first := s.natsStatus(0)

			forNodes.SwitchTo(warm.Address())
			forDEAs.SwitchTo(warm.Address())
			forDEAs.Strand()
			moved := time.Now()
			if halfOpen {
				forNodes.Strand()
			} else {
				forNodes.Cut()
			}
			s.until("the links have moved", func() bool { return s.moved(before, warm.Name()) })
			t.Logf("the links moved within %v", time.Since(moved).Round(time.Millisecond))
			s.until("the gate is closed", func() bool { return s.commander() < 0 })
			s.during("no DEA has moved", 4*period)
			// The DEAs move one by one. For all of them together this takes longer than a time to live.
			// Meanwhile a gate may open, for the DEAs that have moved.
			for old, _ := forDEAs.Connections(); old > 0; old-- {
				forDEAs.CutOne()
				began := time.Now()
				s.until("it is the next DEA's turn", func() bool { return time.Since(began) > period })
			}
			s.recover(moved)
			s.wantReasons("actual-stale")
			if now := s.natsStatus(0); now.Outages == first.Outages || now.Server != first.Server || now.ServerName != warm.Name() {
				t.Errorf("the status shows %+v, before the move %+v", now, first)
			}
			s.until("no connection is left over", func() bool { return warm.NumClients() == clients })
			s.correctsDrift()
		})
	}
}

// TestNATSClusterLosesAServer: the server of every node is lost, and later comes back on its port. Then the next one is
// restarted.
func TestNATSClusterLosesAServer(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	servers, _ := bustest.RunCluster(t, 3, nil)
	all := []string{servers[0].URL(), servers[1].URL(), servers[2].URL()}
	s := startShape(t, clusterSetup{
		// A DEA may connect to a server that has no route yet: servers try their routes once a second.
		period: 500 * time.Millisecond, sim: deasApart(all...), natsURL: func(int) string { return strings.Join(all, ",") },
	}, servers[0], servers[1], servers[2])
	s.awaitConverged()
	before := s.states()
	lost := time.Now()
	servers[0].Stop()
	s.until("the links have moved to the next server", func() bool { return s.moved(before, "nats-1") })
	t.Logf("the links moved within %v", time.Since(lost).Round(time.Millisecond))
	s.recover(lost)
	servers[0].Start(t, nil)
	bustest.AwaitRoutes(t, servers...)
	before = s.states()
	lost = time.Now()
	servers[1].Restart(t, nil)
	s.until("the links have moved to the third server", func() bool { return s.moved(before, "nats-2") })
	bustest.AwaitRoutes(t, servers...)
	s.recover(lost)
	s.wantReasons("actual-stale")
	s.correctsDrift()
}

// TestPartitionBetweenNATSServers: the route between two servers is cut, so that each node hears a part of the DEAs.
func TestPartitionBetweenNATSServers(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	servers, routes := bustest.RunCluster(t, 2, nil)
	s := startShape(t, clusterSetup{
		period: 300 * time.Millisecond, sim: deasApart(servers[0].URL(), servers[1].URL()),
		natsURL: func(i int) string { return servers[min(i, 1)].URL() },
	}, servers[0], servers[1])
	s.awaitConverged()
	for _, r := range routes {
		r.Set(tcpproxy.Refuse)
	}
	s.until("each node hears what its server does", func() bool {
		return s.nodes[0].intake.Hearing().DEAs+s.nodes[1].intake.Hearing().DEAs == 10
	})
	apart := s.nodes[0].intake.Hearing().DEAs
	t.Logf("one server has %d of 10 DEAs", apart)
	began := time.Now()
	s.until("the partition has lasted longer than all times to live", func() bool { return time.Since(began) > 12*s.period })
	if apart > 1 && apart < 9 { // enough on either side
		s.until("a leader knows that it is deaf", func() bool { return s.reasons["deaf"] })
	}
	for _, r := range routes {
		r.Set(tcpproxy.Pass)
	}
	mended := time.Now()
	bustest.AwaitRoutes(t, servers...)
	s.recover(mended)
	s.correctsDrift()
}

// TestLameDuckInACluster: the server of every node shuts down in lame duck mode. The links move to the other one before
// that, without a gap.
func TestLameDuckInACluster(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	servers, _ := bustest.RunCluster(t, 2, nil)
	all := []string{servers[0].URL(), servers[1].URL()}
	s := startShape(t, clusterSetup{
		period: 300 * time.Millisecond, sim: deasApart(all...), natsURL: func(int) string { return strings.Join(all, ",") },
	}, servers[0], servers[1])
	s.awaitConverged()
	before := s.states()
	told := time.Now()
	down := make(chan struct{})
	go func() { servers[0].LameDuckShutdown(); close(down) }()
	s.until("every link has moved", func() bool {
		return !slices.ContainsFunc(s.nodes, func(n *testNode) bool { return n.link.State().Moves == 0 })
	})
	t.Logf("moved %v after the server said that it shuts down", time.Since(told).Round(time.Millisecond))
	s.until("the server has shut down", func() bool {
		select {
		case <-down:
			return true
		default:
			return false
		}
	})
	s.recover(time.Now())
	for i, now := range s.states() {
		// On a busy machine pings may fail, which is an outage for another reason.
		if b := before[i]; now.Outages == b.Outages && now.Epoch != b.Epoch || now.ServerName != "nats-1" {
			t.Errorf("node %d: the link is %+v, was %+v", i, now, b)
		}
	}
	if st := s.natsStatus(0); st.Moves == 0 || st.Server != servers[1].Address() {
		t.Errorf("the status shows %+v", st)
	}
	s.correctsDrift()
}

// TestDEAsOfALostServerStaySilent: a NATS server is lost so that its clients do not notice, as when its machine loses
// power. The DEAs on it are silent for hm, whose own links are on another server, until their clients' pings fail. With
// guard.mass_loss below the share of one server hm holds until they are back.
func TestDEAsOfALostServerStaySilent(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	servers, _ := bustest.RunCluster(t, 2, nil)
	var ways []*bustest.Proxy
	var urls []string
	for range 3 {
		ways = append(ways, bustest.RunProxy(t, servers[1].Address()))
		urls = append(urls, ways[len(ways)-1].URL())
	}
	s := startShape(t, clusterSetup{
		period: 300 * time.Millisecond, sim: deasApart(urls...), natsURL: func(int) string { return servers[0].URL() },
		sets: []string{"guard.mass_loss=0.2"},
	}, servers[0], servers[1])
	s.awaitConverged()
	lost := slices.MaxFunc(ways, func(a, b *bustest.Proxy) int {
		n, _ := a.Connections()
		m, _ := b.Connections()
		return cmp.Compare(n, m)
	})
	silent, _ := lost.Connections() // at least 4 of 11, of which one may be the Cloud Controller's
	lost.Strand()
	s.until("hm holds", func() bool { return s.reasons["hold:mass-loss"] })
	began := time.Now()
	s.until("some time passes", func() bool { return time.Since(began) > 3*s.period })
	for range silent { // their clients notice, one after another
		lost.CutOne()
	}
	back := time.Now()
	s.until("the hold is over and everything runs", func() bool { return s.commander() >= 0 && s.sim.State().Converged })
	t.Logf("%d connections were silent; the gate opened %v after they were back", silent, time.Since(back).Round(time.Millisecond))
	s.correctsDrift()
}
