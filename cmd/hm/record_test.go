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

// A cluster that reads a database is recorded in both ways. Each recording has the read of the one app that changed,
// and its replay sends the start that the cluster sent. A third recording is in parts, and keeps the newest. Each
// part begins with the recorded state.
func TestRecordOfACluster(t *testing.T) {
	takesSeconds(t)
	d := testDevFlags()
	o := &d.sandbox
	o.Desired, o.CCPassive, o.DataDir = config.SourceSQL, true, t.TempDir()
	o.Heartbeat = 250 * time.Millisecond // a busy machine may delay a command by this much
	r := startDev(t, d)
	atRest := func(f liveview.Frame) bool {
		return gateOpen(f) && f.Truth.Converged && f.Status.Drift.Total() == 0
	}
	r.await("gate", atRest)
	dir := t.TempDir()
	recorders := map[string]*process{}
	node := r.place("hm-0")
	for way, args := range map[string][]string{
		"api": {"--from-api", node},
		"nats": {"--follow", node, "--set", "nats.servers=" + r.place("nats"), "--set", "desired.source=sql",
			"--set", "desired.sql.driver=sqlite",
			"--set", "desired.sql.dsn=" + filepath.Join(o.DataDir, "cc.db"),
			"--set", "policy.heartbeat_period=" + o.Heartbeat.String()},
	} {
		path := filepath.Join(dir, way+".jsonl")
		recorders[path] = startProcess(t, way, "hm", append([]string{"record", "-o", path}, args...)...)
	}
	parts := startProcess(t, "parts", "hm", "record", "-o", filepath.Join(dir, "parts.jsonl.gz"), "--from-api", node,
		"--rotate-age", "3s", "--rotate-keep", "2")
	awaitFile := func(path, what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), what) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not get %s", filepath.Base(path), what)
			}
		}
	}
	for path := range recorders {
		awaitFile(path, `"type":"desired"`)
		awaitFile(path, `"repeat"`)
	}
	time.Sleep(5 * o.Heartbeat) // so that the gate of a replay opens
	grown := r.Simulation().Apps(0, 1)[0]
	if _, err := r.Simulation().CC.ScaleApp(grown.GUID, grown.Instances+1); err != nil {
		t.Fatal(err)
	}
	r.await("the start", func(f liveview.Frame) bool { return atRest(f) && f.Status.Commands.SentStarts == 1 })
	for path, p := range recorders {
		awaitFile(path, `"subject":"hm9000.start"`)
		awaitFile(path, `"app":"`+grown.GUID.String()+`"`)
		p.signal(syscall.SIGTERM)
		files, opts := openRecording(t, path)
		if got := opts.Reconcile.Policy.HeartbeatPeriod; got != o.Heartbeat {
			t.Errorf("the header's policy has a period of %v, want %v", got, o.Heartbeat)
		}
		result, err := replay.Run(t.Context(), opts, files...)
		if err != nil {
			t.Fatal(err)
		}
		way := strings.TrimSuffix(filepath.Base(path), ".jsonl")
		if len(result.Commands) != 1 || len(result.Recorded) != 1 {
			t.Fatalf("%s: %d commands in the replay, %d were sent, want the one start", way, len(result.Commands),
				len(result.Recorded))
		}
		there, here := result.Commands[0], result.Recorded[0]
		late := app.Time(there.At).Sub(app.Time(here.At))
		if there.App != grown.GUID.String() || here.App != there.App || late.Abs() > o.Heartbeat {
			t.Errorf("%s: the replay sends %+v, %v after %+v was sent", way, there, late, here)
		}
		t.Logf("%s: %d events; the replay sends the start %v after the cluster", way, result.Events, late)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if third, err := filepath.Glob(filepath.Join(dir, "parts.0003*")); err == nil && len(third) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no third part is written")
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

// place returns the address of a part of the sandbox.
func (r *devRun) place(name string) string {
	r.t.Helper()
	for _, p := range r.Places() {
		if p.Name == name {
			return p.Address
		}
	}
	r.t.Fatalf("the sandbox has no place %q", name)
	return ""
}

// lockedBuffer can be read while a process prints to it.
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

// The report says what was recorded, also when writing fails.
func TestRecordReportsWhenTheDiskIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("cannot open /dev/full, and HM_TEST_REQUIRE=all asks for it: %v", err)
		}
		t.Skipf("no /dev/full: %v", err)
	}
	defer full.Close()
	var errs lockedBuffer
	code := newCLI(nil, full, &errs).run(t.Context(),
		[]string{"record", "-o", "-", "--for", "100ms", "--set", "nats.servers=nats://127.0.0.1:1"})
	text := errs.String()
	if code != 1 || !strings.HasPrefix(text, "recorded ") && !strings.Contains(text, "\nrecorded ") ||
		!strings.HasSuffix(text, "no space left on device\nhint: make room on the file system, then try again\n") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

// A recorder whose terminal closes finishes its file. Under nohup it goes on.
func TestRecordAfterAHangup(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, nohup := range map[string]bool{"hangup": false, "nohup": true} {
		t.Run(name, func(t *testing.T) {
			if !nohup { // a child does not ignore a signal that this process catches, even under nohup
				hangups := make(chan os.Signal, 1)
				signal.Notify(hangups, syscall.SIGHUP)
				defer signal.Stop(hangups)
			}
			path := filepath.Join(t.TempDir(), "r.jsonl.gz")
			if nohup { // a child inherits what this process ignores
				signal.Ignore(syscall.SIGHUP)
				defer signal.Reset(syscall.SIGHUP)
			}
			cmd := exec.CommandContext(t.Context(), self, "record", "-o", path, "--set", "nats.servers=nats://127.0.0.1:1")
			cmd.Env = append(os.Environ(), asVariable+"=hm")
			var log lockedBuffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			logs := func(what string) {
				t.Helper()
				end := time.Now().Add(time.Minute)
				for ; !strings.Contains(log.String(), what); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("it does not log %q:\n%s", what, log.String())
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
				t.Errorf("its file is not complete: %v", err)
			}
		})
	}
}
