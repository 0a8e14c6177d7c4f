package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/replay"
)

// A cluster that reads a database is recorded both ways. Either recording has the read of the one app that changed, and
// its replay starts what the cluster started.
func TestRecordOfACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a cluster for seconds")
	}
	o := testDevOptions()
	o.nodes, o.desired, o.ccPassive, o.dataDir = 1, config.SourceSQL, true, t.TempDir()
	r := startDev(t, o)
	atRest := func(f liveview.Frame) bool {
		return gateOpen(f) && f.Truth.Converged && f.Status.Drift.Total() == 0
	}
	r.await("gate", atRest)
	dir := t.TempDir()
	recorders := map[string]*process{}
	node := "http://" + r.stage.world.nodes[0].node.api.Addr()
	for way, args := range map[string][]string{
		"api": {"--from-api", node},
		"nats": {"--follow", node, "--set", "nats.servers=" + r.stage.world.nats.URL(), "--set", "desired.source=sql", "--set", "desired.sql.driver=sqlite",
			"--set", "desired.sql.dsn=" + filepath.Join(o.dataDir, devCCDBName), "--set", "policy.heartbeat_period=" + o.heartbeat.String()},
	} {
		path := filepath.Join(dir, way+".jsonl")
		recorders[path] = startProcess(t, way, "hm", append([]string{"record", "-o", path}, args...)...)
	}
	awaitFile := func(path, what string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), what) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not come to hold %s", filepath.Base(path), what)
			}
		}
	}
	for path := range recorders {
		awaitFile(path, `"type":"desired"`)
		awaitFile(path, `"repeat"`)
	}
	time.Sleep(5 * o.heartbeat) // that a replay's gate opens
	grown := r.apps()[0]
	if _, err := r.stage.world.sim.ScaleApp(grown.GUID, grown.Instances+1); err != nil {
		t.Fatal(err)
	}
	r.awaitStart(grown.GUID.String(), grown.Instances)
	r.await("the start", atRest)
	for path, p := range recorders {
		awaitFile(path, `"subject":"hm9000.start"`)
		awaitFile(path, `"app":"`+grown.GUID.String()+`"`)
		p.signal(syscall.SIGTERM)
		files, opts := openRecording(t, path)
		if got := opts.Reconcile.Policy.HeartbeatPeriod; got != o.heartbeat {
			t.Errorf("the header's policy has a period of %v, want %v", got, o.heartbeat)
		}
		result, err := replay.Run(t.Context(), opts, files...)
		if err != nil {
			t.Fatal(err)
		}
		way := strings.TrimSuffix(filepath.Base(path), ".jsonl")
		if len(result.Commands) != 1 || len(result.Recorded) != 1 {
			t.Fatalf("%s: %d commands in the replay, %d were sent, want the one start", way, len(result.Commands), len(result.Recorded))
		}
		there, here := result.Commands[0], result.Recorded[0]
		late := app.Time(there.At).Sub(app.Time(here.At))
		if there.App != grown.GUID.String() || here.App != there.App || late.Abs() > o.heartbeat {
			t.Errorf("%s: the replay sends %+v, %v after %+v was sent", way, there, late, here)
		}
		t.Logf("%s: %d events; the replay sends the start %v after the cluster", way, result.Events, late)
	}
}
