package raftfsm

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// cpu returns the processor time of this process. On a busy machine it is more exact than the time of the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuSince reports the processor seconds an operation.
func cpuSince(b *testing.B, start time.Duration) {
	b.ReportMetric((cpu()-start).Seconds()/float64(b.N), "cpu-s/op")
}

// timed returns the mean time of n calls. It measures the references of benchmarks.
func timed(n int, fn func()) time.Duration {
	start := time.Now()
	for range n {
		fn()
	}
	return time.Since(start) / time.Duration(n)
}

// One changed instance of a DEA with 100 instances, compared with recording the whole list. Both are encoded, decoded
// and applied.
func BenchmarkApplyDEADelta(b *testing.B) {
	s := newFleet(4000, 100).state()
	full := DEAChanges{DEA: "0"}
	for d := range s.DEAs() {
		full.DEA = d.ID
		break
	}
	full.Upserts = s.DEAInstances(nil, full.DEA)
	index := s.Index()
	apply := func(r Record) int {
		data, err := EncodeEntry(Entry{At: s.Time() + 1, Records: []Record{r}})
		if err != nil {
			b.Fatal(err)
		}
		e, err := DecodeEntry(data)
		if err != nil {
			b.Fatal(err)
		}
		index++
		s.Apply(index, 1, e)
		return len(data)
	}
	flip := func(i *actual.Instance) {
		if i.Since++; i.State == actual.Running {
			i.State = actual.Starting
		} else {
			i.State = actual.Running
		}
	}
	var fullBytes int
	whole := timed(200, func() {
		for i := range full.Upserts {
			flip(&full.Upserts[i])
		}
		fullBytes = apply(full)
	})
	var deltaBytes int
	b.ReportAllocs()
	for b.Loop() {
		u := full.Upserts[:1]
		flip(&u[0])
		deltaBytes = apply(DEAChanges{DEA: full.DEA, Upserts: u})
	}
	b.ReportMetric(float64(whole.Nanoseconds())/(float64(b.Elapsed().Nanoseconds())/float64(b.N)), "x-vs-full-list")
	b.ReportMetric(float64(whole.Nanoseconds())/float64(len(full.Upserts)), "ns/instance-full-list")
	b.ReportMetric(float64(fullBytes)/float64(len(full.Upserts)), "B/instance-full-list")
	b.ReportMetric(float64(deltaBytes), "B/delta-entry")
}

// A whole fleet recorded from the empty state, on one core, compared with filling a map of the same instances. The
// longest Apply is the commit of the first read with 400,000 rows.
func BenchmarkApplyColdStart(b *testing.B) {
	f := million()
	reference := timed(1, func() {
		m := make(map[app.GUID]actual.Instance)
		for i := range f.beats {
			for _, u := range f.beats[i].Upserts {
				m[u.GUID] = u
			}
		}
	})
	used := cpu()
	for b.Loop() {
		f.state()
	}
	cpuSince(b, used)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/1M-instances")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/reference.Seconds(), "x-vs-map")
	s := NewState()
	s.Apply(1, 1, Entry{At: 1, Records: []Record{DesiredChanges{Generation: 1, Upserts: f.rows}}})
	commit := timed(1, func() {
		s.Apply(2, 1, Entry{At: 1, Records: []Record{DesiredCommit{Generation: 1, Parts: 1}}})
	})
	b.ReportMetric(float64(commit.Milliseconds()), "ms/first-commit")
}

// Heap of a state with everything that it refers to, compared with a map of decoded instances.
func BenchmarkHeap(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		base := heap()
		f := newFleet(400_000, 10_000)
		input := heap()
		s := f.state()
		both := heap()
		m := make(map[app.GUID]actual.Located)
		for i := range f.beats {
			for _, u := range f.beats[i].Upserts {
				m[u.GUID] = actual.Located{Instance: u, DEA: f.beats[i].DEA}
			}
		}
		reference := heap() - both
		runtime.KeepAlive(m)
		runtime.KeepAlive(f)
		m, f = nil, nil
		alone := heap() - base // the DEA ids are shared with the input
		used := cpu()
		gc := timed(3, runtime.GC)
		b.ReportMetric((cpu()-used).Seconds()*1000/3, "cpu-ms/full-GC")
		n := float64(s.Counts().Instances)
		b.ReportMetric(float64(both-input)/n, "heap-B/instance")
		b.ReportMetric(float64(alone)/n, "heap-B/instance-alone")
		b.ReportMetric(float64(reference)/float64(both-input), "x-smaller-than-map")
		b.ReportMetric(n, "instances")
		b.ReportMetric(float64(gc.Microseconds())/1000, "ms/full-GC")
		runtime.KeepAlive(s)
	}
}

type countingWriter struct{ n int64 }

func (c *countingWriter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

func BenchmarkSnapshotWrite(b *testing.B) {
	s := millionState().Freeze()
	var out countingWriter
	used := cpu()
	for b.Loop() {
		out.n = 0
		if err := s.WriteSnapshot(&out); err != nil {
			b.Fatal(err)
		}
	}
	cpuSince(b, used)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/snapshot")
	b.ReportMetric(float64(out.n)/(1<<20), "MiB")
}

func BenchmarkSnapshotRestore(b *testing.B) {
	data := snapshotOf(b, millionState())
	read := timed(1, func() {
		if _, err := ReadSnapshot(bytes.NewReader(data), nil); err != nil {
			b.Fatal(err)
		}
	})
	used := cpu()
	for b.Loop() {
		if _, err := RestoreState(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	cpuSince(b, used)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/restore")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/read.Seconds(), "x-vs-read-and-check")
}

// The longest Apply, and Freeze, while snapshots of the whole fleet are written, one after the other.
func BenchmarkApplyDuringSnapshot(b *testing.B) {
	s := million().state()
	beats := million().beats
	index := s.Index()
	for b.Loop() {
		start := time.Now()
		view := s.Freeze()
		freeze := time.Since(start)
		var done atomic.Bool
		finished := make(chan error, 1)
		go func() {
			err := view.WriteSnapshot(io.Discard)
			done.Store(true)
			finished <- err
		}()
		var longest time.Duration
		applies := 0
		for !done.Load() {
			beat := beats[applies%len(beats)]
			u := beat.Upserts[0]
			u.State, u.Since = actual.Starting, int64(applies)
			index++
			start := time.Now()
			s.Apply(index, 1, Entry{At: s.Time() + 1, Records: []Record{DEAChanges{DEA: beat.DEA, Upserts: []actual.Instance{u}}}})
			longest = max(longest, time.Since(start))
			applies++
			time.Sleep(50 * time.Microsecond) // about the rate of a busy log
		}
		if err := <-finished; err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-apply")
		b.ReportMetric(float64(freeze.Nanoseconds())/1000, "us/freeze")
		b.ReportMetric(float64(applies), "applies")
	}
}

func BenchmarkFreezeAndApply(b *testing.B) {
	s := millionState()
	beats := million().beats
	index := s.Index()
	n := 0
	for b.Loop() {
		s.Freeze()
		beat := beats[n%len(beats)]
		n++
		u := beat.Upserts[0]
		u.Since = int64(n)
		index++
		s.Apply(index, 1, Entry{At: s.Time() + 1, Records: []Record{DEAChanges{DEA: beat.DEA, Upserts: []actual.Instance{u}}}})
	}
}

func BenchmarkEachInstance(b *testing.B) {
	s := millionState().Freeze()
	flat := make([]uint64, s.Counts().Instances) // reference: a loop over as many numbers
	var sink uint64
	reference := timed(5, func() {
		for _, v := range flat {
			sink += v
		}
	})
	var n [5]int
	for b.Loop() {
		s.EachInstance(func(_ Handle, _ uint32, st actual.State, _ app.Time) { n[st&3]++ })
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/1M-instances")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(reference.Nanoseconds()), "x-vs-flat-slice")
}

func BenchmarkInstancesOfOneApp(b *testing.B) {
	s := millionState().Freeze()
	rows := million().rows
	var dst []actual.Located
	n := 0
	for b.Loop() {
		dst = s.Instances(dst[:0], rows[n*7919%len(rows)].Key)
		n++
	}
}

// The hash of one instance, subtracted and added again.
func BenchmarkHash(b *testing.B) {
	s := millionState()
	d := *s.deas.get(0)
	k := s.apps.key(d.inst[0].app)
	var e encoding
	var t sum
	ask := timed(1000, func() { s.Hash() })
	for b.Loop() {
		h := e.instance(d.seed, &d.inst[0], d.guid(0), k)
		t.sub(h)
		h = e.instance(d.seed, &d.inst[0], d.guid(0), k)
		t.add(h)
	}
	b.ReportMetric(float64(ask.Nanoseconds()), "ns/Hash()")
}

// One app with an instance on each of 10,000 DEAs: the time must not grow with the square.
func BenchmarkWideApp(b *testing.B) {
	const n = 10_000
	s := NewState()
	k := testKey(0)
	record := timed(1, func() {
		for i := range n {
			s.Apply(uint64(i+1), 1, Entry{At: 1, Records: []Record{DEAChanges{DEA: fmt.Sprint("dea-", i), Upserts: []actual.Instance{testInstance(k, 3*i, uint32(i), actual.Running)}}}})
		}
	})
	var dst []actual.Located
	for b.Loop() {
		dst = s.Instances(dst[:0], k)
	}
	b.ReportMetric(float64(record.Nanoseconds())/n, "ns/instance-recorded")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/instance-read")
}
