package server

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/metrics"
	"hm/internal/metrics/metricstest"
	"hm/internal/tlsfiles/tlstest"
)

// TestMetricsAreThoseOfTheTable compares /metrics of running nodes with the table of metrics, both ways: name, type,
// meaning and labels. It first makes everything happen on which some metrics depend: a command that is confirmed, a hold,
// a handover, on a node in shadow mode a refused subject, and a command that is posted.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 400 * time.Millisecond
	cert, key := tlstest.New(t).Issue("node", nil)
	c := startProxiedCluster(t, period, "heartbeats.listen=127.0.0.1:0", "heartbeats.tls.cert="+cert, "heartbeats.tls.key="+key)
	leader := c.awaitConverged()
	app := c.sim.Apps(0, 1)[0]
	scaled := -1 // the node that led when the app was last scaled: on a busy machine another one may lead soon
	counted := func(i int, series string) bool {
		return strings.Contains(c.metrics(i), "\n"+series+" ") && !strings.Contains(c.metrics(i), "\n"+series+" 0\n")
	}
	bustest.Until(t, "the leader has measured a command, a heartbeat and a read", func() bool {
		if leader = c.commander(); leader < 0 {
			return false
		}
		if scaled != leader {
			scaled, app.Instances = leader, app.Instances+1
			if _, err := c.sim.CC.ScaleApp(app.GUID, app.Instances); err != nil {
				t.Fatal(err)
			}
		}
		return counted(leader, `hm_sent_to_confirmed_seconds_count{action="start"}`) &&
			counted(leader, `hm_due_to_published_seconds_count{action="start"}`) &&
			counted(leader, `hm_heard_to_recorded_seconds_count{message="heartbeat"}`) &&
			counted(leader, `hm_desired_read_seconds_count{outcome="complete"}`) &&
			counted(leader, `hm_step_seconds_count`) && counted(leader, `hm_proposal_seconds_count`) && counted(leader, `hm_apply_seconds_count`)
	})
	leader, _ = c.handsOver("nats-down", func(first int) { c.natsProxies[first].BlackHole(true); c.natsProxies[first].Cut() },
		func(first int) { c.natsProxies[first].BlackHole(false) })
	if _, _, err := c.nodes[leader].client.SetHold(t.Context(), api.HoldRequest{Name: "switches", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the node with the handover shows the hold", func() bool { return counted(leader, `hm_hold_seconds{hold="switches"}`) })

	type family struct {
		kind, help string
		labels     []string
	}
	told := map[string]family{}
	for _, text := range []string{c.metrics(leader), refusedShadowNode(t).metrics(0), postingNode(t).metrics(0)} {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range families {
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			told[name] = family{strings.ToLower(f.GetType().String()), f.GetHelp(), labels}
		}
		if out := metricstest.Promtool(t, strings.NewReader(text), "check", "metrics"); out != "" {
			t.Errorf("promtool check metrics: %s", out)
		}
	}
	for name, f := range told {
		m := metrics.Find(name)
		switch {
		case !strings.HasPrefix(name, "hm_"):
		case m == nil:
			t.Errorf("%s is exposed, and the table does not have it", name)
		case f.kind != string(m.Type) || f.help != m.Help:
			t.Errorf("%s is exposed as a %s with the help %q; the table has %s, %q", name, f.kind, f.help, m.Type, m.Help)
		case !slices.Equal(f.labels, slices.Sorted(slices.Values(m.LabelNames()))):
			t.Errorf("%s has the labels %v, the table has %v", name, f.labels, m.LabelNames())
		}
	}
	for _, m := range metrics.All() {
		if _, ok := told[m.Name]; !ok {
			t.Errorf("%s is in the table, and no node exposes it", m.Name)
		}
	}
}

// postingNode runs a node that has posted a command to the Cloud Controller.
func postingNode(t *testing.T) *testCluster {
	t.Helper()
	c := startOverHTTP(t, 1, 200*time.Millisecond)
	c.awaitConverged()
	must(t, c.sim.Fleet.CrashInstance(c.sim.Apps(0, 1)[0].GUID, 0))
	bustest.Until(t, "a command was posted", func() bool { return strings.Contains(c.metrics(0), "hm_cc_post_seconds_count{") })
	return c
}

// refusedShadowNode runs a node in shadow mode to which NATS refuses a subject, and which collectors may ask.
func refusedShadowNode(t *testing.T) *testCluster {
	t.Helper()
	srv := bustest.Run(t, func(o *server.Options) {
		no := &server.SubjectPermission{Deny: []string{"hm9000.stop"}}
		o.Users = []*server.User{{Username: "hm", Password: "hm", Permissions: &server.Permissions{Subscribe: no}}}
	})
	n := &testNode{logger: slog.New(slog.NewTextHandler(io.Discard, nil)), cfg: configOf(t, []string{
		"node.id=hm-0", "node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", bustest.FreePorts(t, 1)[0]),
		"api.listen=127.0.0.1:0", "nats.servers=" + srv.URL(), "nats.username=hm", "nats.password=hm", "desired.bulk.url=http://127.0.0.1:1",
		"policy.heartbeat_period=100ms", "commands.mode=shadow", "compat.component=HM9000", "compat.varz.listen=127.0.0.1:0",
	})}
	n.open(t)
	t.Cleanup(func() { n.close(t) })
	c := &testCluster{t: t, nodes: []*testNode{n}}
	bustest.Until(t, "the server has refused a subject", func() bool { return strings.Contains(c.metrics(0), "hm_nats_refused_total{") })
	return c
}
