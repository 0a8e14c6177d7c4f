package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/sandbox"
)

// devTestPeriod is the heartbeat period of the tests of hm dev.
const devTestPeriod = 100 * time.Millisecond

// devTestDeadline bounds each wait; it is generous, for slow machines.
const devTestDeadline = 2 * time.Minute

func testDevFlags() devFlags {
	return devFlags{plain: true, sandbox: sandbox.Options{
		DEAs: 20, Apps: 50, InstancesPerApp: 2, Nodes: 1, Heartbeat: devTestPeriod, Desired: config.SourceBulk, Seed: 1,
		API:  "127.0.0.1:0",
		Sets: []string{"log.level=warn"},
	}}
}

// devRun is a sandbox that runs in this process.
type devRun struct {
	*sandbox.Sandbox
	t *testing.T
}

func startDev(t *testing.T, d devFlags) *devRun {
	t.Helper()
	var log lockedBuffer
	s, err := openSandbox(t.Context(), newCLI(nil, io.Discard, &log), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		if t.Failed() {
			t.Logf("the node's log:\n%s", log.String())
		}
	})
	return &devRun{Sandbox: s, t: t}
}

// await waits for a frame for which reached returns true.
func (r *devRun) await(what string, reached func(liveview.Frame) bool) {
	r.t.Helper()
	deadline := time.NewTimer(devTestDeadline)
	defer deadline.Stop()
	for {
		f := r.View().Frame()
		if reached(f) {
			return
		}
		select {
		case <-r.View().Changed():
		case <-deadline.C:
			r.t.Fatalf("%s: not after %s\n%s", what, devTestDeadline, liveview.Render(f, 120, 60, liveview.Theme{}))
		}
	}
}

func gateOpen(f liveview.Frame) bool { return f.Status != nil && f.Status.Gate.Open }

// The live view draws and takes keys. A key or its context ends it, and it leaves no goroutine and no terminal mode.
func TestDevLiveView(t *testing.T) {
	takesSeconds(t)
	d := testDevFlags()
	d.plain = false
	r := startDev(t, d)
	r.await("gate", gateOpen)
	for name, end := range map[string]func(keys io.Writer, cancel func()){
		"key":     func(keys io.Writer, _ func()) { _, _ = io.WriteString(keys, "q") },
		"control": func(keys io.Writer, _ func()) { _, _ = io.WriteString(keys, "\x03") },
		"signal":  func(_ io.Writer, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, keys := io.Pipe()
			out := &lockedBuffer{}
			ended := make(chan error, 1)
			go func() { ended <- showDevLive(ctx, newCLI(in, out, io.Discard), r.Sandbox) }()
			count := len(r.View().Frame().Events)
			if _, err := io.WriteString(keys, "a"); err != nil {
				t.Fatal(err)
			}
			r.await("the key's event", func(f liveview.Frame) bool { return len(f.Events) > count })
			end(keys, cancel)
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(devTestDeadline):
				t.Fatal("the live view does not end")
			}
			keys.Close()
			if text := out.String(); !strings.Contains(text, "hm dev ran for ") || !strings.Contains(text, "\x1b[?1049l") {
				t.Errorf("it ended with %q", text[max(0, len(text)-400):])
			}
			awaitGoroutines(t, before+4) // the simulation's and the API's come and go
		})
	}
}

func TestDevPlainLines(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 31, 12, 0, s, 0, time.UTC) }
	var out bytes.Buffer
	for _, l := range []sandbox.Line{
		{Type: "listen", At: at(0), Places: []liveview.Place{{Name: "hm-0", Address: "http://127.0.0.1:5155"}}},
		{Type: "totals", At: at(1), Totals: &liveview.Totals{GateOpen: true}},
		{Type: "event", At: at(2), Text: "stopped NATS"},
	} {
		if err := newCLI(nil, &out, nil).printDevLine(l); err != nil {
			t.Fatal(err)
		}
	}
	want := "hm-0      http://127.0.0.1:5155\n12:00:01.000 gate open, leader none, "
	if text := out.String(); !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\n12:00:02.000 stopped NATS\n") {
		t.Errorf("printed %q", text)
	}
}

// The whole command prints JSON lines, ends by --for, and leaves nothing behind.
func TestDevPlainJSON(t *testing.T) {
	takesSeconds(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, errs bytes.Buffer
	args := []string{"dev", "-o", "json", "--heartbeat", devTestPeriod.String(), "--deas", "5", "--apps", "5",
		"--nodes", "1", "--api", "127.0.0.1:0",
		"--for", "3s", "--set", "log.level=error"}
	if code := newCLI(nil, &out, &errs).run(t.Context(), args); code != 0 {
		t.Fatalf("hm dev ended with %d: %s", code, &errs)
	}
	var types []string
	var last sandbox.Line
	for dec := json.NewDecoder(&out); dec.More(); {
		last = sandbox.Line{}
		if err := dec.Decode(&last); err != nil {
			t.Fatal(err)
		}
		types = append(types, last.Type)
	}
	if len(types) < 3 || types[0] != "listen" || last.Totals == nil || !last.Totals.GateOpen || last.Totals.DEAs != 5 ||
		last.Totals.Leader != "hm-0" {
		t.Errorf("lines %v, the last %+v %+v", types, last, last.Totals)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDevRefusesBadFlags(t *testing.T) {
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
			code := newCLI(nil, &out, &errs).run(t.Context(),
				append([]string{"dev", "--plain", "--api", "127.0.0.1:0"}, tc.args...))
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
	if err := os.WriteFile(filepath.Join(dir, "dev.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
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
