package fleet

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

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
