package fleet

import (
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// BenchmarkEncode encodes the heartbeat of 100 instances. Its reference is a heartbeat that is already encoded.
func BenchmarkEncode(b *testing.B) {
	f := New(testOptions())
	c := newConnection(f, 1)
	d := f.addDEA(c, time.Now())
	for i := range 100 {
		f.add(d, app.Key{Droplet: f.ids.UUID(), Version: f.ids.UUID()}, uint32(i%4), actual.Running)
	}
	c.encode(d)
	start := time.Now()
	const kept = 100_000
	for range kept {
		c.encode(d)
	}
	reference := float64(time.Since(start)) / kept
	start = time.Now()
	n := 0
	for b.Loop() {
		d.stale = true
		c.encode(d)
		n++
	}
	b.ReportMetric(float64(time.Since(start))/float64(n)/reference, "x-kept")
}
