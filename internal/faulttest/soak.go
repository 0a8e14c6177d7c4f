package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// The soak runs three real nodes for a long time under the usual life of a Cloud Foundry: apps come, go, crash and
// change, DEAs are replaced, nodes restart, NATS goes away. It looks for what grows.

// stays is the node that the soak never restarts, so that everything that grows in a process has the time to.
const stays = "hm-0"

var soakTracks = []track{
	{1, 6, drawApp},
	{1, 40, func(rnd *rand.Rand) Fault {
		kinds := []Kind{DEAKill, DEARestart, DEAEvacuate, DEAShutdown}
		return Fault{Kind: kinds[rnd.IntN(len(kinds))], Count: 1, For: 5 + 20*rnd.Float64()}
	}},
	{1, 240, func(rnd *rand.Rand) Fault {
		f := Fault{Kind: []Kind{NodeKill, NodeStop}[rnd.IntN(2)], Target: []Target{"hm-1", "hm-2"}[rnd.IntN(2)], For: 3 + 10*rnd.Float64()}
		if rnd.IntN(3) == 0 { // the leader hands over, whichever it is
			f.Kind, f.Target = NodeNoNATS, Leader
		}
		return f
	}},
	{1, 400, func(rnd *rand.Rand) Fault { return Fault{Kind: NATSKill, For: 2 + 15*rnd.Float64()} }},
}

// soakKeys let a small fleet fill the log and the history, so that snapshots are made and old events removed.
var soakKeys = []string{"raft.snapshot_threshold=200", "raft.snapshot_interval=20s", "commands.journal_entries=2000"}

// SoakResult is what a soak found.
type SoakResult struct {
	Result
	Figures []Figures
	Grown   []string // what grew, in words
}

// Soak runs a world for s.Periods, and tells report the figures of each node every minute. An error means that the bench
// itself failed, and that there is no result.
func Soak(ctx context.Context, s Settings, seed uint64, report func(Figures)) (*SoakResult, error) {
	s.Keys, s.Unrecorded = append(s.Keys, soakKeys...), true
	w, err := startWorld(s, seed)
	if err != nil {
		return nil, err
	}
	defer w.close()
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	r := &SoakResult{Result: Result{Seed: seed, Schedule: plan(seed, s.Periods, soakTracks)}}
	watching, end := context.WithCancel(w.ctx)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Figures = w.measure(watching, report)
	}()
	err = w.play(&r.Result)
	end()
	<-done
	if err != nil {
		return nil, err
	}
	w.settle()
	arrived, err := w.control.commands(w.ctx)
	if err != nil {
		return nil, fmt.Errorf("the commands that the Cloud Controller received: %w", err)
	}
	requests, err := w.control.router(w.ctx)
	if err != nil {
		return nil, fmt.Errorf("what became of the users' requests: %w", err)
	}
	w.close()
	w.obs.requests(requests)
	r.Record = w.obs.finish(arrived)
	r.Violations = Judge(r.Record)
	r.Grown = Growth(r.Figures)
	return r, r.save(s.Dir)
}

// measure takes the figures of all nodes every minute until ctx ends.
func (w *world) measure(ctx context.Context, report func(Figures)) (all []Figures) {
	const looks = 12 // in a minute; the least heap of them counts, since between two collections it goes up
	began := time.Now()
	tick := time.NewTicker(time.Minute / looks)
	defer tick.Stop()
	least := map[string]float64{}
	for look := 1; ; look++ {
		select {
		case <-ctx.Done():
			return all
		case <-tick.C:
		}
		for _, n := range w.nodes {
			f, err := n.figures(ctx)
			if err != nil {
				continue // it is down
			}
			if heap, ok := least[n.id]; !ok || f.Heap < heap {
				least[n.id] = f.Heap
			}
			if look%looks != 0 {
				continue
			}
			f.At, f.Heap, f.Commands = time.Since(began), least[n.id], w.obs.commands()
			delete(least, n.id)
			all = append(all, f)
			report(f)
		}
	}
}

// commands gives how many commands were sent.
func (o *observer) commands() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.rec.Commands)
}
