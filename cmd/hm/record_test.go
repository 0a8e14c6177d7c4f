package main

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/replay"
)

// A cluster that reads a database is recorded both ways. Either recording has the read of the one app that changed, and
// its replay starts what the cluster started. A third one is in parts, of which the newest are kept: each has what was
// recorded when it began.
func TestRecordOfACluster(t *testing.T) {
	takesSeconds(t)
	o := testDevOptions()
	o.nodes, o.desired, o.ccPassive, o.dataDir = 1, config.SourceSQL, true, t.TempDir()
	o.heartbeat = 250 * time.Millisecond // by which what a busy machine delays may differ from its replay
	r := startDev(t, o)
	atRest := func(f liveview.Frame) bool {
		return gateOpen(f) && f.Truth.Converged && f.Status.Drift.Total() == 0
	}
	r.await("gate", atRest)
	dir := t.TempDir()
	recorders := map[string]*process{}
	node := "http://" + r.stage.world.nodes[0].node.APIAddr()
	for way, args := range map[string][]string{
		"api": {"--from-api", node},
		"nats": {"--follow", node, "--set", "nats.servers=" + r.stage.world.nats.URL(), "--set", "desired.source=sql", "--set", "desired.sql.driver=sqlite",
			"--set", "desired.sql.dsn=" + filepath.Join(o.dataDir, devCCDBName), "--set", "policy.heartbeat_period=" + o.heartbeat.String()},
	} {
		path := filepath.Join(dir, way+".jsonl")
		recorders[path] = startProcess(t, way, "hm", append([]string{"record", "-o", path}, args...)...)
	}
	parts := startProcess(t, "parts", "hm", "record", "-o", filepath.Join(dir, "parts.jsonl.gz"), "--from-api", node, "--rotate-age", "3s", "--rotate-keep", "2")
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
	if _, err := r.stage.world.sim.CC.ScaleApp(grown.GUID, grown.Instances+1); err != nil {
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
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if third, err := filepath.Glob(filepath.Join(dir, "parts.0003*")); err == nil && len(third) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is no third part")
		}
	}
	parts.signal(syscall.SIGTERM)
	paths, err := filepath.Glob(filepath.Join(dir, "parts.*.jsonl.gz"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("the parts are %v, %v, want 2", paths, err)
	}
	for _, path := range paths {
		files, opts := openRecording(t, path)
		began := ""
		opts.Watch = func(m replay.TimelineEvent) {
			if began == "" {
				began = m.Text
			}
		}
		if _, err := replay.Run(t.Context(), opts, files...); err != nil || !strings.HasPrefix(began, "recorded so far") {
			t.Errorf("%s begins with %s, %v", filepath.Base(path), began, err)
		}
	}
}

// lockedBuffer takes what a process prints while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A recorder whose terminal is closed ends in good order, and one under nohup goes on.
func TestRecordAfterAHangup(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, nohup := range map[string]bool{"hangup": false, "nohup": true} {
		t.Run(name, func(t *testing.T) {
			if !nohup { // what this process catches, its children do not ignore, even if it runs under nohup itself
				hangups := make(chan os.Signal, 1)
				signal.Notify(hangups, syscall.SIGHUP)
				defer signal.Stop(hangups)
			}
			path := filepath.Join(t.TempDir(), "r.jsonl.gz")
			command := []string{self, "record", "-o", path, "--set", "nats.servers=nats://127.0.0.1:1"}
			if nohup {
				command = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, command...)
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Env = append(os.Environ(), asVariable+"=hm")
			var log lockedBuffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			logs := func(what string) {
				t.Helper()
				for end := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), what); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("it does not say %q:\n%s", what, log.String())
					}
				}
			}
			send := func(s syscall.Signal) {
				t.Helper()
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			logs("cannot connect to nats")
			send(syscall.SIGHUP)
			if nohup {
				logs("reading the desired state failed") // seconds later
				send(syscall.SIGTERM)
			}
			logs("recorded ")
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			files, opts := openRecording(t, path)
			if _, err := replay.Run(t.Context(), opts, files...); err != nil {
				t.Errorf("its file is not whole: %v", err)
			}
		})
	}
}
