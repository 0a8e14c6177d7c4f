//go:build unix

package feed

import (
	"bytes"
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"hm/actual"
)

// fleet returns so many different heartbeats that they do not all fit into the processor's cache.
func fleet(deas int) [][]byte {
	all := make([][]byte, deas)
	for i := range all {
		all[i] = dea(uint64(i), 100)
	}
	return all
}

// plain decodes a heartbeat with the standard library, without checks.
type plain struct {
	DEA      string `json:"dea"`
	Droplets []struct {
		Droplet  string  `json:"droplet"`
		Version  string  `json:"version"`
		Instance string  `json:"instance"`
		Index    int     `json:"index"`
		State    string  `json:"state"`
		Since    float64 `json:"state_timestamp"`
	} `json:"droplets"`
}

// cpu returns the processor time of this process. On a busy machine it is more exact than the wall clock.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkHeartbeat reports instances a second of processor time, and the ratio to encoding/json.
func BenchmarkHeartbeat(b *testing.B) {
	all := fleet(500)
	spaced := make([][]byte, len(all))
	for i, data := range all {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
		spaced[i], _ = json.MarshalIndent(v, "", " ") // sorted names, and spaces
	}
	began := cpu(b)
	for _, data := range all {
		var p plain
		if err := json.Unmarshal(data, &p); err != nil {
			b.Fatal(err)
		}
	}
	reference := float64((cpu(b) - began).Nanoseconds()) / float64(len(all))
	decode := func(data []byte) {
		if hb, err := DecodeHeartbeat(data); err != nil || len(hb.Instances) != 100 {
			b.Fatal(err)
		}
	}
	keyed, fast := NewDigester(), NewFastDigester()
	known := map[Digest]bool{}
	for _, data := range all {
		known[keyed.Sum(data)], known[fast.Sum(data)] = true, true
	}
	for _, c := range []struct {
		name string
		data [][]byte
		fn   func([]byte)
	}{
		{"decode", all, decode},
		{"decode-any-order", spaced, decode},
		{"decode-complete", all, func(data []byte) {
			var hb actual.Heartbeat
			hb, err := readHeartbeat(data)
			if err != nil || len(hb.Instances) != 100 {
				b.Fatal(err)
			}
		}},
		{"unchanged", all, func(data []byte) {
			if !known[keyed.Sum(data)] {
				b.Fatal("changed")
			}
		}},
		{"unchanged-fast", all, func(data []byte) {
			if !known[fast.Sum(data)] {
				b.Fatal("changed")
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i, began := 0, cpu(b)
			for b.Loop() {
				c.fn(c.data[i%len(c.data)])
				i++
			}
			ns := float64((cpu(b) - began).Nanoseconds()) / float64(b.N)
			b.ReportMetric(100*1e3/ns, "Minst/s")
			b.ReportMetric(reference/ns, "x-json")
		})
	}
}

// BenchmarkRedecoder decodes heartbeats in which five of a hundred instances have changed.
func BenchmarkRedecoder(b *testing.B) {
	const deas = 500
	before, after := make([][]byte, deas), make([][]byte, deas)
	for i := range before {
		before[i] = dea(uint64(i), 100)
		after[i] = bytes.Clone(before[i])
		for at, n := 0, 0; n < 100; n++ {
			at += bytes.Index(after[i][at:], []byte(`"instance":"`)) + len(`"instance":"`)
			if n%20 == 0 {
				copy(after[i][at:], "00000000")
			}
		}
	}
	var r Redecoder
	began, n := cpu(b), 0
	for b.Loop() {
		for i := range before {
			for _, data := range [][]byte{before[i], after[i]} {
				hb, err := r.Decode(data)
				if err != nil {
					b.Fatal(err)
				}
				n += len(hb.Instances)
			}
		}
	}
	b.ReportMetric(float64(n)/(cpu(b)-began).Seconds()/1e6, "M-inst/cpu-s")
	b.ReportMetric(0, "ns/op")
}
