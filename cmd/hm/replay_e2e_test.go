package main

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/replay"
)

// TestE2ERecordingIsTheTwin records a cluster of three nodes with faults, replays the recording, and compares what the
// replay sends with what the cluster sent. They differ only around the failover.
func TestE2ERecordingIsTheTwin(t *testing.T) {
	const period = time.Second
	// hm looks for silent DEAs five times a period, the cluster and its replay at different moments. So that this alone
	// changes no decision, a start takes longer to have an effect than such a look is late, and DEAs are lost well before
	// commands expire. With the defaults a command may be repeated by the one and not by the other.
	f := newFoundry(t, period, []string{"--apps", "40", "--deas", "10", "--cc-passive", "--start-delay", "600ms"}, "policy.heartbeat_ttl=2")
	leader := f.awaitOpen("first")
	path := filepath.Join(t.TempDir(), "twin.jsonl.zst")
	other := (leader + 1) % 3
	recorder := startProcess(t, "record", "hm", "record", "-o", path, "--from-api", f.apis[other], "--set", "nats.servers="+f.natsURL,
		"--set", "desired.bulk.url=http://"+f.bulk, "--set", "policy.heartbeat_period="+period.String(), "--set", "policy.heartbeat_ttl=2")
	settle := func(what string) {
		t.Helper()
		f.await(what, 60*time.Second, func() bool { return f.state().Converged })
	}
	wait := func(periods float64) { time.Sleep(time.Duration(periods * float64(period))) } // the recording is of time that passes
	wait(6)                                                                                // a replay needs a freshness window, too
	f.act("POST", "deas/random/kill", "")
	wait(7)
	settle("a DEA is lost")
	f.act("POST", "deas/random/evacuate", "")
	wait(4)
	settle("a DEA is evacuated")
	f.nats.signal(syscall.SIGKILL)
	wait(5)
	f.nats.start()
	wait(2)
	f.awaitOpen("after the outage")
	f.act("POST", "deas/random/kill", "")
	wait(2)
	killed := time.Now()
	f.nodes[f.leader()].signal(syscall.SIGKILL) // while it waits to replace the DEA
	wait(10)
	settle("the leader is lost")
	wait(3)
	recorder.signal(syscall.SIGTERM)

	files, err := replay.Files(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := replay.NewReader(files...)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	err = reader.Header().Configure(&cfg, nil)
	reader.Close()
	if err != nil {
		t.Fatal(err)
	}
	opts := replay.OptionsOf(cfg)
	var failovers, outages []app.Time
	opts.Watch = func(m replay.Moment) {
		switch m.Kind {
		case replay.MomentLeader:
			failovers = append(failovers, m.At)
		case replay.MomentLink:
			outages = append(outages, m.At)
		}
	}
	r, err := replay.Run(t.Context(), opts, files...)
	if err != nil {
		t.Fatal(err)
	}
	if len(failovers) == 0 || len(outages) < 2 {
		t.Errorf("the recording tells of failovers at %v and link changes at %v", failovers, outages)
	}
	if len(r.Recorded) < 10 || len(r.Commands) < 10 {
		t.Fatalf("%d commands were sent, %d by the replay: nothing to compare", len(r.Recorded), len(r.Commands))
	}
	slack := (period / 2).Milliseconds() // a busy machine is late; the same decision comes at most this much later
	differences := replay.Within(replay.Compare(r.Recorded, r.Commands), slack)
	explained := 0
	for _, d := range differences {
		c := d.Here
		if c == nil {
			c = d.There
		}
		// A failover takes effect at once in a replay, and a node that has to be elected first catches up.
		if since := app.Time(c.At).Sub(app.TimeOf(killed)); since > -time.Second && since < 8*period {
			explained++
			continue
		}
		t.Errorf("%s: %s", d.Kind, fmt.Sprintf("%+v", c))
	}
	t.Logf("%d commands live, %d in the replay, %d differences, %d of them around the failover; %d events", len(r.Recorded), len(r.Commands), len(differences), explained, r.Events)
}
