package dashboard_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/internal/cluster"
	"hm/internal/dashboard"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// states are fake nodes in the states that the pages tell apart.
func states() map[string]*apitest.Node {
	closed := apitest.WithUnreadable()
	closed.CloseGate(reconcile.ReasonNATSDown, reconcile.ReasonActualStale)
	closed.Link.Up, closed.Link.Error, closed.Over.ActualFresh = false, "10.0.0.1:4222: connection refused", false
	held := apitest.Fleet()
	held.Must(held.At, raftfsm.HoldSet{Hold: raftfsm.Hold{
		Name: reconcile.HoldMassLoss, Reason: "120 of 200 instances were lost on 3 of 5 DEAs", By: "hm", SetAt: held.At, Until: held.At.Add(5 * time.Minute),
	}})
	held.CloseGate("hold:" + reconcile.HoldMassLoss)
	paused := apitest.Fleet()
	paused.Must(paused.At, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: reconcile.HoldPaused, Reason: "upgrading the DEAs", By: "amy", SetAt: paused.At}})
	paused.CloseGate(reconcile.ReasonPaused)
	leaderless := apitest.Fleet()
	leaderless.Follow("hm-1", "", "")
	leaderless.Contact = time.Time{}
	leaderless.CloseGate(reconcile.ReasonNoLeader)
	follower := apitest.Fleet()
	follower.Contact = time.Now().Add(time.Hour) // an age of 0
	follower.Follow("hm-1", "hm-2", "10.0.0.2:5155")
	follower.Contact = time.Now().Add(time.Hour)
	follower.Peers[1].Info.Gate = "paused"
	faulty := apitest.Fleet()
	faulty.Peers[0].Fault = &cluster.Fault{Kind: cluster.FaultState, Detail: "its state differs from that of hm-2 and hm-3 at entry 812"}
	return map[string]*apitest.Node{
		"open": apitest.Calm(), "drift": apitest.Fleet(), "closed": closed, "held": held, "paused": paused, "no-leader": leaderless,
		"follower": follower, "faulty": faulty, "empty": apitest.New(),
	}
}

// hashes are in the names of assets. They change with each line of the script.
var hashes = regexp.MustCompile(`\.[0-9a-f]{12}\.`)

// ages are how long ago a follower heard from its leader, by the machine's clock.
var ages = regexp.MustCompile(`age [0-9.]+ s`)

// TestPagesInEveryState compares the changing part of the pages with golden files, in each state of a node.
func TestPagesInEveryState(t *testing.T) {
	for name, node := range states() {
		base := serve(t, node.Options(), dashboard.Options{})
		for file, path := range map[string]string{"overview": "/", "cluster": "/cluster"} {
			_, body := load(t, base+path, "Hm-Part", "live")
			golden(t, name+"_"+file+".html", body)
		}
	}
	base := serve(t, apitest.Calm().Options(), dashboard.Options{})
	_, body := load(t, base+"/events")
	golden(t, "layout.html", body)
	_, body = load(t, base+"/events?kind=hold&app=a0000001", "Accept", "text/html", "Cookie", "hm-theme=dark")
	golden(t, "layout_dark.html", body)
	_, body = load(t, base+"/nothing", "Accept", "text/html", "Hm-Part", "live")
	golden(t, "nothing.html", body)
	_, body = load(t, base+"/events?kind=nonsense", "Hm-Part", "live")
	golden(t, "events_refused.html", body)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = ages.ReplaceAllString(hashes.ReplaceAllString(got, ".HASH."), "age 0.0 s")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it), got:\n%s", file, got)
	}
}

// canned serves fixed answers of the API.
func canned(t *testing.T, answers map[string]any) *dashboard.Dashboard {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		writeJSON(t, w, answer)
	}))
	t.Cleanup(server.Close)
	client, err := api.NewClient(api.ClientOptions{Addr: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return dashboard.New(client, dashboard.Options{})
}

// TestChartsAndTable compares the overview of a node with two hours of samples and an outage with its golden file.
func TestChartsAndTable(t *testing.T) {
	at := func(s int) api.Timestamp {
		return api.Timestamp{Time: time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC).Add(time.Duration(s) * time.Second)}
	}
	series := api.Series{Since: at(0), PeriodMS: 10_000, Basis: api.Basis{At: at(7200)}}
	for i := range 100 {
		x := api.Sample{At: at(i * 72), GateOpen: i < 40 || i > 60, SentStarts: uint64(i * i), SentStops: uint64(i / 10)}
		if !x.GateOpen {
			x.HeldBy = []string{"nats-down", "actual-stale", "desired-stale"}
		}
		x.Drift = api.DriftCounts{Missing: i % 7, Crashed: i / 20}
		series.Samples = append(series.Samples, x)
	}
	status := api.Status{
		Node: "hm-1", Version: "v1.0.0", Cluster: api.Cluster{Leader: "hm-1", Nodes: []api.ClusterNode{{ID: "hm-1", State: "leader", Voter: true, Healthy: true}}},
		Gate: api.Gate{Open: true, Reasons: []string{}, Since: at(3600)}, Basis: api.Basis{Index: 812, Node: "hm-1", Leader: "hm-1", At: at(7200)},
	}
	d := canned(t, map[string]any{"/v1/status": status, "/v1/series": series, "/v1/events": []api.Event{}})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/?range=6h", nil)
	r.Header.Set("Hm-Part", "live")
	d.ServeHTTP(w, r)
	golden(t, "charts.html", w.Body.String())
}

// hostile is what somebody may call what he can name.
const hostile = `<script>alert(1)</script>"'><img/src=x/onerror=alert(2)>`

// hostileNode returns a node on which everything that others name has a hostile name.
func hostileNode() *apitest.Node {
	n := apitest.Fleet()
	n.Must(n.At,
		raftfsm.DEAChanges{DEA: hostile, Upserts: nil},
		raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "<script>alert(1)</script>", Reason: hostile, By: hostile, SetAt: n.At}})
	n.CloseGate("hold:<script>alert(1)</script>")
	n.Link.Error, n.Link.Server, n.Link.Up = hostile, hostile, false
	n.Over.ReadError = hostile
	n.Peers[1].Address, n.Peers[1].Problem, n.Peers[1].Info.Version, n.Peers[1].Info.API = hostile, hostile, hostile, `x" onclick="alert(3)`
	n.History.Add(
		journal.Event{ID: journal.ID{Position: journal.Position{Index: 900}}, At: n.At, Kind: journal.DEAUnreadable, DEA: hostile, Detail: hostile, Index: -1},
		journal.Event{ID: journal.ID{Position: journal.Position{Index: 901}}, At: n.At, Kind: "<script>.alert", Name: hostile, By: hostile, Detail: "javascript:alert(4)", Index: -1, App: app.Key{}},
	)
	return n
}
