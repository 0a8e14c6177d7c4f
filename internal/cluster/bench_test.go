package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	boltstore "github.com/hashicorp/raft-boltdb/v2"
)

// rate runs do from callers goroutines, n times in all, and gives calls a second.
func rate(b *testing.B, n, callers int, do func(i int) error) float64 {
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(begin).Seconds()
}

// BenchmarkPropose compares Propose of a record of about 200 bytes with raft.Apply of as many bytes, both on three
// nodes over TCP with the same stores, and a state machine that does nothing behind raft.Apply.
func BenchmarkPropose(b *testing.B) {
	record := bigDEA("dea-of-the-benchmark", 3)
	size, err := encodedSize(record)
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, size)
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			timeouts := func(_ int, o *Options) {
				o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = time.Second, time.Second, 500*time.Millisecond
			}
			c := startCluster(b, 3, timeouts)
			n := c.leader()
			n0, e0 := n.Stats().Proposals, n.Stats().Entries
			propose := func(i int) error {
				r := record
				r.DEA = deaID(i % 1000)
				_, err := n.Propose(context.Background(), r)
				return err
			}
			ours := rate(b, max(b.N, callers), callers, propose)
			packed := float64(n.Stats().Proposals-n0) / float64(n.Stats().Entries-e0)
			for i := range c.nodes {
				c.close(i)
			}
			leader := rawCluster(b)
			raw := rate(b, max(b.N, callers), callers, func(int) error { return leader.Apply(payload, 0).Error() })
			b.ReportMetric(ours, "proposals/s")
			b.ReportMetric(raw, "raft.Apply/s")
			b.ReportMetric(ours/raw, "ratio")
			b.ReportMetric(packed, "proposals/entry")
			b.ReportMetric(float64(size), "B/record")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type nullFSM struct{}

func (nullFSM) Apply(*raft.Log) any                 { return nil }
func (nullFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, io.EOF }
func (nullFSM) Restore(io.ReadCloser) error         { return nil }

type rawStream struct{ net.Listener }

func (rawStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// rawCluster is hashicorp/raft on the stores and the transport of Node, and nothing else. It returns the leader.
func rawCluster(b *testing.B) *raft.Raft {
	quiet := hclog.NewNullLogger()
	var config raft.Configuration
	var listeners []net.Listener
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		listeners = append(listeners, l)
		config.Servers = append(config.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: raft.ServerAddress(l.Addr().String())})
	}
	var nodes []*raft.Raft
	for i, l := range listeners {
		dir := b.TempDir()
		store, err := boltstore.New(boltstore.Options{Path: filepath.Join(dir, "raft.db")})
		if err != nil {
			b.Fatal(err)
		}
		snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, quiet)
		if err != nil {
			b.Fatal(err)
		}
		conf := raft.DefaultConfig()
		conf.LocalID, conf.Logger = config.Servers[i].ID, quiet
		trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: rawStream{l}, MaxPool: 3, Timeout: 2 * time.Second, Logger: quiet})
		if err := raft.BootstrapCluster(conf, store, store, snapshots, trans, config); err != nil {
			b.Fatal(err)
		}
		r, err := raft.NewRaft(conf, nullFSM{}, store, store, snapshots, trans)
		if err != nil {
			b.Fatal(err)
		}
		nodes = append(nodes, r)
		b.Cleanup(func() {
			_ = r.Shutdown().Error()
			trans.CloseStreams()
			_ = store.Close()
		})
	}
	var leader *raft.Raft
	eventually(b, "a node leads", func() bool {
		for _, r := range nodes {
			if r.State() == raft.Leader && r.Barrier(0).Error() == nil {
				leader = r
				return true
			}
		}
		return false
	})
	return leader
}

// BenchmarkFailover measures from the death of the leader to the next Leadership with Leader set, at the default
// timeouts. The connections of the dead leader are closed at once, as the kernel does for a process that was killed.
func BenchmarkFailover(b *testing.B) {
	for _, ms := range []int{500, 200} {
		b.Run(fmt.Sprintf("timeouts=%d-%d-%dms", ms, ms, ms/2), func(b *testing.B) {
			timeout := time.Duration(ms) * time.Millisecond
			c := startCluster(b, 3, func(_ int, o *Options) {
				o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = timeout, timeout, timeout/2
			})
			var took []time.Duration
			for range max(b.N, 5) {
				old := c.leader()
				c.propose(dea(1))
				c.converged()
				at := c.index(old)
				begin := time.Now()
				dead := make(chan struct{})
				c.nodes[at] = nil
				go func() {
					_ = old.close(false)
					close(dead)
				}()
				c.leader()
				took = append(took, time.Since(begin))
				<-dead
				c.start(at)
				c.propose(dea(2))
				c.converged()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms/median")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms/max")
			b.ReportMetric(0, "ns/op")
		})
	}
}
