package diff_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
)

var sink int

// BenchmarkApp decides and plans one app of three instances (budget: 5 us).
func BenchmarkApp(b *testing.B) {
	for name, facts := range map[string]string{
		"unchanged": "desired 3 STAGED\n0 RUNNING a\n1 RUNNING b\n2 RUNNING c",
		"crash":     "desired 3 STAGED\n0 RUNNING a\n1 CRASHED b\n2 RUNNING c\ncrash 1 x4 last=-1m of=z",
		"pending":   "desired 3 STAGED\n0 RUNNING a\n1 CRASHED b\n2 RUNNING c\ncrash 1 x5 last=-1m of=b\nstart 1 CRASHED due=+30s of=b",
	} {
		in, err := parseInput(facts)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var findings []diff.Finding
			for b.Loop() {
				findings = diff.App(findings[:0], in, t0, policy)
				sink += len(diff.MakePlan(in, findings, t0, policy).Ops)
			}
		})
	}
}

// BenchmarkLargestApp decides and plans the largest app that hm accepts, with nothing running and a start pending
// for each index. The figure to watch is ns/index beside that of the small one.
func BenchmarkLargestApp(b *testing.B) {
	perIndex := func(b *testing.B, n uint32) float64 {
		in, err := parseInput(fmt.Sprintf("desired %d STAGED", n))
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			c := commands.Command{Action: commands.Start, App: key, Index: i, Reason: commands.ReasonMissing, DueAt: t0.Add(time.Minute)}
			c.ID = commands.NewID(c)
			in.Outstanding = append(in.Outstanding, c.Outstanding())
		}
		var findings []diff.Finding
		begun := time.Now()
		rounds := max(1, 1_000_000/int(n))
		for range rounds {
			findings = diff.App(findings[:0], in, t0, policy)
			sink += len(diff.MakePlan(in, findings, t0, policy).Ops)
		}
		return float64(time.Since(begun).Nanoseconds()) / float64(rounds) / float64(n)
	}
	for b.Loop() {
		small, large := perIndex(b, 100), perIndex(b, desired.MaxInstances)
		b.ReportMetric(large, "ns/index")
		b.ReportMetric(large/small, "x-of-100-indices")
	}
}

// BenchmarkTally passes over a whole fleet, 1,000,000 instances of 400,000 apps, the pure part of the full diff
// (budget of the whole: 60 ms). Its reference is a loop that only reads the same instances.
func BenchmarkTally(b *testing.B) {
	const apps, instances = 400_000, 1_000_000
	type record struct {
		app   uint32
		index uint16
		state actual.State
	}
	fleet := make([]record, 0, instances)
	rows := make([]desired.App, apps)
	for i := range rows {
		rows[i] = desired.App{Instances: 2, State: desired.Started, Package: desired.Staged}
		if i%2 == 0 {
			rows[i].Instances = 3
		}
		for index := range rows[i].Instances {
			fleet = append(fleet, record{uint32(i), uint16(index), actual.Running})
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(fleet), func(i, j int) { fleet[i], fleet[j] = fleet[j], fleet[i] }) // as they lie on DEAs
	tallies := make([]diff.Tally, apps)
	var bare, pass time.Duration
	for b.Loop() {
		begun := time.Now()
		seen := make([]byte, apps)
		for i := range fleet {
			seen[fleet[i].app] += byte(fleet[i].state) // the same walk, without a verdict
		}
		sink += int(seen[0])
		bare += time.Since(begun)

		begun = time.Now()
		clear(tallies)
		for i := range fleet {
			tallies[fleet[i].app].Add(uint32(fleet[i].index), fleet[i].state, t0)
		}
		for i := range rows {
			if !tallies[i].Settled(rows[i]) {
				b.Fatalf("app %d is not settled", i)
			}
		}
		pass += time.Since(begun)
	}
	b.ReportMetric(float64(pass.Microseconds())/1000/float64(b.N), "ms/pass")
	b.ReportMetric(float64(pass)/float64(bare), "x-of-bare-loop")
}
