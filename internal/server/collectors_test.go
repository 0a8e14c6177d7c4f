package server

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
)

// componentAnswer is what a node says of itself to collectors.
type componentAnswer struct {
	Type        string    `json:"type"`
	Index       int       `json:"index"`
	UUID        string    `json:"uuid"`
	Host        string    `json:"host"`
	Credentials [2]string `json:"credentials"`
}

// discover asks for components until so many have answered, and gives them by index.
func discover(t *testing.T, url string, want int) []componentAnswer {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var found []componentAnswer
	bustest.Until(t, fmt.Sprintf("%d components answer", want), func() bool {
		found = nil
		answers, err := nc.SubscribeSync(nats.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answers.Unsubscribe() }()
		if err := nc.PublishRequest("vcap.component.discover", answers.Subject, nil); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := answers.NextMsg(200 * time.Millisecond)
			if err != nil {
				return len(found) == want
			}
			var c componentAnswer
			if err := json.Unmarshal(m.Data, &c); err != nil {
				t.Fatalf("%s: %v", m.Data, err)
			}
			found = append(found, c)
		}
	})
	slices.SortFunc(found, func(a, b componentAnswer) int { return a.Index - b.Index })
	return found
}

// varz reads /varz of a component. It does so in no haste: an answer stays the same for a second.
func (c componentAnswer) varz(t *testing.T) map[string]any {
	t.Helper()
	time.Sleep(50 * time.Millisecond)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+c.Host+"/varz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(c.Credentials[0], c.Credentials[1])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v: %s", resp.StatusCode, err, body)
	}
	var varz map[string]any
	if err := json.Unmarshal(body, &varz); err != nil {
		t.Fatal(err)
	}
	return varz
}

// hm9000Metrics reads the metrics of HM9000's varz by name.
func (c componentAnswer) hm9000Metrics(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := json.Marshal(c.varz(t)["contexts"])
	if err != nil {
		t.Fatal(err)
	}
	var contexts []struct {
		Name    string
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	if err := json.Unmarshal(text, &contexts); err != nil || len(contexts) != 1 || contexts[0].Name != "HM9000" {
		t.Fatalf("%s: %v", text, err)
	}
	got := map[string]float64{}
	for _, m := range contexts[0].Metrics {
		got[m.Name] = m.Value
	}
	return got
}

// TestHM9000Component: each node of a cluster is a component with the numbers of the simulated fleet. A node that NATS
// does not reach any more knows nothing (M11); the others do.
func TestHM9000Component(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startProxiedCluster(t, 500*time.Millisecond, "compat.component=HM9000", "compat.varz.listen=127.0.0.1:0")
	c.awaitConverged()
	nodes := discover(t, c.nats.URL(), 3)
	fleet := c.sim.State()
	apps, instances := float64(fleet.AppsWanted), float64(fleet.Desired)
	want := map[string]float64{
		"NumberOfAppsWithAllInstancesReporting": apps, "NumberOfAppsWithMissingInstances": 0, "NumberOfUndesiredRunningApps": 0,
		"NumberOfRunningInstances": instances, "NumberOfMissingIndices": 0, "NumberOfCrashedInstances": 0, "NumberOfCrashedIndices": 0,
		"NumberOfDesiredApps": apps, "NumberOfDesiredInstances": instances, "NumberOfDesiredAppsPendingStaging": 0,
	}
	for _, node := range nodes {
		awaitMetrics(t, node, want)
	}
	if nodes[0].Index != 0 || nodes[1].Index != 1 || nodes[2].Index != 2 || nodes[0].UUID == nodes[1].UUID {
		t.Errorf("%+v", nodes)
	}
	if got := nodes[0].hm9000Metrics(t); got["ReceivedHeartbeats"] == 0 || got["SavedHeartbeats"] != got["ReceivedHeartbeats"] || got["StartMissing"] != 0 {
		t.Errorf("%v", got)
	}

	c.natsProxies[1].BlackHole(true)
	bustest.Until(t, "node 1 finds its link down", func() bool { return !c.nodes[1].link.State().Up })
	unknown := map[string]float64{}
	for name := range want {
		unknown[name] = -1
	}
	awaitMetrics(t, nodes[1], unknown)
	awaitMetrics(t, nodes[2], want)
	c.natsProxies[1].BlackHole(false)
	awaitMetrics(t, nodes[1], want)
	if again := discover(t, c.nats.URL(), 3); !slices.Equal(again, nodes) {
		t.Errorf("after the outage %+v, before %+v", again, nodes)
	}
	bustest.Until(t, "/metrics of node 1 counts a second announcement", func() bool {
		return strings.Contains(c.metrics(1), `hm_component_messages_total{what="announced"} 2`)
	})
	c.wantNoCommands("the collector")
}

// awaitMetrics waits until a component has these metrics.
func awaitMetrics(t *testing.T, c componentAnswer, want map[string]float64) {
	t.Helper()
	var got map[string]float64
	defer func() {
		if t.Failed() {
			t.Logf("component %d has %v", c.Index, got)
		}
	}()
	bustest.Until(t, fmt.Sprintf("component %d has %v", c.Index, want), func() bool {
		got = c.hm9000Metrics(t)
		for name, n := range want {
			if got[name] != n {
				return false
			}
		}
		return true
	})
}

// TestHealthManagerComponent: a node, in shadow mode too, has the numbers of the simulated Cloud Foundry, and the number of
// its users from the bulk API.
func TestHealthManagerComponent(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{nodes: 1, period: 500 * time.Millisecond, sets: []string{
		"compat.component=HealthManager", "compat.varz.listen=127.0.0.1:0",
		"compat.varz.username=thin", "compat.varz.password=thin", "commands.mode=shadow",
	}})
	node := discover(t, c.nats.URL(), 1)[0]
	if node.Type != "HealthManager" || node.Credentials != [2]string{"thin", "thin"} {
		t.Errorf("%+v", node)
	}
	fleet := c.sim.State()
	apps, instances := fleet.AppsWanted, fleet.Desired
	want := map[string]any{ // the simulated Cloud Controller has one user
		"total_users": 1, "total_apps": apps, "total_instances": instances, "running_instances": instances, "missing_instances": 0,
		"crashed_instances": 0, "flapping_instances": 0, "queue_length": 0, "health_start_messages_sent": 0, "health_stop_messages_sent": 0,
		"total":   map[string]any{"apps": apps, "started_apps": apps, "instances": instances, "started_instances": instances},
		"running": map[string]any{"apps": apps, "crashes": 0, "running_instances": instances, "missing_instances": 0, "flapping_instances": 0},
	}
	var got map[string]any
	defer func() {
		if t.Failed() {
			t.Logf("/varz has %v", got)
		}
	}()
	bustest.Until(t, "/varz has the numbers of the fleet", func() bool {
		got = node.varz(t)
		for name, n := range want {
			if fmt.Sprint(got[name]) != fmt.Sprint(n) {
				return false
			}
		}
		return true
	})
	for _, name := range []string{"heartbeat_msgs_received", "bulk_update_loop_duration", "mem"} {
		if n, _ := got[name].(float64); n <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if s := c.log.String(); strings.Contains(s, "thin") {
		t.Errorf("the log has the credentials: %s", s)
	}
}

// TestComponentAddressTaken: a node whose address for collectors is taken does not start, and says which key to change.
func TestComponentAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := configOf(t, []string{
		"node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", bustest.FreePorts(t, 1)[0]), "api.listen=127.0.0.1:0",
		"compat.component=HM9000", "compat.varz.listen=" + taken.Addr().String(),
	})
	if n, err := Open(cfg, Options{Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "compat.varz.listen") {
		t.Errorf("%v, want an error that names compat.varz.listen", err)
		if err == nil {
			_ = n.Close()
		}
	}
}
