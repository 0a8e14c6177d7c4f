package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// TestNATSAbsentAtBoot: the nodes, the DEAs and the Cloud Controller run for long before there is a NATS server.
func TestNATSAbsentAtBoot(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	address, port := bustest.FreeAddress(t)
	s := startShape(t, clusterSetup{
		period: 200 * time.Millisecond, sim: deas("nats://" + address), natsURL: func(int) string { return "nats://" + address },
	})
	s.until("the nodes have a leader", func() bool { return slices.ContainsFunc(s.nodes, func(n *testNode) bool { return n.Leads() }) })
	s.during("there is no server", 10*s.period)
	s.wantReasons("nats-down", "actual-stale", "desired-stale")
	if st := s.natsStatus(0); st.Connected || !strings.Contains(st.Error, "connection refused") || st.Outages != 0 {
		t.Errorf("the status shows %+v", st)
	}
	nats := bustest.Run(t, func(o *server.Options) { o.Port = port })
	s.servers = append(s.servers, nats)
	s.recover(time.Now())
	s.correctsDrift()
}

// TestOneNodeThroughAnOutage: a cluster of one node. During the outage an app is scaled and another one deleted: both are
// carried out after it.
func TestOneNodeThroughAnOutage(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, nil)
	s := startShape(t, clusterSetup{nodes: 1, period: 200 * time.Millisecond, sim: deas(nats.URL()), natsURL: func(int) string { return nats.URL() }}, nats)
	s.awaitConverged()
	nats.Stop()
	s.until("the link is down", s.down)
	apps := s.sim.Apps(0, 2)
	if _, err := s.sim.CC.ScaleApp(apps[0].GUID, apps[0].Instances+1); err != nil {
		t.Fatal(err)
	}
	if err := s.sim.CC.DeleteApp(apps[1].GUID); err != nil {
		t.Fatal(err)
	}
	s.during("there is no server", 20*s.period)
	nats.Start(t, nil)
	back := time.Now()
	bustest.Until(t, "what was changed during the outage is carried out", func() bool { return s.sim.State().Converged })
	took := time.Since(back)
	t.Logf("carried out %.1f heartbeats after the return", float64(took)/float64(s.period))
	starts, stops := nats.Published("hm9000.start"), nats.Published("hm9000.stop")
	if starts != 1 || stops != apps[1].Instances {
		t.Errorf("%d starts and %d stops, want 1 and %d", starts, stops, apps[1].Instances)
	}
	if st := s.natsStatus(0); st.Outages != 1 || st.Error != "" {
		t.Errorf("the status shows %+v", st)
	}
}
