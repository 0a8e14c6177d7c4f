package fleet

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/sim/wire"
)

// testOptions are the options of a fleet that runs nothing by itself.
func testOptions() Options {
	return Options{
		HeartbeatPeriod: 10 * time.Second, Connections: 1, Partition: "default",
		Logger: slog.New(slog.DiscardHandler), After: func(time.Duration, func()) {},
	}
}

// FuzzHandle: no message on a DEA's subjects makes the fleet fail.
func FuzzHandle(f *testing.F) {
	for _, seed := range []string{`{"droplet":"a","version":"b","index":0}`, `{"droplet":"a","instances":["x"],"instance_ids":[],"indices":[1],"states":["RUNNING"]}`,
		`[]`, `{"index":4294967296}`, `null`} {
		f.Add([]byte(seed))
	}
	fleet := New(testOptions())
	c := newConnection(fleet, 1)
	d := fleet.addDEA(c, time.Now())
	f.Fuzz(func(t *testing.T, data []byte) {
		c.handle(wire.SubjectDEAStart(d.id), data)
		c.handle(wire.SubjectDEAStop, data)
		fleet.mu.Lock()
		payload := c.encode(d)
		fleet.mu.Unlock()
		if !json.Valid(payload) {
			t.Fatalf("after %q the DEA sends %q", data, payload)
		}
	})
}

// TestABatchKeepsItsHeartbeats: a DEA that is twice in a batch, and changes in between, sends both heartbeats whole.
func TestABatchKeepsItsHeartbeats(t *testing.T) {
	fleet := New(testOptions())
	c := newConnection(fleet, 1)
	now := time.Now()
	d := fleet.addDEA(c, now)
	c.handle(wire.SubjectDEAStart(d.id), []byte(`{"droplet":"a","version":"b","index":0}`))
	if len(d.instances) != 1 {
		t.Fatalf("the DEA has %d instances, want 1", len(d.instances))
	}
	fleet.setState(d.instances[0], actual.Running)
	if err := fleet.SetUnrest(Unrest{Change: 1}); err != nil {
		t.Fatal(err)
	}
	c.nextBatch(now, nil) // it has a buffer now
	for range 3 {
		now = now.Add(testOptions().HeartbeatPeriod)
		c.heartbeatNow(d)
		d.stale = true
		batch, _ := c.nextBatch(now, nil)
		if len(batch) != 2 {
			t.Fatalf("a batch has %d messages, want 2", len(batch))
		}
		for i, m := range batch {
			if !json.Valid(m.Data) {
				t.Errorf("message %d of a batch is %q", i, m.Data)
			}
		}
		if bytes.Equal(batch[0].Data, batch[1].Data) {
			t.Errorf("both messages are %q, want a change", batch[0].Data)
		}
	}
}
