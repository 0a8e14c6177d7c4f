package reconcile

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// BenchmarkSteadyTimes is one heartbeat period of a fleet of 1,000,000 instances that does not change: each of the
// 10,000 DEAs is heard once, and a follower steps twice. The reference is the same without anybody who is told how long
// things take.
func BenchmarkSteadyTimes(b *testing.B) {
	view := bigFleet()
	digest := func(d int) (x actual.Digest) {
		binary.BigEndian.PutUint64(x[:], uint64(d)+1)
		return x
	}
	fleet := func(times Times) func() time.Duration {
		log := steadyLog{&simCF{}, view}
		live := actual.NewLiveness(10*time.Second, 30*time.Second, 30*time.Second, 0)
		intake := NewIntake(log, live, func() {})
		opts := testOptions()
		opts.Times = times
		core := NewCore(opts, log, nil, intake, NewEndedCommands(1))
		for d := range benchDEAs {
			id := fmt.Sprintf("0-%032x", d)
			intake.Heartbeat(actual.Heartbeat{DEA: id, Instances: view.DEAInstances(nil, id)}, digest(d))
		}
		if n := intake.Backlog(); n > 0 {
			b.Fatalf("%d DEAs are not as recorded", n)
		}
		return func() time.Duration {
			began := time.Now()
			for d := range benchDEAs {
				if !intake.Unchanged(digest(d)) {
					b.Fatal("a heartbeat counts as changed")
				}
			}
			for range 2 {
				step := time.Now()
				core.follow(log.Now(), Lead{})
				observe(opts.Times.Step, time.Since(step))
			}
			return time.Since(began)
		}
	}
	var told seen
	without := fleet(Times{})
	with := fleet(Times{HeartbeatRecorded: &told, ExitRecorded: &told, Step: &told})
	without()
	with()
	took, reference := with(), without()
	for b.Loop() { // the fastest rounds: others were disturbed
		reference = min(reference, without())
		took = min(took, with())
		told.times = told.times[:0]
	}
	b.ReportMetric(float64(took.Nanoseconds())/benchDEAs, "ns/heartbeat")
	b.ReportMetric(float64(took)/float64(reference), "of-untold")
}

// steadyLog is a log whose state does not change.
type steadyLog struct {
	*simCF
	view *raftfsm.State
}

func (l steadyLog) View() *raftfsm.State     { return l.view }
func (l steadyLog) Now() app.Time            { return 1_700_000_020_000 }
func (l steadyLog) Suspended() time.Duration { return 0 }
