package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	"hm/internal/watch"
)

// testPeriod is the heartbeat period of the tests.
const testPeriod = 100 * time.Millisecond

// testDeadline bounds each wait; it is generous, for slow machines.
const testDeadline = 2 * time.Minute

func testOptions() Options {
	return Options{
		DEAs: 20, Apps: 50, InstancesPerApp: 2, Nodes: 3, Heartbeat: testPeriod, Desired: config.SourceBulk, Seed: 1,
		API: anyPort,
		// A busy machine must not change the leader by itself in the middle of a test.
		Sets: []string{"log.level=warn", "raft.heartbeat_timeout=2s", "raft.election_timeout=2s",
			"raft.lease_timeout=1s"},
		Configure: configure, NewLogger: newLogger, Log: &testLog{}, Version: "test",
	}
}

// configure loads a configuration from key=value pairs alone.
func configure(sets []string) (config.Config, error) {
	cfg := config.Default()
	for _, s := range sets {
		name, value, _ := strings.Cut(s, "=")
		key, known := config.KeyNamed(name)
		if !known {
			return cfg, config.Problems{config.Unknown(name)}
		}
		if p := key.SetText(&cfg, value); p != nil {
			return cfg, config.Problems{*p}
		}
	}
	return cfg, cfg.Validate()
}

func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		panic(err) // Validate has checked it
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// takesSeconds skips a test under -short, unless HM_TEST_REQUIRE=all is set.
func takesSeconds(t *testing.T) {
	t.Helper()
	if testing.Short() && os.Getenv("HM_TEST_REQUIRE") != "all" {
		t.Skip("runs a cluster for seconds")
	}
}

// run is a sandbox of a test.
type run struct {
	*Sandbox
	t     *testing.T
	close func()
}

func start(t *testing.T, o Options) *run {
	t.Helper()
	o.listen = func(n int) (addresses []string, err error) { // a node that comes back must find its port free
		for _, port := range bustest.FreePorts(t, n) {
			addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
		}
		return addresses, nil
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Sandbox: s, t: t}
	r.close = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		dir, kept := s.DataDir()
		if _, err := os.Stat(dir); !kept && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %s, %v", dir, err)
		}
	})
	t.Cleanup(func() {
		r.close()
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", o.Log)
		}
	})
	return r
}

// await waits for a frame for which reached returns true.
func (r *run) await(what string, reached func(liveview.Frame) bool) liveview.Frame {
	r.t.Helper()
	deadline := time.NewTimer(testDeadline)
	defer deadline.Stop()
	for {
		f := r.view.Frame()
		if reached(f) {
			return f
		}
		select {
		case <-r.view.Changed():
		case <-deadline.C:
			r.t.Fatalf("%s: not after %s\n%s", what, testDeadline, liveview.Render(f, 120, 60, liveview.Theme{}))
		}
	}
}

func allHealthy(f liveview.Frame) bool {
	return f.Status != nil && len(f.Status.Cluster.Nodes) == 3 &&
		!slices.ContainsFunc(f.Nodes, func(n liveview.Node) bool { return n.Down }) &&
		!slices.ContainsFunc(f.Status.Cluster.Nodes, func(n api.ClusterNode) bool { return !n.Healthy })
}

func gateOpen(f liveview.Frame) bool { return f.Status != nil && f.Status.Gate.Open }

// press does what a key does, and returns the event that it causes.
func (r *run) press(key string) string {
	r.t.Helper()
	action, ok := liveview.DevKeys.ActionOf(key)
	if !ok {
		r.t.Fatalf("no key %q", key)
	}
	before := len(r.view.Frame().Events)
	r.view.Do(action)
	f := r.await("key "+key, func(f liveview.Frame) bool { return len(f.Events) > before })
	e := f.Events[len(f.Events)-1-before]
	if e.Failed {
		r.t.Fatalf("key %s: %s", key, e.Text)
	}
	return e.Text
}

func TestFaultsAreCorrected(t *testing.T) {
	takesSeconds(t)
	r := start(t, testOptions())
	f := r.await("gate", gateOpen)
	if f.Truth.DEAs != 20 || f.Truth.Apps != 50 || !f.Truth.Converged {
		t.Fatalf("the simulation starts as %+v", f.Truth)
	}
	if sent := f.Status.Commands; sent.SentStarts+sent.SentStops != 0 {
		t.Fatalf("commands were sent without drift: %+v", sent)
	}

	t.Log(r.press("k"))
	r.await("drift", func(f liveview.Frame) bool { return f.Status != nil && f.Status.Drift.Missing > 0 })
	f = r.await("convergence", func(f liveview.Frame) bool {
		return f.Truth.Converged && gateOpen(f) && f.Status.Drift.Total() == 0
	})
	if f.Status.Commands.SentStarts == 0 || f.Truth.DEAs != 19 {
		t.Fatalf("converged after %+v on %d DEAs", f.Status.Commands, f.Truth.DEAs)
	}

	// When the leader is closed, another one opens its gate, and it knows what was sent before.
	leader, sent := f.Status.Cluster.Leader, f.Status.Commands
	t.Log(r.press("l"))
	f = r.await("failover", func(f liveview.Frame) bool { return gateOpen(f) && f.Status.Cluster.Leader != leader })
	if f.Status.Commands.SentStarts != sent.SentStarts || f.Status.Commands.SentStops != sent.SentStops {
		t.Errorf("the failover sent commands: %+v, before %+v", f.Status.Commands, sent)
	}
	r.await("return", allHealthy)

	// I4: an outage of NATS that is longer than every time to live causes no command.
	sent = r.view.Frame().Status.Commands
	t.Log(r.press("n"))
	r.await("closed gate", func(f liveview.Frame) bool {
		return f.Status != nil && slices.Contains(f.Status.Gate.Reasons, "nats-down")
	})
	stopped := time.Now()
	r.await("an outage of 15 heartbeats", func(liveview.Frame) bool { return time.Since(stopped) > 15*testPeriod })
	t.Log(r.press("n"))
	f = r.await("open gate", gateOpen)
	settled := time.Now()
	f = r.await("ten heartbeats more", func(liveview.Frame) bool { return time.Since(settled) > 10*testPeriod })
	if f.Status.Commands.SentStarts != sent.SentStarts || f.Status.Commands.SentStops != sent.SentStops {
		t.Errorf("an outage of NATS caused commands: %+v, before %+v", f.Status.Commands, sent)
	}
	if f.Truth.Harmful != 0 || f.Truth.Needless != 0 {
		t.Errorf("harmful stops or needless starts: %+v", f.Truth)
	}
}

// Every key does something, and hm corrects what they have done together.
func TestKeys(t *testing.T) {
	takesSeconds(t)
	o := testOptions()
	o.CCPassive = true
	r := start(t, o)
	r.await("gate", gateOpen)
	for _, key := range []string{"s", "S", "a", "d", "u", "c", "C", "e", "p", "b", "K"} {
		t.Log(r.press(key))
	}
	f := r.await("faults", func(f liveview.Frame) bool {
		return len(f.Faults) == 3 && f.Status != nil && len(f.Status.Holds) > 0
	})
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
	f = r.await("convergence", func(f liveview.Frame) bool {
		return f.Truth.Converged && gateOpen(f) && f.Status.Drift.Total() == 0
	})
	if f.Truth.Harmful != 0 {
		t.Errorf("stops of the only instance of an index: %+v", f.Truth)
	}
}

// Each node needs an address of its own.
func TestPeersDiffer(t *testing.T) {
	peers, err := newPeers(400, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, p := range peers {
		if other := seen[p.Raft]; other != "" {
			t.Fatalf("%s and %s have the same address %s", other, p.ID, p.Raft)
		}
		seen[p.Raft] = p.ID
	}
}

func TestEndsCleanlyAndContinues(t *testing.T) {
	takesSeconds(t)
	o := testOptions()
	o.DataDir = filepath.Join(t.TempDir(), "kept")
	useSignals()
	before := runtime.NumGoroutine()
	r := start(t, o)
	r.await("gate", gateOpen)
	t.Log(r.press("a"))
	f := r.await("the new app", func(f liveview.Frame) bool {
		return f.Truth.Apps == 51 && f.Truth.Converged && gateOpen(f) && f.Status.Desired.Apps == 51 &&
			f.Status.Drift.Total() == 0
	})
	index := f.Status.Basis.Index
	r.close()
	awaitGoroutines(t, before)

	o.Nodes, o.Apps = 1, 7 // the saved values replace these defaults
	r = start(t, o)
	f = r.await("gate", gateOpen)
	if f.Status.Basis.Index <= index || len(f.Nodes) != 3 || f.Truth.Apps != 51 {
		t.Errorf("index %d after %d, %d nodes, %d apps: it does not continue", f.Status.Basis.Index, index, len(f.Nodes),
			f.Truth.Apps)
	}
	if c := f.Status.Commands; c.SentStarts+c.SentStops+uint64(c.PendingStarts+c.PendingStops) != 0 {
		t.Errorf("the restart caused commands: %+v", c)
	}

	// While the first runs, a second one on the same directory must not start.
	var hinted interface{ Hint() string }
	if _, err := Open(t.Context(), o); !errors.As(err, &hinted) ||
		hinted.Hint() != "is another hm dev running on this directory?" {
		t.Errorf("a second sandbox opens with %v", err)
	}
	r.close()
	awaitGoroutines(t, before)
}

// useSignals is for tests that count goroutines: package signal keeps one from its first use on.
func useSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	signal.Stop(signals)
}

// awaitGoroutines waits until no more goroutines run than before.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(testDeadline)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// If the default API address is taken, any free port will do. An address that the user gave is not replaced.
func TestFirstAPI(t *testing.T) {
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().String()
	s := &Sandbox{opts: Options{API: busy}}
	got, err := s.firstAPI()
	if err != nil || got != anyPort || !strings.Contains(s.notice, busy+" is taken") {
		t.Errorf("got %q, %v, with notice %q", got, err, s.notice)
	}
	s = &Sandbox{opts: Options{API: busy, Given: map[string]bool{"api": true}}}
	if _, err := s.firstAPI(); err == nil {
		t.Error("a given address that is taken was replaced")
	}
}

func TestActionsAllHaveAFault(t *testing.T) {
	i := newInjector(&Sandbox{})
	for _, k := range liveview.DevKeys {
		if k.Action != liveview.Quit && i.faultOf(k.Action) == nil {
			t.Errorf("key %s: there is no fault for %q", k.Name, k.Action)
		}
	}
	if done := i.inject(t.Context(), "juggle"); done.err == nil {
		t.Error("an unknown action has no error")
	}
}

func TestViewDropsTooManyActions(t *testing.T) {
	v := &View{
		sandbox: &Sandbox{logger: slog.New(slog.DiscardHandler)},
		actions: make(chan liveview.Action, 1), Watcher: &watch.Watcher{},
	}
	v.Do(liveview.AddApp)
	v.Do(liveview.AddApp)
	if len(v.events) != 1 || !v.events[0].Failed || !strings.Contains(v.events[0].Text, "add-app left out") {
		t.Errorf("events %+v", v.events)
	}
	for i := range 2 * maxEvents {
		v.add(outcome{text: fmt.Sprint(i)})
	}
	if len(v.events) != maxEvents || v.events[0].Text != fmt.Sprint(2*maxEvents-1) {
		t.Errorf("%d events, the newest %+v", len(v.events), v.events[0])
	}
}

// Each event is shown once, in order.
func TestEventsAfter(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 31, 12, 0, s, 0, time.UTC) }
	events := []liveview.Event{{At: at(3), Text: "c"}, {At: at(2), Text: "b"}, {At: at(1), Text: "a"}}
	for second, want := range map[int]string{0: "abc", 1: "bc", 3: ""} {
		got := ""
		for _, e := range eventsAfter(events, at(second)) {
			got += e.Text
		}
		if got != want {
			t.Errorf("after second %d: %q, want %q", second, got, want)
		}
	}
}

// testLog takes what several nodes log.
type testLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
