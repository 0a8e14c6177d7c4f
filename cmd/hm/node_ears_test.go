package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/reconcile"
	"hm/internal/sim/fleet"
)

// TestLateLinkYields: the leader's link is up and lets through less than is said.
func TestLateLinkYields(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	l := startLinkedNodes(t, period)
	first, _ := l.handsOver(reconcile.ReasonNATSLate, func(first int) {
		if s := l.status(first); s.NATS.Lag == nil || s.NATS.LagRefused != "" {
			t.Errorf("of a link in time the status tells %+v", s.NATS)
		}
		l.proxies[first].Throttle(6_000)
		bustest.Until(t, "its gate shuts for the lag", func() bool {
			s := l.status(first)
			return slices.Contains(s.Gate.Reasons, reconcile.ReasonNATSLate) && s.NATS.Lag != nil && *s.NATS.Lag > (period/2).Seconds()
		})
		t.Logf("hm status:\n%s", l.printed(first))
	}, func(first int) { l.proxies[first].Throttle(0) })
	l.wantNoCommands("a late link")
	l.proxies[first].Throttle(0)
	bustest.Until(t, "the link is in time again", func() bool {
		s := l.status(first)
		return slices.Equal(s.Gate.Reasons, []string{reconcile.ReasonNotLeader}) || s.Gate.Open
	})
	l.wantNoCommands("a link that is in time again")
}

// TestDeafLeaderYields: the leader's route to NATS shows a part of the fleet, first most of it not, then all but one DEA.
func TestDeafLeaderYields(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 500 * time.Millisecond
	l := &linkedNodes{t: t, server: bustest.Run(t, nil)}
	var routes []*route
	for range 3 {
		routes = append(routes, runRoute(t, l.server))
	}
	l.start(period, func(i int) string { return routes[i].server.URL() })
	var deas []string
	bustest.Until(t, "all DEAs are recorded", func() bool {
		deas = deas[:0]
		for d := range l.nodes[0].node.cluster.View().DEAs() {
			deas = append(deas, d.ID)
		}
		return len(deas) == 10
	})
	first, second := l.handsOver(reconcile.ReasonDeaf, func(first int) {
		bustest.Until(t, "everyone hears all", func() bool { return l.hear(first) == "10 10 10" })
		routes[first].hide(deas[:6]...)
		bustest.Until(t, "its gate shuts", func() bool {
			return slices.Contains(l.status(first).Gate.Reasons, reconcile.ReasonDeaf) || !l.nodes[first].node.cluster.Leadership().Leader
		})
		t.Logf("hm status:\n%s", l.printed(first))
	}, func(first int) { routes[first].hide() })
	bustest.Until(t, "the status tells who hears what", func() bool {
		want := []string{"10", "10", "10"}
		want[first] = "4"
		return l.hear(second) == strings.Join(want, " ")
	})
	l.wantNoCommands("a deaf leader")
	l.wantNoneGone(second, "a deaf leader")
	text := l.printed(second)
	t.Logf("hm status:\n%s", text)
	if !strings.Contains(text, " 4 DEAs ") || !strings.Contains(text, " 10 DEAs ") {
		t.Error("it does not tell who hears what")
	}

	// The leader misses a single DEA, which shuts no gate.
	routes[first].hide()
	bustest.Until(t, "everyone hears all again", func() bool { return l.hear(second) == "10 10 10" })
	_, third := l.handsOver(reconcile.ReasonDeaf, func(leader int) { routes[leader].hide(deas[3]) }, func(leader int) { routes[leader].hide() })
	l.wantNoCommands("a leader that misses one DEA")
	l.wantNoneGone(third, "a leader that misses one DEA")

	if _, err := l.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the loss shows", func() bool { return !l.sim.State().Converged })
	bustest.Until(t, "what is lost for all is replaced", func() bool { return l.sim.State().Converged })
	if c := l.sim.State().Commands; c.StartsAccepted == 0 || c.StopsAccepted+c.Needless+c.Harmful != 0 {
		t.Errorf("after the loss of a DEA: %+v", c)
	}
}

// TestRefusedMarkerShutsNoGate: the server does not permit the messages by which the lag is measured.
func TestRefusedMarkerShutsNoGate(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	deny := func(o *server.Options) {
		no := &server.SubjectPermission{Deny: []string{"hm.>"}}
		o.Users = []*server.User{{Username: "hm", Password: "pw", Permissions: &server.Permissions{Publish: no, Subscribe: no}}, {Username: "cf", Password: "pw"}}
		o.NoAuthUser = "cf"
	}
	l := &linkedNodes{t: t, server: bustest.Run(t, deny)}
	l.start(300*time.Millisecond, func(int) string { return l.server.URL() }, "nats.username=hm", "nats.password=pw")
	leader := -1
	bustest.Until(t, "a gate opens", func() bool { leader = l.commander(); return leader >= 0 && l.sim.State().Converged })
	s := l.status(leader)
	if s.NATS.Lag != nil || !strings.Contains(s.NATS.LagRefused, `"hm.hm-`) {
		t.Errorf("the status tells %+v", s.NATS)
	}
	if text := l.printed(leader); !strings.Contains(text, "lag not known: ") {
		t.Errorf("hm status says\n%s", text)
	} else {
		t.Logf("hm status:\n%s", text)
	}
}

// handsOver spoils the leader's way to NATS, and awaits that another node commands because the leader handed over for the
// reason. It gives both. A leader that stood still for so long that it lost its lease says nothing: then its way is
// mended, and the next leader's spoiled.
func (l *linkedNodes) handsOver(reason string, spoil, mend func(i int)) (first, second int) {
	l.t.Helper()
	for range 5 {
		bustest.Until(l.t, "a gate opens", func() bool { first = l.commander(); return first >= 0 && l.sim.State().Converged })
		before := l.yields(first, reason)
		spoil(first)
		bustest.Until(l.t, "another node's gate opens", func() bool { second = l.commander(); return second >= 0 && second != first })
		for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(time.Millisecond) {
			if l.yields(first, reason) > before {
				return first, second
			}
		}
		mend(first)
	}
	l.t.Fatalf("no leader handed over for the reason %s", reason)
	return 0, 0
}

// route is a NATS server of a node's own, which shows what another has, but for the heartbeats of some DEAs.
type route struct {
	server *bustest.Server
	hidden atomic.Pointer[[]string]
}

func runRoute(t *testing.T, to *bustest.Server) *route {
	t.Helper()
	r := &route{server: bustest.Run(t, nil)}
	connect := func(s *bustest.Server) *nats.Conn {
		nc, err := nats.Connect(s.URL(), nats.NoEcho()) // so that nothing goes back where it comes from
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
				_ = to.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}) // one that is lost is lost
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
func (r *route) hide(deas ...string) { r.hidden.Store(&deas) }

func (r *route) hides(m *nats.Msg) bool {
	var said struct {
		DEA string `json:"dea"`
	}
	hidden := r.hidden.Load()
	return hidden != nil && m.Subject == "dea.heartbeat" && json.Unmarshal(m.Data, &said) == nil && slices.Contains(*hidden, said.DEA)
}

func (l *linkedNodes) status(i int) api.Status {
	l.t.Helper()
	s, _, err := l.nodes[i].client.Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// printed is what hm status shows of a node.
func (l *linkedNodes) printed(i int) string {
	l.t.Helper()
	var out bytes.Buffer
	if err := (&cli{out: &out}).printStatus(l.status(i)); err != nil {
		l.t.Fatal(err)
	}
	return out.String()
}

// hear is how many DEAs each node hears, as a node tells.
func (l *linkedNodes) hear(i int) string {
	l.t.Helper()
	var all []string
	for _, n := range l.status(i).Cluster.Nodes {
		if n.Hears == nil {
			return ""
		}
		all = append(all, fmt.Sprint(*n.Hears))
	}
	return strings.Join(all, " ")
}

// yields is how often a node handed over for a reason.
func (l *linkedNodes) yields(i int, reason string) (done uint64) {
	for _, t := range l.nodes[i].node.yields.transfers() {
		if t.Reason == reason {
			done = t.Done
		}
	}
	return done
}

func (l *linkedNodes) wantNoCommands(what string) {
	l.t.Helper()
	if c := l.sim.State().Commands; c.StartsAccepted+c.StopsAccepted+c.Needless+c.Harmful != 0 {
		l.t.Errorf("%s caused commands: %+v", what, c)
	}
}

func (l *linkedNodes) wantNoneGone(i int, what string) {
	l.t.Helper()
	if n := l.nodes[i].node.cluster.View().Counts().GoneDEAs; n != 0 {
		l.t.Errorf("%s: %d DEAs are recorded as gone", what, n)
	}
}
