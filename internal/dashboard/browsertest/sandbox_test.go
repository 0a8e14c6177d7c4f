//go:build !race

package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/sandbox"
)

// period is the heartbeat period of the sandboxes. A browser needs much of a small machine.
const period = 500 * time.Millisecond

// foundry is a sandbox: NATS, a simulated Cloud Foundry, and three nodes, in this process.
type foundry struct {
	*sandbox.Sandbox
	t    testing.TB
	urls []string // of the nodes' APIs
}

// startFoundry starts a sandbox and waits until a gate is open. It is closed when the test ends.
func startFoundry(t testing.TB, edit func(*sandbox.Options)) *foundry {
	t.Helper()
	log := &nodeLog{}
	o := sandbox.Options{
		DEAs: 12, Apps: 30, InstancesPerApp: 2, Nodes: 3, Heartbeat: period, Desired: config.SourceBulk, Seed: 1,
		API: "127.0.0.1:0",
		// A busy machine must not change the leader by itself in the middle of a test.
		Sets: []string{"log.level=warn", "raft.heartbeat_timeout=2s", "raft.election_timeout=2s",
			"raft.lease_timeout=1s"},
		Configure: configure, NewLogger: newLogger, Log: log, Version: "v1.0.0",
	}
	if edit != nil {
		edit(&o)
	}
	s, err := sandbox.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f := &foundry{Sandbox: s, t: t}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the sandbox: %v", err)
		}
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", log)
		}
	})
	for _, p := range s.Places() {
		if strings.HasPrefix(p.Name, "hm-") {
			f.urls = append(f.urls, p.Address)
		}
	}
	f.await("an open gate", gateOpen)
	return f
}

// await waits for a frame of the live view for which reached returns true.
func (f *foundry) await(what string, reached func(liveview.Frame) bool) liveview.Frame {
	f.t.Helper()
	deadline := time.NewTimer(2 * tabDeadline)
	defer deadline.Stop()
	for {
		frame := f.View().Frame()
		if reached(frame) {
			return frame
		}
		select {
		case <-f.View().Changed():
		case <-deadline.C:
			f.t.Fatalf("%s: not after %s\n%s", what, 2*tabDeadline, liveview.Render(frame, 120, 60, liveview.Theme{}))
		}
	}
}

func gateOpen(f liveview.Frame) bool { return f.Status != nil && f.Status.Gate.Open }

func settled(f liveview.Frame) bool {
	return gateOpen(f) && f.Truth.Converged && f.Status.Drift.Total() == 0
}

// press does what a key of hm dev does, and returns the event that it causes.
func (f *foundry) press(action liveview.Action) string {
	f.t.Helper()
	before := len(f.View().Frame().Events)
	f.View().Do(action)
	frame := f.await(string(action), func(frame liveview.Frame) bool { return len(frame.Events) > before })
	e := frame.Events[len(frame.Events)-1-before]
	if e.Failed {
		f.t.Fatalf("%s: %s", action, e.Text)
	}
	return e.Text
}

// leader returns the address of the API of the node that leads.
func (f *foundry) leader() string {
	f.t.Helper()
	frame := f.await("a leader", func(frame liveview.Frame) bool {
		return frame.Status != nil && frame.Status.Cluster.Leader != ""
	})
	for _, p := range frame.Places {
		if p.Name == frame.Status.Cluster.Leader {
			return p.Address
		}
	}
	f.t.Fatalf("no address of the leader %s", frame.Status.Cluster.Leader)
	return ""
}

// client returns a client of a node's API.
func client(t testing.TB, url string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientOptions{Addr: url, Timeout: tabDeadline})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// statusOf asks a node for its status.
func statusOf(ctx context.Context, t testing.TB, c *api.Client) api.Status {
	t.Helper()
	s, _, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// configure loads a configuration from key=value pairs alone.
func configure(sets []string) (config.Config, error) {
	cfg := config.Default()
	for _, s := range sets {
		name, value, _ := strings.Cut(s, "=")
		key, known := config.KeyNamed(name)
		if !known {
			return cfg, fmt.Errorf("no key %s", name)
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

// nodeLog keeps the end of what the nodes log. It is safe for concurrent use.
type nodeLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxLog = 20 << 10

func (l *nodeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len()+len(b) > 2*maxLog {
		l.text.Next(l.text.Len() - maxLog)
	}
	return l.text.Write(b)
}

func (l *nodeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
