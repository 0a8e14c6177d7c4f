package journal

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

const (
	stormRate    = 1_500 // crashes a second: a fleet of 300,000 instances that all crash every 200 s
	stormEntries = 50    // entries a second
	stormSeconds = 2
)

// BenchmarkCrashStorm applies entries with 1,500 crashes a second, with and without the journal. It gives the median and the
// 99th percentile of the time that the goroutine which applies them needs for one, the processor time of the journal as a
// share of one core, the bytes of an event, and how many events a second the journal stores at most.
func BenchmarkCrashStorm(b *testing.B) {
	for b.Loop() {
		without, bare := storm(b, nil)
		path := b.TempDir() + "/journal.db"
		j, err := New(Options{Path: path, Node: "hm-0", Entries: 1_000_000, Now: func() app.Time { return 1 }})
		if err != nil {
			b.Fatal(err)
		}
		j.Start()
		with, all := storm(b, j)
		await := func(index uint64) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := j.AwaitStored(ctx, index); err != nil {
				b.Fatal(err)
			}
		}
		last := j.input.reached
		await(last)
		s := j.Stats()
		b.ReportMetric(float64(without.median.Microseconds()), "us/apply-without")
		b.ReportMetric(float64(with.median.Microseconds()), "us/apply-with")
		b.ReportMetric(float64(with.median)/float64(without.median), "x-vs-without")
		b.ReportMetric(float64(without.p99.Microseconds()), "us/p99-without")
		b.ReportMetric(float64(with.p99.Microseconds()), "us/p99-with")
		b.ReportMetric(100*(all-bare).Seconds()/stormSeconds, "%core")
		b.ReportMetric(float64(s.Bytes)/float64(s.Entries), "B/event")
		began := time.Now()
		const burst = 60_000
		for i := range uint64(burst / 500) {
			j.Applied(applied(last+1+i, 1, slices.Repeat([]Event{crash(int(i))}, 500)...))
		}
		await(last + burst/500)
		b.ReportMetric(burst/time.Since(began).Seconds(), "events/s-stored")
		if s := j.Stats(); s.Lost > 0 || s.Entries != 100+stormRate*stormSeconds+burst { // 100 DEAs are new
			b.Fatalf("events are lost: %+v", s)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(j.Stats().Entries), "B/event-in-file")
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

type latency struct{ median, p99 time.Duration }

// storm applies a storm's entries at their pace, and gives how long each took and the processor time of the process.
func storm(b *testing.B, j *Journal) (latency, time.Duration) {
	b.Helper()
	const perEntry = stormRate / stormEntries
	s := raftfsm.NewState()
	index := uint64(0)
	apply := func(records ...raftfsm.Record) {
		index++
		e := raftfsm.Entry{At: app.Time(1000 + index), Records: records}
		res := s.Apply(index, 1, e)
		if len(res.Refused) > 0 || res.Err != nil {
			b.Fatal(res.Refused, res.Err)
		}
		if j != nil {
			j.Applied(raftfsm.Applied{Index: index, Term: 1, Entry: e, Result: res})
		}
	}
	instance := func(n int, st actual.State) actual.Instance {
		return actual.Instance{App: testKey(n / 4), GUID: testGUID(n + 1), Index: uint32(n % 4), State: st}
	}
	for d := range 100 {
		var list []actual.Instance
		for n := range 100 {
			list = append(list, instance(100*d+n, actual.Running))
		}
		apply(raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%036d", d), Upserts: list})
	}
	took := make([]time.Duration, 0, stormEntries*stormSeconds)
	used, began := cpu(), time.Now()
	for i := range stormEntries * stormSeconds {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / stormEntries)))
		var list []actual.Instance
		for n := range perEntry {
			list = append(list, instance(i%100*100+n, actual.Crashed))
		}
		start := time.Now()
		apply(raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%036d", i%100), Upserts: list})
		took = append(took, time.Since(start))
	}
	used = cpu() - used
	slices.Sort(took)
	return latency{took[len(took)/2], took[len(took)*99/100]}, used
}

// cpu gives the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
