package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/journal"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

// startBesideHM9000 starts a cluster in shadow mode. A simulated HM9000 corrects all drift. Every command that is
// published goes into sent.
func startBesideHM9000(t *testing.T, setup clusterSetup) (c *testCluster, sent chan *nats.Msg) {
	t.Helper()
	srv := bustest.Run(t, nil)
	sent = make(chan *nats.Msg, 10_000)
	nc := bustest.Client(t, srv.URL())
	for _, subject := range []string{"hm9000.>", "health.>"} {
		if _, err := nc.ChanSubscribe(subject, sent); err != nil {
			t.Fatal(err)
		}
	}
	setup.sets = append(setup.sets, "commands.mode=shadow")
	setup.sim = func(o *sim.Options) { o.Apps, o.DEAs, o.StartDelay, o.HM9000 = 60, 12, setup.startDelay, true }
	c = startCluster(t, srv, setup)
	var calm time.Time // since when all is well
	bustest.Until(t, "for 3 heartbeats every node listens, and some leader is in shadow mode and would command", func() bool {
		stats := c.sim.Neighbour().Stats
		if c.shadowLeader() < 0 || !c.sim.State().Converged || stats.Passes == stats.NotFresh {
			calm = time.Time{}
			return false
		}
		if calm.IsZero() {
			calm = time.Now()
		}
		return time.Since(calm) >= 3*setup.period
	})
	return c, sent
}

// shadowLeader gives the number of the node that leads and would command, if it were not in shadow mode. It is -1 if there
// is none, or if any node does not hear the other.
func (c *testCluster) shadowLeader() int {
	if slices.ContainsFunc(c.nodes, func(n *testNode) bool { return !n.other.kept.Hearing().Now }) {
		return -1
	}
	return slices.IndexFunc(c.nodes, func(n *testNode) bool {
		return n.Leads() && slices.Equal(n.loop.Overview().GateReasons, []string{"shadow"})
	})
}

func (c *testCluster) compare(i int) api.Comparison {
	c.t.Helper()
	v, _, err := c.nodes[i].client.Compare(c.t.Context(), "1h", "", 10_000)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// caused is something that both health managers should notice.
type caused struct {
	action string
	app    app.GUID
	index  int        // of a start
	stops  []app.GUID // of a stop: one of these instances
	reason string
}

// seen says how a comparison tells of it: the class of its item, or nothing if that may become another one.
func (d caused) seen(v api.Comparison) string {
	for _, x := range v.Items {
		same := x.Action == d.action && x.App == d.app.String()
		if d.action == "start" {
			same = same && x.Index == d.index
		} else {
			same = same && slices.ContainsFunc(d.stops, func(g app.GUID) bool { return x.Instance == g.String() })
		}
		if !same {
			continue
		}
		if x.Class == "both" && (x.Reason != d.reason || x.Rule == "" || x.HM.State == "claimed" || x.HM.State == "expired") {
			continue // another decision, or one that has not ended yet
		}
		if x.Class == "unknown" && x.HM != nil && v.Until.Sub(x.HM.At.Time).Milliseconds() < v.WindowMS {
			return "" // the other may follow
		}
		if x.Class == "open" && len(x.HeldBy) > 0 {
			return "only-other" // it has done what was to do while hm held
		}
		if x.Class == "open" {
			return ""
		}
		return x.Class
	}
	return ""
}

// driftMaker makes drift of apps that nothing else has happened to.
type driftMaker struct {
	c    *testCluster
	used map[app.GUID]bool
}

// next takes the app that comes first in an order. It must not run on a DEA of those that are spared, if it can be helped.
func (m *driftMaker) next(order func(a, b sim.AppView) int, spared map[string]bool) sim.AppView {
	m.c.t.Helper()
	fit := slices.DeleteFunc(m.c.sim.Apps(0, 100), func(a sim.AppView) bool {
		return m.used[a.GUID] || !a.Settled || len(a.Running) == 0
	})
	if len(fit) == 0 {
		m.c.t.Fatal("there is no app left to make drift of")
	}
	slices.SortStableFunc(fit, func(a, b sim.AppView) int {
		switch x, y := spared[a.Running[0].DEA], spared[b.Running[0].DEA]; {
		case x == y:
			return order(a, b)
		case x:
			return 1
		}
		return -1
	})
	m.used[fit[0].GUID] = true
	return fit[0]
}

func anyOrder(a, b sim.AppView) int { return 0 }

func (m *driftMaker) must(err error) {
	m.c.t.Helper()
	if err != nil {
		m.c.t.Fatal(err)
	}
}

func (m *driftMaker) crash() []caused {
	a := m.next(anyOrder, nil)
	m.must(m.c.sim.Fleet.CrashInstance(a.GUID, 0))
	return []caused{{action: "start", app: a.GUID, reason: "CRASHED"}}
}

func (m *driftMaker) scaleUp() []caused {
	a := m.next(anyOrder, nil)
	_, err := m.c.sim.CC.ScaleApp(a.GUID, a.Instances+1)
	m.must(err)
	return []caused{{action: "start", app: a.GUID, index: a.Instances, reason: "MISSING"}}
}

func (m *driftMaker) remove() []caused {
	a := m.next(anyOrder, nil)
	m.must(m.c.sim.CC.DeleteApp(a.GUID))
	return []caused{{action: "stop", app: a.GUID, stops: []app.GUID{a.Running[0].GUID}, reason: "EXTRA"}}
}

// loseDEA kills the DEA of an app's instance. It spares the apps that something else has happened to.
func (m *driftMaker) loseDEA() []caused {
	spared := map[string]bool{}
	for _, a := range m.c.sim.Apps(0, 100) {
		for _, in := range a.Running {
			spared[in.DEA] = spared[in.DEA] || m.used[a.GUID]
		}
	}
	a := m.next(anyOrder, spared)
	m.must(m.c.sim.Fleet.Kill(a.Running[0].DEA))
	return []caused{{action: "start", app: a.GUID, index: int(a.Running[0].Index), reason: "MISSING"}}
}

// double starts an instance again, on another DEA. hm stops the copy, since it was heard last. HM9000 stops the one with the
// lower GUID. The instance with the highest GUID is taken, and another one if its copy has a higher one still.
func (m *driftMaker) double() []caused {
	t := m.c.t
	a := m.next(func(a, b sim.AppView) int { return b.Running[0].GUID.Compare(a.Running[0].GUID) }, nil)
	one := a.Running[0]
	deas := m.c.sim.Fleet.DEAs(0, 100)
	other := slices.IndexFunc(deas, func(d fleet.DEA) bool { return d.ID != one.DEA && d.Status == "serving" })
	m.must(bustest.Client(t, m.c.nats.URL()).Publish(wire.SubjectDEAStart(deas[other].ID), wire.MustJSON(wire.Start{
		Partition: "default", Droplet: a.GUID, Version: a.Version, Index: one.Index, Limits: wire.Limits{Memory: 1, Disk: 1, Files: 1},
	})))
	var copies []app.GUID
	agree := true // hm and HM9000, on the one that goes
	bustest.Until(t, "an instance has a copy", func() bool {
		v, err := m.c.sim.App(a.GUID)
		m.must(err)
		copies, agree = nil, true
		for _, in := range v.Running {
			if in.Index == one.Index {
				copies = append(copies, in.GUID)
				agree = agree && in.GUID.Compare(one.GUID) <= 0
			}
		}
		return len(copies) == 2
	})
	if !agree {
		return m.double()
	}
	return []caused{{action: "stop", app: a.GUID, stops: copies, reason: "DUPLICATE"}}
}

// maxAttempts is how often a kind of drift is made. On a busy machine messages may be late by a heartbeat: then hm holds, or
// HM9000 believes that DEAs are gone, and the two rightly differ.
const maxAttempts = 6

// driftKind is a kind of drift that both health managers should notice.
type driftKind struct {
	name     string
	cause    func() []caused
	made     []caused // nil: it is to be made
	attempts int
}

// agreement makes kinds of drift until hm and the other have issued the same commands for each of them.
type agreement struct {
	c     *testCluster
	kinds []driftKind
	last  api.Comparison
}

func (m *driftMaker) agreement(kinds []driftKind) *agreement {
	a := &agreement{c: m.c, kinds: kinds}
	m.c.t.Cleanup(func() {
		if m.c.t.Failed() {
			m.c.t.Logf("the last comparison: %s, %+v, %+v\n%s", a.last.Verdict, a.last.Summary, a.last.Listening, described(a.last, app.GUID{}))
		}
	})
	return a
}

// await waits until a node tells that both issued all that was to do. A negative node is the one that leads. On a busy
// machine drift is made again and again, each time for ten seconds: the attempts end it, not the time.
func (a *agreement) await(node int) {
	a.c.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !a.reached(node); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.c.t.Fatalf("gave up waiting until both issued all that was to do, as node %d tells it", node)
		}
	}
}

// reached makes the drift that is to be made, once hm would command. It reports whether a node tells that both issued all
// that was to do.
func (a *agreement) reached(node int) bool {
	a.c.t.Helper()
	leader := a.c.shadowLeader()
	if node < 0 {
		node = leader
	}
	if node < 0 {
		return false
	}
	a.last = a.c.compare(node)
	all := true
	for i := range a.kinds {
		k := &a.kinds[i]
		if k.made == nil {
			all = false
			if leader >= 0 {
				k.made = k.cause()
			}
			continue
		}
		for _, d := range k.made {
			switch class := d.seen(a.last); class {
			case "both", "hindsight":
			case "":
				all = false
			default:
				all = false
				if k.attempts++; k.attempts == maxAttempts {
					a.c.t.Fatalf("%s is %s, %d times", k.name, class, maxAttempts)
				}
				a.c.t.Logf("%s was %s: once more\n%s", k.name, class, described(a.last, d.app))
				k.made = nil
			}
		}
	}
	return all
}

// TestShadowAgreesWithHM9000: crashes, the loss of a DEA, scaling, a deletion and a duplicate, beside a simulated HM9000
// that commands: hm decides the same, publishes nothing, and each of its decisions ends with the other's effect. Every
// node tells that, one that was restarted, too.
func TestShadowAgreesWithHM9000(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c, sent := startBesideHM9000(t, clusterSetup{period: 300 * time.Millisecond})
	m := &driftMaker{c: c, used: map[app.GUID]bool{}}
	a := m.agreement([]driftKind{
		{name: "a crash", cause: m.crash}, {name: "a scale-up", cause: m.scaleUp}, {name: "a deletion", cause: m.remove},
		{name: "a duplicate", cause: m.double}, {name: "a lost DEA", cause: m.loseDEA},
	})
	a.await(-1)
	t.Log(a.last.Verdict)
	for i := range c.nodes {
		a.await(i)
	}

	// A restart loses nothing of what the node heard, and says when it heard nothing. Each node pairs the commands by its own
	// gate, so another node's count says nothing of this one's.
	follower := slices.IndexFunc(c.nodes, func(n *testNode) bool { return !n.Leads() })
	// While a command may still be answered, the restart would be a gap in which the answer is missed.
	bustest.Until(t, "everything is old enough to tell", func() bool { return c.compare(follower).Summary.Open == 0 })
	both := c.compare(follower).Summary.Both
	c.nodes[follower].close(t)
	c.nodes[follower].open(t)
	bustest.Until(t, "the restarted node knows what it has heard", func() bool {
		a.last = c.compare(follower)
		return a.last.Summary.Both >= both && a.last.Listening.Now &&
			slices.ContainsFunc(a.last.Listening.Gaps, func(g api.ListeningGap) bool { return g.Why == "closed" && !g.Until.IsZero() })
	})
	c.wantOnlyHM9000(sent)
	nc := bustest.Client(t, c.nats.URL())
	for _, subject := range []string{"app.state", "app.state.bulk", "healthmanager.status", "healthmanager.health", "healthmanager.droplet"} {
		if m, err := nc.Request(subject, []byte(`{}`), 10*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("hm answers %s in shadow mode: %v, %v", subject, m, err)
		}
	}
}

// TestShadowTellsWhatAHoldHeld: more than half of what runs is lost, which hm holds and HM9000 does not. That is only by the
// other, with hm's reason.
func TestShadowTellsWhatAHoldHeld(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	// Without stop_yield a comparison waits for 24 heartbeats, not for 30, until it says that only one side commanded.
	c, sent := startBesideHM9000(t, clusterSetup{
		nodes: 1, period: 300 * time.Millisecond, sets: []string{"policy.stop_yield=0"},
	})
	up := c.sim.State().DEAs
	if _, err := c.sim.Fleet.ActOnRandom(up-up/4, fleet.Pause); err != nil {
		t.Fatal(err)
	}
	var last api.Comparison
	bustest.Until(t, "the other starts what hm holds", func() bool {
		last = c.compare(0)
		return slices.ContainsFunc(last.Items, func(x api.ComparedCommand) bool {
			return x.Class == "only-other" && slices.Contains(x.HeldBy, "hold:mass-loss") && strings.Contains(x.Why, "hold:mass-loss")
		})
	})
	t.Logf("after the loss of most DEAs: %s", last.Verdict)
	if last.Summary.Agree || last.Summary.Held == 0 {
		t.Errorf("the summary is %+v", last.Summary)
	}
	for _, x := range last.Items {
		if x.Class == "only-other" && x.Why == "" {
			t.Errorf("there is no reason for %+v", x)
		}
	}
	c.wantOnlyHM9000(sent)
}

// wantOnlyHM9000 fails the test if any command that was published is not one of HM9000's: hm's ids are UUIDs of version 8,
// and HM9000's of version 4.
func (c *testCluster) wantOnlyHM9000(sent chan *nats.Msg) {
	c.t.Helper()
	if len(sent) == 0 {
		c.t.Error("nothing was published")
	}
	for len(sent) > 0 {
		m := <-sent
		_, id, _ := strings.Cut(string(m.Data), `"message_id":"`)
		if len(id) < 36 || id[14] != '4' || strings.HasPrefix(m.Subject, "health.") {
			c.t.Errorf("hm published in shadow mode: %s %s", m.Subject, m.Data)
		}
	}
}

// described gives the items of one app, or of all.
func described(v api.Comparison, of app.GUID) string {
	var b strings.Builder
	for _, x := range v.Items {
		if of != (app.GUID{}) && x.App != of.String() {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s %.8s/%d %.8s rule %s", x.Class, x.Action, x.Reason, x.App, x.Index, x.Instance, x.Rule)
		if x.HM != nil {
			fmt.Fprintf(&b, " hm %s %s", x.HM.At, x.HM.State)
		}
		if x.Other != nil {
			fmt.Fprintf(&b, " other %s", x.Other.At)
		}
		fmt.Fprintf(&b, " %s\n", x.Why)
	}
	return b.String()
}

// TestARefusedSubjectIsTold: NATS refuses the commands' subjects to a node in shadow mode. The node says so where it says
// it of other subjects, and a comparison is not certain.
func TestARefusedSubjectIsTold(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := refusedShadowNode(t)
	n := c.nodes[0]
	bustest.Until(t, "the comparison says that the other is not heard", func() bool {
		l := c.compare(0).Listening
		return l.Shadow && !l.Now && l.Reason == "nats-refused" && l.Since.IsZero()
	})
	if s := c.status(0); !slices.ContainsFunc(s.NATS.Refused, func(r api.NATSRefusal) bool { return r.Action == "subscribe" && r.Subject == "hm9000.stop" }) {
		t.Errorf("the status does not name the subject: %+v", s.NATS)
	}
	if v := c.compare(0); v.Told() {
		t.Errorf("the comparison is certain: %+v", v)
	}
	events, _, err := n.journal.Events(t.Context(), journal.Query{Kinds: []string{"listening"}})
	if err != nil || len(events) != 0 {
		t.Errorf("the journal says that it listened: %+v, %v", events, err)
	}
}
