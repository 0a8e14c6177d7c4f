package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/config"
	"hm/internal/liveview"
)

// devTestPeriod is the heartbeat period of the tests of hm dev.
const devTestPeriod = 100 * time.Millisecond

// devTestDeadline bounds each wait; it is generous, for slow machines.
const devTestDeadline = 60 * time.Second

func testDevOptions() devOptions {
	return devOptions{deas: 20, apps: 50, instancesPerApp: 2, nodes: 3, heartbeat: devTestPeriod, desired: config.SourceBulk, seed: 1, api: "127.0.0.1:0",
		plain: true, given: map[string]bool{},
		// A loaded machine must not change the leader by itself in the middle of a test.
		sets: []string{"log.level=warn", "raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s"}}
}

// devRun is hm dev running in this process, with its parts within reach.
type devRun struct {
	t     *testing.T
	stage *devStage
	close func()
}

func startDev(t *testing.T, o devOptions) *devRun {
	t.Helper()
	dir, err := openDevDir(o.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := dir.load()
	if err == nil {
		o, err = o.continuing(saved)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(saved.Nodes) == 0 { // a node that comes back must find its port free
		for i, port := range bustest.FreePorts(t, o.nodes) {
			saved.Nodes = append(saved.Nodes, devPeer{ID: fmt.Sprintf("hm-%d", i), Raft: fmt.Sprintf("127.0.0.1:%d", port)})
		}
	}
	logs := &devTestLog{}
	world, err := openDevWorld(t.Context(), o, dir, saved, func(cfg devLog) *slog.Logger { return newLogger(logs, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	r := &devRun{t: t, stage: openDevStage(world)}
	r.close = sync.OnceFunc(func() {
		r.stage.close()
		if err := world.close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		if err := dir.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir.path); dir.temporary && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %s, %v", dir.path, err)
		}
	})
	t.Cleanup(func() {
		r.close()
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", logs)
		}
	})
	return r
}

// await waits for a frame of which reached holds.
func (r *devRun) await(what string, reached func(liveview.Frame) bool) liveview.Frame {
	r.t.Helper()
	deadline := time.NewTimer(devTestDeadline)
	defer deadline.Stop()
	for {
		f := r.stage.Frame()
		if reached(f) {
			return f
		}
		select {
		case <-r.stage.changed:
		case <-deadline.C:
			r.t.Fatalf("%s: not after %s\n%s", what, devTestDeadline, liveview.Render(f, 120, 60, liveview.Theme{}))
		}
	}
}

func allHealthy(f liveview.Frame) bool {
	return f.Status != nil && len(f.Status.Cluster.Nodes) == 3 &&
		!slices.ContainsFunc(f.Nodes, func(n liveview.Node) bool { return n.Down }) &&
		!slices.ContainsFunc(f.Status.Cluster.Nodes, func(n api.ClusterNode) bool { return !n.Healthy })
}

func gateOpen(f liveview.Frame) bool { return f.Status != nil && f.Status.Gate.Open }

// press does what a key does, and gives the line that was shown for it.
func (r *devRun) press(key string) string {
	r.t.Helper()
	action, ok := liveview.DevKeys.ActionOf(key)
	if !ok {
		r.t.Fatalf("no key %q", key)
	}
	before := len(r.stage.Frame().Events)
	r.stage.Do(action)
	f := r.await("key "+key, func(f liveview.Frame) bool { return len(f.Events) > before })
	e := f.Events[len(f.Events)-1-before]
	if e.Failed {
		r.t.Fatalf("key %s: %s", key, e.Text)
	}
	return e.Text
}

func TestDevCorrectsWhatItsKeysBreak(t *testing.T) {
	takesSeconds(t)
	r := startDev(t, testDevOptions())
	f := r.await("gate", gateOpen)
	if f.Truth.DEAs != 20 || f.Truth.Apps != 50 || !f.Truth.Converged {
		t.Fatalf("the simulation began as %+v", f.Truth)
	}
	if sent := f.Status.Commands; sent.SentStarts+sent.SentStops != 0 {
		t.Fatalf("commands were sent though nothing drifted: %+v", sent)
	}

	t.Log(r.press("k"))
	r.await("drift", func(f liveview.Frame) bool { return f.Status != nil && f.Status.Drift.Missing > 0 })
	f = r.await("convergence", func(f liveview.Frame) bool { return f.Truth.Converged && gateOpen(f) && f.Status.Drift.Total() == 0 })
	if f.Status.Commands.SentStarts == 0 || f.Truth.DEAs != 19 {
		t.Fatalf("converged after %+v on %d DEAs", f.Status.Commands, f.Truth.DEAs)
	}

	// The leader goes: another one opens its gate, and what was sent before is known to it.
	leader, sent := f.Status.Cluster.Leader, f.Status.Commands
	t.Log(r.press("l"))
	f = r.await("failover", func(f liveview.Frame) bool { return gateOpen(f) && f.Status.Cluster.Leader != leader })
	if f.Status.Commands.SentStarts != sent.SentStarts || f.Status.Commands.SentStops != sent.SentStops {
		t.Errorf("the failover sent commands: %+v, before %+v", f.Status.Commands, sent)
	}
	r.await("return", allHealthy)

	// I4: NATS away for longer than every time to live is no reason for a command.
	sent = r.stage.Frame().Status.Commands
	t.Log(r.press("n"))
	r.await("closed gate", func(f liveview.Frame) bool {
		return f.Status != nil && slices.Contains(f.Status.Gate.Reasons, "nats-down")
	})
	stopped := time.Now()
	r.await("an outage of 15 heartbeats", func(liveview.Frame) bool { return time.Since(stopped) > 15*devTestPeriod })
	t.Log(r.press("n"))
	f = r.await("open gate", gateOpen)
	settled := time.Now()
	f = r.await("ten heartbeats more", func(liveview.Frame) bool { return time.Since(settled) > 10*devTestPeriod })
	if f.Status.Commands.SentStarts != sent.SentStarts || f.Status.Commands.SentStops != sent.SentStops {
		t.Errorf("an outage of NATS caused commands: %+v, before %+v", f.Status.Commands, sent)
	}
	if f.Truth.Harmful != 0 || f.Truth.Needless != 0 {
		t.Errorf("harmful stops or needless starts: %+v", f.Truth)
	}
}

// Every key does something, and whatever they have done together is put right.
func TestDevKeys(t *testing.T) {
	takesSeconds(t)
	o := testDevOptions()
	o.ccPassive = true
	r := startDev(t, o)
	r.await("gate", gateOpen)
	for _, key := range []string{"s", "S", "a", "d", "u", "c", "C", "e", "p", "b", "K"} {
		t.Log(r.press(key))
	}
	f := r.await("faults", func(f liveview.Frame) bool { return len(f.Faults) == 3 && f.Status != nil && len(f.Status.Holds) > 0 })
	for i, want := range []string{"the bulk API is broken (b)", "crash-loops (C)", "gone (r)"} {
		if !strings.Contains(f.Faults[i], want) {
			t.Errorf("fault %d is %q, want %q", i, f.Faults[i], want)
		}
	}
	for _, key := range []string{"b", "C", "p", "r"} {
		t.Log(r.press(key))
	}
	r.press("l")
	if text := r.press("l"); !strings.HasPrefix(text, "opened node") {
		t.Errorf("the second l: %s", text)
	}
	// The evacuated DEA may leave later.
	f = r.await("convergence", func(f liveview.Frame) bool { return f.Truth.Converged && gateOpen(f) && f.Status.Drift.Total() == 0 })
	if f.Truth.Harmful != 0 {
		t.Errorf("stops that took an index down: %+v", f.Truth)
	}
}

// The nodes of hm dev are to have addresses of their own.
func TestDevPeersDiffer(t *testing.T) {
	peers, err := newDevPeers(400)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, p := range peers {
		if other := seen[p.Raft]; other != "" {
			t.Fatalf("%s and %s are both at %s", other, p.ID, p.Raft)
		}
		seen[p.Raft] = p.ID
	}
}

func TestDevEndsCleanlyAndContinues(t *testing.T) {
	takesSeconds(t)
	o := testDevOptions()
	o.dataDir = filepath.Join(t.TempDir(), "kept")
	useSignals()
	before := runtime.NumGoroutine()
	r := startDev(t, o)
	r.await("gate", gateOpen)
	t.Log(r.press("a"))
	f := r.await("the new app", func(f liveview.Frame) bool {
		return f.Truth.Apps == 51 && f.Truth.Converged && gateOpen(f) && f.Status.Desired.Apps == 51 && f.Status.Drift.Total() == 0
	})
	index := f.Status.Basis.Index
	r.close()
	awaitGoroutines(t, before)

	o.nodes, o.apps = 1, 7 // as defaults: what was saved counts
	r = startDev(t, o)
	f = r.await("gate", gateOpen)
	if f.Status.Basis.Index <= index || len(f.Nodes) != 3 || f.Truth.Apps != 51 {
		t.Errorf("index %d after %d, %d nodes, %d apps: not a continuation", f.Status.Basis.Index, index, len(f.Nodes), f.Truth.Apps)
	}
	if c := f.Status.Commands; c.SentStarts+c.SentStops+uint64(c.PendingStarts+c.PendingStops) != 0 {
		t.Errorf("the restart caused commands: %+v", c)
	}

	// A second one on the same directory is refused while the first runs.
	var out, errs bytes.Buffer
	if code := newCLI(nil, &out, &errs).run(t.Context(), []string{"dev", "--plain", "--api", "127.0.0.1:0", "--data-dir", o.dataDir}); code != 1 {
		t.Errorf("a second hm dev ended with %d", code)
	}
	if !strings.Contains(errs.String(), "is another hm dev running on this directory?") {
		t.Errorf("a second hm dev said %q", &errs)
	}
	r.close()
	awaitGoroutines(t, before)
}

// useSignals is for tests that count goroutines: from its first use on, package signal keeps one for good.
func useSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	signal.Stop(signals)
}

// awaitGoroutines waits until no more goroutines run than before.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(devTestDeadline)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The whole command: JSON lines, ended by --for, nothing left behind.
func TestDevPlainJSON(t *testing.T) {
	takesSeconds(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, errs bytes.Buffer
	args := []string{"dev", "-o", "json", "--heartbeat", devTestPeriod.String(), "--deas", "5", "--apps", "5", "--nodes", "1", "--api", "127.0.0.1:0",
		"--for", "3s", "--set", "log.level=error"}
	if code := newCLI(nil, &out, &errs).run(t.Context(), args); code != 0 {
		t.Fatalf("hm dev ended with %d: %s", code, &errs)
	}
	var types []string
	var last devLine
	for dec := json.NewDecoder(&out); dec.More(); {
		last = devLine{}
		if err := dec.Decode(&last); err != nil {
			t.Fatal(err)
		}
		types = append(types, last.Type)
	}
	if len(types) < 3 || types[0] != "listen" || last.Totals == nil || !last.Totals.GateOpen || last.Totals.DEAs != 5 || last.Totals.Leader != "hm-0" {
		t.Errorf("lines %v, the last %+v %+v", types, last, last.Totals)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDevRefusesWhatCannotBe(t *testing.T) {
	useSignals()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nodes":      {[]string{"--nodes", "2"}, "--nodes 2: a cluster has 1, 3 or 5 nodes"},
		"for":        {[]string{"--for", "-1s"}, "--for -1s: it must not be negative"},
		"apps":       {[]string{"--apps", "-1"}, "apps is -1"},
		"own key":    {[]string{"--set", "raft.peers=a"}, "hint: use --nodes"},
		"source":     {[]string{"--desired", "http"}, "use --desired bulk or sql"},
		"sql key":    {[]string{"--set", "desired.sql.dsn=x"}, "hint: use --cc-db"},
		"value":      {[]string{"--set", "policy.grace=none"}, "policy.grace"},
		"key":        {[]string{"--set", "policy.grase=1"}, "policy.grace"},
		"heartbeat":  {[]string{"--heartbeat", "0s"}, "policy.heartbeat_period"},
		"API":        {[]string{"--api", "nowhere"}, "--api"},
		"many":       {[]string{"--deas", "1000000"}, "DEAs is 1000000"},
		"directory":  {[]string{"--data-dir", "/dev/null/x"}, "--data-dir"},
		"wrong file": {[]string{"--data-dir", writeDevFile(t, `{"format":9}`)}, "remove the directory to start anew"},
		"bad file":   {[]string{"--data-dir", writeDevFile(t, `{`)}, "remove the directory to start anew"},
		"database":   {[]string{"--cc-db", "x.db", "--data-dir", writeDevFile(t, `{"format":1,"nodes":[{"id":"hm-0","raft":"127.0.0.1:1"}]}`)}, "are in its cc.db"},
		"no db":      {[]string{"--data-dir", writeDevFile(t, `{"format":1,"cc_db_given":true,"nodes":[{"id":"hm-0","raft":"127.0.0.1:1"}]}`)}, "give the same --cc-db"},
		"schema":     {[]string{"--cc-schema", "v4"}, "neither v2 nor v3"},
		"nodes then": {[]string{"--nodes", "3", "--data-dir", writeDevFile(t, `{"format":1,"nodes":[{"id":"hm-0","raft":"127.0.0.1:1"}]}`)}, "has 1 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			before := runtime.NumGoroutine()
			var out, errs bytes.Buffer
			code := newCLI(nil, &out, &errs).run(t.Context(), append([]string{"dev", "--plain", "--api", "127.0.0.1:0"}, tc.args...))
			if code != 1 || !strings.Contains(errs.String(), tc.want) {
				t.Errorf("code %d, want %q in %q", code, tc.want, &errs)
			}
			awaitGoroutines(t, before)
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func writeDevFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, devFileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The address that other commands ask by default may be taken: then any other will do, unless it was asked for.
func TestDevAPIAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().String()
	w := &devWorld{opts: devOptions{api: busy}}
	got, err := w.firstAPI()
	if err != nil || got != "127.0.0.1:0" || !strings.Contains(w.notice, busy+" is taken") {
		t.Errorf("got %q, %v, with notice %q", got, err, w.notice)
	}
	w = &devWorld{opts: devOptions{api: busy, apiFixed: true}}
	if _, err := w.firstAPI(); err == nil {
		t.Error("an address that was asked for and is taken was replaced")
	}
}

func TestDevActionsAllHaveADeed(t *testing.T) {
	a := newDevActor(&devWorld{})
	for _, k := range liveview.DevKeys {
		if k.Action != liveview.Quit && a.deedOf(k.Action) == nil {
			t.Errorf("key %s: nothing does %q", k.Name, k.Action)
		}
	}
	if _, err := a.do(context.Background(), "juggle"); err == nil {
		t.Error("an unknown action was done")
	}
}

// Keys that come faster than they can be done are left out, and told so.
func TestDevLeavesOutWhatIsTooMuch(t *testing.T) {
	s := &devStage{world: &devWorld{logger: newLogger(&devTestLog{}, devLog{})}, asked: make(chan liveview.Action, 1), changed: make(chan struct{}, 1)}
	s.Do(liveview.AddApp)
	s.Do(liveview.AddApp)
	if len(s.events) != 1 || !s.events[0].Failed || !strings.Contains(s.events[0].Text, "add-app left out") {
		t.Errorf("events %+v", s.events)
	}
	for i := range 2 * devMaxEvents {
		s.note(fmt.Sprint(i), nil)
	}
	if len(s.events) != devMaxEvents || s.events[0].Text != fmt.Sprint(2*devMaxEvents-1) {
		t.Errorf("%d events, the newest %+v", len(s.events), s.events[0])
	}
}

// devTestLog takes what several nodes log.
type devTestLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *devTestLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *devTestLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
