package server

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/sim/fleet"
	"hm/internal/tcpproxy"
)

// TestFrozenServerAndLameDuck: the only server, a process of its own, stops without closing anything, and goes on. Then it
// is told to shut down in lame duck mode, and starts again on its port.
func TestFrozenServerAndLameDuck(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.RunProcess(t, time.Second)
	s := startShape(t, clusterSetup{
		period: 200 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return nats.URL() },
	}, nats)
	s.awaitConverged()

	frozen := time.Now()
	nats.Signal(syscall.SIGSTOP)
	s.until("every link is down", s.down)
	t.Logf("noticed within %v; two pings take 2s", time.Since(frozen).Round(time.Millisecond))
	if st := s.natsStatus(0); st.Connected || !strings.HasPrefix(st.Error, nats.Address()+": ") {
		t.Errorf("the status shows %+v", st)
	}
	s.during("the server is frozen", 5*s.period)
	nats.Signal(syscall.SIGCONT)
	s.recover(time.Now())
	s.wantReasons("nats-late", "nats-down", "actual-stale")

	nats.Signal(syscall.SIGUSR2)
	s.until("every link is down", s.down)
	nats.Wait()
	s.during("there is no server", 5*s.period)
	nats.Start()
	s.recover(time.Now())
	s.correctsDrift()
}

// TestFlappingLink: all links come and go faster than a freshness window passes.
func TestFlappingLink(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, nats.Address())
	s := startShape(t, clusterSetup{
		period: 300 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return proxy.URL() },
	}, nats)
	s.awaitConverged()
	_, connected := proxy.Connections()
	lines := strings.Count(s.log.String(), "nats")
	proxy.Set(tcpproxy.Refuse)
	s.until("every link is down", s.down)
	s.until("the gate is closed", func() bool { return s.commander() < 0 })
	const flaps = 10
	for range flaps {
		proxy.Set(tcpproxy.Pass)
		s.during("the links flap", 200*time.Millisecond)
		proxy.Set(tcpproxy.Refuse)
		s.during("the links flap", 200*time.Millisecond)
	}
	_, after := proxy.Connections()
	logged := strings.Count(s.log.String(), "nats") - lines
	t.Logf("in %d flaps: %d attempts to connect by 3 nodes, %d lines about nats in their log", flaps, after-connected, logged)
	if n := after - connected; n > 3*4*flaps {
		t.Errorf("%d attempts to connect in %d flaps", n, flaps)
	}
	if logged > 3*4*flaps {
		t.Errorf("%d lines about nats in the log in %d flaps", logged, flaps)
	}
	proxy.Set(tcpproxy.Pass)
	s.recover(time.Now())
	s.wantReasons("nats-down", "actual-stale")
	s.correctsDrift()
}

// TestSlowPublishing: what the nodes send reaches NATS slowly, while a DEA is lost. The commands for it go out when the
// links are fast again, each once.
func TestSlowPublishing(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, nats.Address())
	s := startShape(t, clusterSetup{
		period: 300 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return proxy.URL() },
	}, nats)
	s.awaitConverged()
	proxy.Throttle(0, 200)
	s.until("the gate is closed", func() bool { return s.commander() < 0 })
	if _, err := s.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	lost := s.sim.State().Missing
	s.during("the links are slow", 8*s.period)
	s.wantReasons("nats-late")
	proxy.Throttle(0, 0)
	fast := time.Now()
	bustest.Until(t, "the lost instances are replaced", func() bool { return s.sim.State().Converged })
	t.Logf("replaced %d instances %v after the links were fast again", lost, time.Since(fast).Round(time.Millisecond))
	if n := s.commands(); n != lost {
		t.Errorf("%d commands for %d lost instances", n, lost)
	}
	s.until("the links are in time", func() bool {
		return !slices.ContainsFunc(s.nodes, func(n *testNode) bool { return n.marker.Lag().Time > s.period/2 })
	})
}
