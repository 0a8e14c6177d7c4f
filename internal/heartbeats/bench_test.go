package heartbeats

import (
	"fmt"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"time"

	"hm/actual/feed"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

const (
	benchDEAs      = 1000
	benchInstances = 100
)

// BenchmarkUnchanged handles heartbeats of 1,000 DEAs with 100 instances that repeat themselves: over NATS, over HTTPS at
// one node, and over HTTPS at one node of three. The processor time is that of all parts in this process: DEAs, NATS
// server or TLS, and the nodes. The ratio is to NATS with one node.
func BenchmarkUnchanged(b *testing.B) {
	bodies := make([][]byte, benchDEAs)
	for d := range bodies {
		bodies[d] = beat(fmt.Sprintf("dea-%d", d), benchInstances)
	}
	var overNATS float64
	measure := func(b *testing.B, base bool, send func(n int), settle func()) {
		for n := range bodies { // they are known from then on
			send(n)
		}
		settle()
		before := processorTime()
		b.ResetTimer()
		for n := range b.N {
			send(n % benchDEAs)
		}
		settle()
		used := float64(processorTime()-before) / float64(b.N)
		b.ReportMetric(used/1e3, "cpu-us/heartbeat")
		if base {
			overNATS = used
		}
		b.ReportMetric(used/overNATS, "ratio")
	}
	b.Run("NATS", func(b *testing.B) {
		srv := bustest.Run(b, nil)
		srv.SetLogger(nil, false, false) // it traces each message otherwise
		link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}})
		if err != nil {
			b.Fatal(err)
		}
		defer link.Close()
		f, err := feed.Open(link, &sink{}, time.Second, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		bustest.Until(b, "the link is up", func() bool { return link.State().Up })
		nc := bustest.Client(b, srv.URL())
		sent := uint64(0)
		measure(b, true, func(n int) {
			if err := nc.Publish(feed.SubjectHeartbeat, bodies[n]); err != nil {
				b.Fatal(err)
			}
			sent++
		}, func() {
			bustest.Until(b, "all is heard", func() bool { return f.Stats().Heartbeats.Received == sent })
		})
	})
	for nodes := 1; nodes <= 3; nodes += 2 {
		b.Run(fmt.Sprintf("HTTPS, %d nodes", nodes), func(b *testing.B) {
			var to []*peerNode
			for range nodes - 1 {
				to = append(to, servePeer(b, time.Second))
			}
			s := serve(b, func(o *Options) {
				o.Period = time.Second // no DEA is too fast
				if len(to) > 0 {
					o.Relay = relayTo(b, time.Second, to...)
				}
			})
			c := s.client(b)
			measure(b, false, func(n int) {
				if got := s.post(b, c, bodies[n]); got != http.StatusAccepted {
					b.Fatalf("answered %d", got)
				}
			}, func() {})
		})
	}
}

func processorTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
