package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/wire"
)

// patience bounds every wait of the tests. Only a failing test waits that long.
const patience = 2 * time.Minute

// startNATS runs an embedded server for the test.
func startNATS(t testing.TB) *NATS {
	t.Helper()
	n, err := StartNATS(NATSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

// startSim runs a simulation with a short heartbeat period.
func startSim(t testing.TB, n *NATS, o Options) *Sim {
	t.Helper()
	o.NATS = []string{n.URL()}
	if o.HeartbeatPeriod == 0 {
		o.HeartbeatPeriod = 50 * time.Millisecond
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The subjects, as a reader knows them.
const (
	subjectHeartbeat   = "dea.heartbeat"
	subjectExited      = "droplet.exited"
	subjectDEAShutdown = "dea.shutdown"
	subjectUpdated     = "droplet.updated"
	subjectHMStart     = "hm9000.start"
	subjectHMStop      = "hm9000.stop"
)

// heartbeat is a DEA's heartbeat as a reader decodes it (N02).
type heartbeat struct {
	Droplets []heartbeatEntry `json:"droplets"`
	DEA      string           `json:"dea"`
}

type heartbeatEntry struct {
	Partition string   `json:"cc_partition"`
	Droplet   string   `json:"droplet"`
	Version   string   `json:"version"`
	Instance  string   `json:"instance"`
	Index     *int     `json:"index"`
	State     string   `json:"state"`
	Since     *float64 `json:"state_timestamp"`
}

// listener keeps every message on a subject.
type listener struct {
	t    testing.TB
	nc   *nats.Conn
	mu   sync.Mutex
	msgs []*nats.Msg
}

func listen(t testing.TB, n *NATS, subject string) *listener {
	t.Helper()
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	l := &listener{t: t, nc: nc}
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		l.mu.Lock()
		l.msgs = append(l.msgs, m)
		l.mu.Unlock()
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) messages() []*nats.Msg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.msgs)
}

func (l *listener) reset() {
	l.mu.Lock()
	l.msgs = nil
	l.mu.Unlock()
}

// until waits until done returns true for the messages so far.
func (l *listener) until(what string, done func([]*nats.Msg) bool) []*nats.Msg {
	l.t.Helper()
	var last []*nats.Msg
	poll(l.t, what, func() bool {
		last = l.messages()
		return done(last)
	})
	return last
}

// heartbeats waits until so many DEAs have sent a heartbeat, and gives the newest one of each.
func (l *listener) heartbeats(deas int) map[string]heartbeat {
	l.t.Helper()
	beats := map[string]heartbeat{}
	l.until(fmt.Sprintf("a heartbeat of %d DEAs", deas), func(msgs []*nats.Msg) bool {
		clear(beats)
		for _, m := range msgs {
			hb := decodeHeartbeat(l.t, m.Data)
			beats[hb.DEA] = hb
		}
		return len(beats) >= deas
	})
	return beats
}

func decodeHeartbeat(t testing.TB, data []byte) heartbeat {
	t.Helper()
	var hb heartbeat
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&hb); err != nil {
		t.Fatalf("heartbeat %s: %v", data, err)
	}
	return hb
}

func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited %s for %s", patience, what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func await(t testing.TB, s *Sim, what string, reached func(State) bool) State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := s.Await(ctx, reached)
	if err != nil {
		t.Fatalf("%s: %v; last state %+v", what, err, st)
	}
	return st
}

func converged(st State) bool { return st.Converged }

// send publishes a command as a health manager does.
func send(t testing.TB, n *NATS, subject string, body any) {
	t.Helper()
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	data, ok := body.(string)
	if !ok {
		data = string(wire.MustJSON(body))
	}
	if err := nc.Publish(subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

type startBody struct {
	MessageID string   `json:"message_id"`
	Droplet   app.GUID `json:"droplet"`
	Version   app.GUID `json:"version"`
	Index     int      `json:"instance_index"`
}

type stopBody struct {
	MessageID string   `json:"message_id"`
	Droplet   app.GUID `json:"droplet"`
	Version   app.GUID `json:"version"`
	Instance  app.GUID `json:"instance_guid"`
	Index     int      `json:"instance_index"`
	Duplicate bool     `json:"is_duplicate"`
}

// noLeaks fails the test if more goroutines run after it than before.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(),
					stacks[:runtime.Stack(stacks, true)])
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// TestContinuesFromADatabase: a simulation on a database that another one filled has the same apps, and runs them.
func TestContinuesFromADatabase(t *testing.T) {
	n := startNATS(t)
	o := Options{DB: filepath.Join(t.TempDir(), "cc.db"), Apps: 5, DEAs: 2, Seed: 43}
	s := startSim(t, n, o)
	if _, err := s.CC.CreateApp(cc.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	before := s.Apps(0, 100)
	s.Close()
	s = startSim(t, n, o)
	after := s.Apps(0, 100)
	if st := s.State(); !st.Converged || st.Apps != 6 || len(after) != len(before) {
		t.Errorf("after a restart: %+v", st)
	}
	for i := range after {
		if after[i].GUID != before[i].GUID || after[i].Version != before[i].Version ||
			after[i].Instances != before[i].Instances {
			t.Errorf("after a restart: %+v, before: %+v", after[i], before[i])
		}
	}
}
