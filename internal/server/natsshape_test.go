package server

import (
	"slices"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

// commandSubjects are the subjects on which hm may command.
var commandSubjects = []string{"hm9000.>", "health.>"}

// shape is a cluster in one shape of NATS. What hm has commanded is what the NATS servers have received.
type shape struct {
	*testCluster
	period  time.Duration
	servers []natsServer
	reasons map[string]bool // of all gates, as last seen by watch
}

// natsServer is a NATS server in this process or in one of its own.
type natsServer interface{ Published(...string) int }

// deas gives the simulated Cloud Foundry its NATS servers; deasApart also gives each DEA a connection of its own.
func deas(urls ...string) func(*sim.Options) {
	return func(o *sim.Options) { o.NATS = urls }
}

func deasApart(urls ...string) func(*sim.Options) {
	return func(o *sim.Options) { o.NATS, o.ConnectionPerDEA = urls, true }
}

func startShape(t *testing.T, o clusterSetup, servers ...natsServer) *shape {
	t.Helper()
	o.sets = append([]string{"nats.ping_interval=1s"}, o.sets...)
	return &shape{testCluster: startCluster(t, nil, o), period: o.period, servers: servers}
}

func (s *shape) commands() (n int) {
	for _, srv := range s.servers {
		n += srv.Published(commandSubjects...)
	}
	return n
}

func (s *shape) wantNoneSince(before int, cause string) {
	s.t.Helper()
	if n := s.commands() - before; n != 0 {
		s.t.Errorf("%s caused %d commands: %+v", cause, n, s.sim.State().Commands)
	}
}

// until waits for a condition, and meanwhile notes the reasons of the gates. It fails if a command is published.
func (s *shape) until(what string, cond func() bool) {
	s.t.Helper()
	before := s.commands()
	bustest.Until(s.t, what, func() bool {
		s.note()
		return cond()
	})
	s.wantNoneSince(before, "waiting until "+what)
}

func (s *shape) note() {
	if s.reasons == nil {
		s.reasons = map[string]bool{}
	}
	for _, n := range s.nodes {
		for _, r := range n.loop.Overview().GateReasons {
			s.reasons[r] = true
		}
	}
}

// during waits until every gate is closed, which takes a step of each loop. Then it notes the reasons for a time, and
// fails if a gate opens or a command is published.
func (s *shape) during(what string, d time.Duration) {
	s.t.Helper()
	s.until("every gate is closed while "+what, func() bool { return s.commander() < 0 })
	before := s.commands()
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Millisecond) {
		s.note()
		if n := s.commander(); n >= 0 {
			s.t.Fatalf("%s: the gate of node %d is open", what, n)
		}
	}
	s.wantNoneSince(before, what)
}

// recover waits until a gate is open, every link is up, and every node hears all DEAs. It logs the time since mended.
func (s *shape) recover(mended time.Time) {
	s.t.Helper()
	var links, open time.Duration
	s.until("every link is up", func() bool {
		return !slices.ContainsFunc(s.nodes, func(n *testNode) bool { return !n.link.State().Up })
	})
	links = time.Since(mended)
	s.until("a gate is open and everything runs", func() bool { return s.commander() >= 0 && s.sim.State().Converged })
	open = time.Since(mended)
	s.until("all nodes hear all DEAs", func() bool {
		return !slices.ContainsFunc(s.nodes, func(n *testNode) bool { return n.intake.Hearing().DEAs != 10 })
	})
	for i := range s.nodes {
		if n := s.nodes[i].cluster.View().Counts().GoneDEAs; n != 0 {
			s.t.Errorf("node %d has %d DEAs recorded as gone", i, n)
		}
	}
	s.t.Logf("after the mending: links up in %.1f heartbeats, a gate open in %.1f (%v)", float64(links)/float64(s.period), float64(open)/float64(s.period), open.Round(time.Millisecond))
}

func (s *shape) wantReasons(reasons ...string) {
	s.t.Helper()
	for _, r := range reasons {
		if !s.reasons[r] {
			s.t.Errorf("no gate had the reason %s; the reasons were %v", r, s.reasons)
		}
	}
}

// correctsDrift shows that hm still does its work: a scaled app gets its instances.
func (s *shape) correctsDrift() {
	s.t.Helper()
	app := s.sim.Apps(0, 1)[0]
	before := s.commands()
	if _, err := s.sim.CC.ScaleApp(app.GUID, app.Instances+1); err != nil {
		s.t.Fatal(err)
	}
	bustest.Until(s.t, "the scaled app has its instances", func() bool { return s.sim.State().Converged })
	if n := s.commands() - before; n != 1 {
		s.t.Errorf("%d commands were published for one missing instance", n)
	}
}

// moved reports whether every link was down since before, and is now up on the server.
func (s *shape) moved(before []bus.State, server string) bool {
	for i, now := range s.states() {
		if !now.Up || now.Outages == before[i].Outages || now.ServerName != server {
			return false
		}
	}
	return true
}

func (s *shape) states() (states []bus.State) {
	for _, n := range s.nodes {
		states = append(states, n.link.State())
	}
	return states
}

func (s *shape) natsStatus(i int) api.NATS { return s.status(i).NATS }

// down reports whether no link is up.
func (s *shape) down() bool {
	return !slices.ContainsFunc(s.nodes, func(n *testNode) bool { return n.link.State().Up })
}
