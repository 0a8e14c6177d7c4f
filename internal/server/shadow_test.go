package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/journal"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

// shadowPeriod is the heartbeat period of a cluster beside a simulated HM9000.
const shadowPeriod = 100 * time.Millisecond

// startBesideHM9000 starts a cluster in shadow mode. A simulated HM9000 corrects all drift. Every command that is
// published goes into sent.
func startBesideHM9000(t *testing.T) (c *testCluster, sent chan *nats.Msg) {
	t.Helper()
	srv := bustest.Run(t, nil)
	sent = make(chan *nats.Msg, 10_000)
	nc := bustest.Client(t, srv.URL())
	for _, subject := range []string{"hm9000.>", "health.>"} {
		if _, err := nc.ChanSubscribe(subject, sent); err != nil {
			t.Fatal(err)
		}
	}
	c = startCluster(t, srv, clusterSetup{period: shadowPeriod, sets: []string{"commands.mode=shadow"}, sim: func(o *sim.Options) {
		o.Apps, o.DEAs, o.HM9000 = 60, 12, true
	}})
	bustest.Until(t, "every node listens, and some leader is in shadow mode", func() bool {
		for i := range c.nodes {
			if h := c.nodes[i].other.kept.Hearing(); !h.Now {
				return false
			}
		}
		return slices.ContainsFunc(c.nodes, func(n *testNode) bool {
			return n.Leads() && slices.Equal(n.loop.Overview().GateReasons, []string{"shadow"})
		}) && c.sim.State().Converged && c.sim.Neighbour().Stats.Passes > c.sim.Neighbour().Stats.NotFresh
	})
	return c, sent
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

// seen says how a comparison tells of it: the class of its item, or nothing.
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
		return x.Class
	}
	return ""
}

// driftMaker makes drift of apps that nothing else has happened to.
type driftMaker struct {
	c    *testCluster
	used map[app.GUID]bool
}

func (m *driftMaker) next() sim.AppView {
	m.c.t.Helper()
	for _, a := range m.c.sim.Apps(0, 100) {
		if !m.used[a.GUID] && a.Settled && len(a.Running) > 0 {
			m.used[a.GUID] = true
			return a
		}
	}
	m.c.t.Fatal("there is no app left to make drift of")
	return sim.AppView{}
}

func (m *driftMaker) must(err error) {
	m.c.t.Helper()
	if err != nil {
		m.c.t.Fatal(err)
	}
}

func (m *driftMaker) crash() []caused {
	a := m.next()
	m.must(m.c.sim.Fleet.CrashInstance(a.GUID, 0))
	return []caused{{action: "start", app: a.GUID, reason: "CRASHED"}}
}

func (m *driftMaker) scaleUp() []caused {
	a := m.next()
	_, err := m.c.sim.CC.ScaleApp(a.GUID, a.Instances+1)
	m.must(err)
	return []caused{{action: "start", app: a.GUID, index: a.Instances, reason: "MISSING"}}
}

func (m *driftMaker) remove() []caused {
	a := m.next()
	m.must(m.c.sim.CC.DeleteApp(a.GUID))
	return []caused{{action: "stop", app: a.GUID, stops: []app.GUID{a.Running[0].GUID}, reason: "EXTRA"}}
}

// loseDEA kills the DEA of an app's instance.
func (m *driftMaker) loseDEA() []caused {
	a := m.next()
	m.must(m.c.sim.Fleet.Kill(a.Running[0].DEA))
	return []caused{{action: "start", app: a.GUID, index: int(a.Running[0].Index), reason: "MISSING"}}
}

// double starts an instance again, on another DEA.
func (m *driftMaker) double() []caused {
	t := m.c.t
	a := m.next()
	one := a.Running[0]
	deas := m.c.sim.Fleet.DEAs(0, 100)
	other := slices.IndexFunc(deas, func(d fleet.DEA) bool { return d.ID != one.DEA && d.Status == "serving" })
	m.must(bustest.Client(t, m.c.nats.URL()).Publish(wire.SubjectDEAStart(deas[other].ID), wire.MustJSON(wire.Start{
		Partition: "default", Droplet: a.GUID, Version: a.Version, Index: one.Index, Limits: wire.Limits{Memory: 1, Disk: 1, Files: 1},
	})))
	var copies []app.GUID
	bustest.Until(t, "an instance has a copy", func() bool {
		v, err := m.c.sim.App(a.GUID)
		m.must(err)
		copies = nil
		for _, in := range v.Running {
			if in.Index == one.Index {
				copies = append(copies, in.GUID)
			}
		}
		return len(copies) == 2
	})
	return []caused{{action: "stop", app: a.GUID, stops: copies, reason: "DUPLICATE"}}
}

// maxAttempts is how often a kind of drift is made. On a busy machine a heartbeat of 100 ms may be late: then hm holds, or
// HM9000 believes that DEAs are gone, and the two rightly differ.
const maxAttempts = 6

// TestShadowAgreesWithHM9000: crashes, the loss of a DEA, scaling, a deletion and a duplicate, beside a simulated HM9000
// that commands: hm decides the same, publishes nothing, and each of its decisions ends with the other's effect. Every
// node tells that, one that was restarted, too. Then more than half of what runs is lost, which hm holds and HM9000 does
// not: that is only by the other, with hm's reason.
func TestShadowAgreesWithHM9000(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c, sent := startBesideHM9000(t)
	m := &driftMaker{c: c, used: map[app.GUID]bool{}}
	kinds := []struct {
		name  string
		cause func() []caused
	}{{"a crash", m.crash}, {"a scale-up", m.scaleUp}, {"a deletion", m.remove}, {"a duplicate", m.double}, {"a lost DEA", m.loseDEA}}
	var last api.Comparison
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last comparison: %s\n%s", last.Verdict, described(last))
		}
	})
	drifts := make([][]caused, len(kinds))
	for i, k := range kinds {
		drifts[i] = k.cause()
	}
	attempts := make([]int, len(kinds))
	agreed := func(v api.Comparison) bool {
		last = v
		all := true
		for i, k := range kinds {
			for _, d := range drifts[i] {
				switch class := d.seen(v); class {
				case "both", "hindsight":
				case "", "open":
					all = false
				default:
					all = false
					if attempts[i]++; attempts[i] == maxAttempts {
						t.Fatalf("%s is %s, %d times", k.name, class, maxAttempts)
					}
					t.Logf("%s was %s: once more", k.name, class)
					drifts[i] = k.cause()
				}
			}
		}
		return all
	}
	bustest.Until(t, "both issued all that was to do", func() bool { return agreed(c.compare(0)) })
	t.Log(last.Verdict)
	for i := range c.nodes {
		bustest.Until(t, "every node tells the same", func() bool { return agreed(c.compare(i)) })
	}
	both := last.Summary.Both

	// A restart loses nothing of what the node heard, and says when it heard nothing.
	follower := slices.IndexFunc(c.nodes, func(n *testNode) bool { return !n.Leads() })
	c.nodes[follower].close(t)
	c.nodes[follower].open(t)
	bustest.Until(t, "the restarted node knows what it has heard", func() bool {
		last = c.compare(follower)
		return last.Summary.Both >= both && last.Listening.Now &&
			slices.ContainsFunc(last.Listening.Gaps, func(g api.ListeningGap) bool { return g.Why == "closed" && !g.Until.IsZero() })
	})

	up := c.sim.State().DEAs
	if _, err := c.sim.Fleet.ActOnRandom(up-up/4, fleet.Pause); err != nil {
		t.Fatal(err)
	}
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
	nc := bustest.Client(t, c.nats.URL())
	for _, subject := range []string{"app.state", "app.state.bulk"} {
		if m, err := nc.Request(subject, []byte(`{}`), 10*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("hm answers %s in shadow mode: %v, %v", subject, m, err)
		}
	}
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

func described(v api.Comparison) string {
	var b strings.Builder
	for _, x := range v.Items {
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
	srv := bustest.Run(t, func(o *server.Options) {
		no := &server.SubjectPermission{Deny: []string{"hm9000.stop"}}
		o.Users = []*server.User{{Username: "hm", Password: "hm", Permissions: &server.Permissions{Subscribe: no}}}
	})
	n := &testNode{logger: slog.New(slog.NewTextHandler(io.Discard, nil)), cfg: configOf(t, []string{
		"node.id=hm-0", "node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", bustest.FreePorts(t, 1)[0]),
		"api.listen=127.0.0.1:0", "nats.servers=" + srv.URL(), "nats.username=hm", "nats.password=hm", "desired.bulk.url=http://127.0.0.1:1",
		"policy.heartbeat_period=100ms", "commands.mode=shadow",
	})}
	n.open(t)
	defer n.close(t)
	c := &testCluster{t: t, nodes: []*testNode{n}}
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
