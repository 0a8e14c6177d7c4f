package reconcile

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

const (
	benchApps      = 400_000
	benchInstances = 1_000_000
	benchDEAs      = 10_000
)

// bigFleet records 1,000,000 instances of 400,000 apps on 10,000 DEAs, all as desired. It is built
// once.
var bigFleet = sync.OnceValue(func() *raftfsm.State {
	s := raftfsm.NewState()
	guid := func(kind byte, n int) app.GUID {
		var b [16]byte
		b[0] = kind
		binary.BigEndian.PutUint64(b[4:], uint64(n)*0x9e3779b97f4a7c15)
		return app.FromBinary(b, 'u')
	}
	index := uint64(0)
	apply := func(r ...raftfsm.Record) {
		index++
		if res := s.Apply(index, 1, raftfsm.Entry{At: app.Time(1_700_000_000_000 + index), Records: r}); res.Err != nil || len(res.Refused) > 0 {
			panic(fmt.Sprint(res.Err, res.Refused))
		}
	}
	var apps []desired.App
	lists := make([][]actual.Instance, benchDEAs)
	placed := 0
	for n := range benchApps {
		k := app.Key{Droplet: guid(1, n), Version: guid(2, n)}
		count := 2 + n%2 // 2.5 on average
		apps = append(apps, desired.App{Key: k, Instances: uint32(count), State: desired.Started, Package: desired.Staged})
		for i := range count {
			dea := (n*7919 + i*104729) % benchDEAs
			lists[dea] = append(lists[dea], actual.Instance{App: k, GUID: guid(3, placed), Index: uint32(i), State: actual.Running, Since: 1_700_000_000_000})
			placed++
		}
	}
	if placed != benchInstances {
		panic(placed)
	}
	parts := raftfsm.Split(raftfsm.DesiredChanges{Generation: 1, Upserts: apps}, raftfsm.MaxEntry)
	for _, p := range parts {
		apply(p)
	}
	apply(raftfsm.DesiredCommit{Generation: 1, Parts: len(parts)})
	for d, list := range lists {
		apply(raftfsm.DEAChanges{DEA: fmt.Sprintf("0-%032x", d), Upserts: list})
	}
	return s.Freeze()
})

// BenchmarkFullDiff is the anti-entropy pass over 1,000,000 instances: budget 60 ms on one core.
// The reference evaluates every app, one by one.
func BenchmarkFullDiff(b *testing.B) {
	view := bigFleet()
	runtime.GC()
	b.ReportAllocs()
	e := NewEvaluator(testPolicy)
	e.Unsettled(view)
	var took time.Duration
	rounds := 0
	for b.Loop() {
		start := time.Now()
		if keys := e.Unsettled(view); len(keys) != 0 {
			b.Fatalf("%d apps of a fleet as desired are unsettled", len(keys))
		}
		took += time.Since(start)
		rounds++
	}
	start := time.Now()
	for a := range view.Apps() {
		e.App(view, a.Key, Knowledge{}, view.Time())
	}
	reference := time.Since(start)
	per := took / time.Duration(rounds)
	b.ReportMetric(float64(per.Microseconds())/1000, "ms/pass")
	b.ReportMetric(float64(reference)/float64(per), "times-faster-than-each-app")
}

// BenchmarkOneApp is what one changed app costs, in a fleet of 1,000,000 instances and in one of
// ten: budget 5 us, whatever the size of the fleet.
func BenchmarkOneApp(b *testing.B) {
	view := bigFleet()
	var keys []app.Key
	for a := range view.Apps() {
		if keys = append(keys, a.Key); len(keys) == 20_000 {
			break
		}
	}
	small := raftfsm.NewState()
	small.Apply(1, 1, raftfsm.Entry{At: 1, Records: []raftfsm.Record{
		raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{{Key: keys[0], Instances: 3, State: desired.Started, Package: desired.Staged}}},
		raftfsm.DesiredCommit{Generation: 1, Parts: 1},
		raftfsm.DEAChanges{DEA: "d", Upserts: []actual.Instance{{App: keys[0], GUID: app.MustGUID("a"), State: actual.Running}, {App: keys[0], GUID: app.MustGUID("b"), Index: 1, State: actual.Running}}},
	}})
	e := NewEvaluator(testPolicy)
	one := func(view *raftfsm.State, k app.Key) { e.App(view, k, Knowledge{}, view.Time()).Plan() }
	measure := func(n int, f func(i int)) time.Duration {
		start := time.Now()
		for i := range n {
			f(i)
		}
		return time.Since(start) / time.Duration(n)
	}
	var big time.Duration
	rounds := 0
	b.ReportAllocs()
	for b.Loop() {
		big += measure(1000, func(i int) { one(view, keys[(rounds*1000+i*13)%len(keys)]) })
		rounds++
	}
	frozen := small.Freeze()
	little := measure(20_000, func(int) { one(frozen, keys[0]) })
	per := big / time.Duration(rounds)
	b.ReportMetric(float64(per.Nanoseconds()), "ns/app")
	b.ReportMetric(float64(per)/float64(little), "of-a-tiny-fleet")
}

// BenchmarkReadCompared compares a read of 400,000 apps, three of which changed, with the record. The
// reference is a lookup of each row, without which nothing can be compared.
func BenchmarkReadCompared(b *testing.B) {
	view := bigFleet()
	var rows []desired.App
	for a := range view.DesiredApps() {
		rows = append(rows, a)
	}
	for i := range 3 {
		rows[i*1000].Instances++
	}
	read, err := desired.NewRead("test", rows)
	if err != nil {
		b.Fatal(err)
	}
	guard := Guard{DesiredShrink: 0.5, MinApps: 20}
	var took time.Duration
	rounds := 0
	for b.Loop() {
		start := time.Now()
		if c := guard.compareRead(view, read); len(c.changes.Upserts) != 3 || c.why != "" {
			b.Fatalf("%d apps changed, %s", len(c.changes.Upserts), c.why)
		}
		took += time.Since(start)
		rounds++
	}
	start := time.Now()
	for _, a := range read.Apps {
		view.DesiredRow(a.Key)
	}
	per := took / time.Duration(rounds)
	b.ReportMetric(float64(per.Microseconds())/1000, "ms/read")
	b.ReportMetric(float64(per)/float64(time.Since(start)), "of-the-lookups")
}

// BenchmarkUnchangedRead takes a read of 400,000 apps of which none has changed, with a digest that says so and without
// one: from the end of the read until it is known to be recorded.
func BenchmarkUnchangedRead(b *testing.B) {
	view := bigFleet()
	read, err := desired.NewRead("test", slices.Collect(view.DesiredApps()))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		digest [16]byte
	}{{"digest", [16]byte{1}}, {"no digest", [16]byte{}}} {
		b.Run(c.name, func(b *testing.B) {
			cf := &simCF{now: view.Time() + 1000, view: view}
			core := NewCore(testOptions(), cf, nil, NewIntake(cf, actual.NewLiveness(hb, 3*hb, 3*hb, cf.now), func() {}), NewEndedCommands(1))
			read.Digest = c.digest
			take := func() {
				cf.now++
				o := ReadOutcome{Began: cf.now, Read: read}
				o.compare(core.opts.Guard, view, core.reads.recorded)
				if err := core.DesiredRead(b.Context(), cf.now, o); err != nil || core.reads.began != cf.now {
					b.Fatal(err, core.reads)
				}
			}
			take()
			for b.Loop() {
				take()
			}
		})
	}
}

// BenchmarkChangedHeartbeat is a heartbeat of 100 instances, one of which changed, from hearing it
// to the change to be recorded.
func BenchmarkChangedHeartbeat(b *testing.B) {
	view := bigFleet()
	id := fmt.Sprintf("0-%032x", 5)
	list := view.DEAInstances(nil, id)
	changed := append([]actual.Instance(nil), list...)
	changed[len(changed)/2].State = actual.Crashed
	b.ReportAllocs()
	var took time.Duration
	rounds := 0
	var compare comparer
	for b.Loop() {
		start := time.Now()
		if c := compare.changes(view, &actual.Heartbeat{DEA: id, Instances: changed}); len(c.Upserts) != 1 || len(c.Removes) != 0 {
			b.Fatalf("%+v", c)
		}
		took += time.Since(start)
		rounds++
	}
	b.ReportMetric(float64(rounds*len(list))/took.Seconds()/1e6, "M-instances/s")
}

// BenchmarkLoss is what the guard against mass loss adds to recording what is lost, in a fleet of
// 1,000,000 instances: of one instance, of a DEA's hundred, and of half of the DEAs at once. It is
// in proportion to what is lost.
func BenchmarkLoss(b *testing.B) {
	view := bigFleet()
	id := func(n int) string { return fmt.Sprintf("0-%032x", n) }
	var half raftfsm.DEAsGone
	for n := range benchDEAs/2 + 100 {
		half.DEAs = append(half.DEAs, id(n))
	}
	opts := testOptions()
	for _, c := range []struct {
		name   string
		record raftfsm.Record
	}{
		{"one instance", raftfsm.DEAChanges{DEA: id(5), Removes: []app.GUID{view.DEAInstances(nil, id(5))[50].GUID}}},
		{"one DEA", raftfsm.DEAsGone{DEAs: []string{id(5)}}},
		{"half of the DEAs", half},
	} {
		b.Run(c.name, func(b *testing.B) {
			cf := &simCF{now: 1_800_000_000_000, view: view}
			b.ReportAllocs()
			for b.Loop() {
				core := NewCore(opts, cf, nil, NewIntake(cf, actual.NewLiveness(hb, 3*hb, 3*hb, cf.now), func() {}), NewEndedCommands(1))
				guarded, _ := core.guardLoss(view, cf.now, []raftfsm.Record{c.record})
				if held := len(guarded) > 1; held != (c.name == "half of the DEAs") {
					b.Fatalf("held: %v", held)
				}
			}
		})
	}
}
