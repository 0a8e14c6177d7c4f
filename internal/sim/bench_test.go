package sim

import (
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHeartbeats runs a fleet for a few seconds and reports the processor time per heartbeat, the cores that the
// fleet uses, and the ratio to a loop that publishes messages of the same size at the same rate over one connection. The
// embedded NATS server's time is in both.
func BenchmarkHeartbeats(b *testing.B) {
	for _, bc := range []struct {
		name   string
		deas   int
		period time.Duration
	}{
		{"100 DEAs of 100 at 100ms", 100, 100 * time.Millisecond},
		{"10000 DEAs of 100 at 10s", 10_000, 10 * time.Second},
	} {
		b.Run(bc.name, func(b *testing.B) {
			n := startNATS(b)
			s := startSim(b, n, Options{Apps: bc.deas * 40, InstancesPerApp: 3, DEAs: bc.deas, Seed: 1,
				HeartbeatPeriod: bc.period})
			s.State()
			if bc.period > time.Second { // let every DEA encode its first heartbeat
				poll(b, "a first round", func() bool { return s.State().Heartbeats >= uint64(bc.deas) })
			}
			l := listen(b, n, subjectHeartbeat)
			const span = 3 * time.Second
			var perBeat, core, reference float64
			for b.Loop() {
				beats, used := s.State().Heartbeats, cpu(b)
				time.Sleep(span)
				used, beats = cpu(b)-used, s.State().Heartbeats-beats
				perBeat = float64(used) / float64(beats)
				core = float64(used) / float64(span)
			}
			size := len(l.until("a heartbeat", func(m []*nats.Msg) bool { return len(m) > 0 })[0].Data)
			s.Close()
			reference = bare(b, n, size, time.Duration(float64(bc.period)/float64(bc.deas)), span)
			b.ReportMetric(perBeat/1e3, "µs-cpu/beat")
			b.ReportMetric(core, "cores")
			b.ReportMetric(float64(size), "B/beat")
			b.ReportMetric(perBeat/reference, "x-bare-publisher")
		})
	}
}

// bare publishes messages of a size at a steady pace and gives the processor time for each, in nanoseconds.
func bare(b *testing.B, n *NATS, size int, every, span time.Duration) float64 {
	nc, err := nats.Connect(n.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	data := make([]byte, size)
	used, sent := cpu(b), 0
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end); sent++ {
		<-tick.C
		if err := nc.Publish(subjectHeartbeat, data); err != nil {
			b.Fatal(err)
		}
	}
	return float64(cpu(b)-used) / float64(sent)
}
