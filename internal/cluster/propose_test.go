package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

func bigDesired(n int) raftfsm.DesiredChanges {
	d := raftfsm.DesiredChanges{Generation: 1}
	for i := range n {
		d.Upserts = append(d.Upserts, desired.App{Key: instance(i).App, Instances: 1, State: desired.Started, Package: desired.Staged})
	}
	return d
}

func bigDEA(name string, n int) raftfsm.DEAChanges {
	d := raftfsm.DEAChanges{DEA: name}
	for i := range n {
		d.Upserts = append(d.Upserts, instance(i))
	}
	return d
}

func TestCut(t *testing.T) {
	small, err := encodedSize(dea(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		recs  []raftfsm.Record
		limit int
		want  [][]int // of each chunk, the origins of its records
		err   error
	}{
		{"what fits stays together", []raftfsm.Record{dea(1), dea(2), dea(3)}, 3 * small, [][]int{nil}, nil},
		{"order is kept", []raftfsm.Record{dea(1), dea(2), dea(3)}, 2*small + 10, [][]int{{0, 1}, {2}}, nil},
		{"a large record is split", []raftfsm.Record{dea(1), bigDesired(2), dea(2)}, small, [][]int{{0}, {1}, {2}}, nil},
		{"what cannot be split is refused", []raftfsm.Record{raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "h", Reason: string(make([]byte, 900))}}}, 500, nil, raftfsm.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chunks, err := cut(tt.recs, tt.limit)
			if !errors.Is(err, tt.err) {
				t.Fatalf("the error is %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if len(chunks) != len(tt.want) {
				t.Fatalf("%d chunks, want %d", len(chunks), len(tt.want))
			}
			for i, c := range chunks {
				if len(c.origin) != len(tt.want[i]) {
					t.Errorf("chunk %d has the origins %v, want %v", i, c.origin, tt.want[i])
				}
				for j := range c.origin {
					if c.origin[j] != tt.want[i][j] {
						t.Errorf("chunk %d has the origins %v, want %v", i, c.origin, tt.want[i])
					}
				}
			}
		})
	}
}

func TestCutKeepsEveryEntryWithinItsLimit(t *testing.T) {
	recs := []raftfsm.Record{dea(1), bigDesired(30_000), dea(2), bigDEA("a", 18_000), bigDEA("b", 18_000), dea(3)}
	chunks, err := cut(recs, raftfsm.MaxEntry)
	if err != nil {
		t.Fatal(err)
	}
	last, apps, instances := 0, 0, 0
	for i, c := range chunks {
		b, err := raftfsm.EncodeEntry(raftfsm.Entry{At: raftfsm.MaxTime, Records: c.records})
		if err != nil || len(b) > raftfsm.MaxEntry || len(b) > c.size {
			t.Errorf("chunk %d is %d bytes encoded, counted as %d: %v", i, len(b), c.size, err)
		}
		for j, r := range c.records {
			if c.origin[j] < last {
				t.Errorf("a record of %d comes after one of %d", c.origin[j], last)
			}
			last = c.origin[j]
			switch r := r.(type) {
			case raftfsm.DesiredChanges:
				apps += len(r.Upserts)
			case raftfsm.DEAChanges:
				instances += len(r.Upserts)
			}
		}
	}
	if apps != 30_000 || instances != 36_000+3*2 {
		t.Errorf("%d apps and %d instances came out", apps, instances)
	}
}

func queued(recs ...raftfsm.Record) *proposal {
	c, err := cut(recs, raftfsm.MaxEntry)
	if err != nil {
		panic(err)
	}
	return &proposal{chunks: c, waiting: len(c), results: make([]raftfsm.Result, len(c)), done: make(chan struct{})}
}

func TestPack(t *testing.T) {
	a, b, gone, large := queued(dea(1)), queued(dea(2), dea(3)), queued(dea(4)), queued(bigDEA("x", 5_000), bigDEA("y", 5_000), dea(5))
	if len(large.chunks) < 2 {
		t.Fatalf("the large proposal has %d chunks, the test needs several", len(large.chunks))
	}
	last := queued(dea(6))
	gone.state.Store(proposalDropped)
	limit := large.chunks[0].size
	waiting := []*proposal{a, b, gone, large, last}
	rest, shares, recs := pack(waiting, limit)
	if len(shares) != 2 || shares[0].p != a || shares[1].p != b || shares[1].from != 1 || len(recs) != 3 {
		t.Errorf("packed %d shares with %d records, want those of the two that fit", len(shares), len(recs))
	}
	if large.state.Load() != proposalQueued {
		t.Error("a proposal that did not fit counts as taken")
	}
	for i := range large.chunks {
		rest, shares, recs = pack(rest, raftfsm.MaxEntry)
		if shares[0].p != large || shares[0].chunk != i {
			t.Fatalf("share %d is not the next of the large proposal: %+v", i, shares)
		}
	}
	if len(shares) != 2 || shares[1].p != last || len(rest) != 0 {
		t.Errorf("the last chunk of the large proposal does not share its entry: %d shares, %d left", len(shares), len(rest))
	}
	if got := recs[len(recs)-1].(raftfsm.DEAChanges).DEA; got != deaID(6) {
		t.Errorf("the last record is of %s", got)
	}
	if i := slices.IndexFunc(waiting, func(p *proposal) bool { return p != nil }); i >= 0 {
		t.Errorf("proposal %d stays in memory after it was taken", i)
	}
}

func TestResultsGoToTheirCallers(t *testing.T) {
	id := func(b byte) commands.ID { return commands.ID{b} }
	resolve := func(b byte) raftfsm.Record {
		return raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: id(b), State: commands.Dropped}}}
	}
	a, b := queued(dea(1), resolve(1)), queued(resolve(2), dea(2), dea(3))
	_, shares, _ := pack([]*proposal{a, b}, raftfsm.MaxEntry)
	f := pendingEntry{shares: shares}
	key := instance(1).App
	f.settle(raftfsm.Result{
		Touched: []app.Key{key},
		Refused: []raftfsm.Refusal{{Record: 1, Err: raftfsm.ErrTerm}, {Record: 2, Err: raftfsm.ErrBasis}, {Record: 4, Err: raftfsm.ErrInvalid}},
		Ended:   []raftfsm.EndedCommand{{Command: commands.Command{ID: id(1)}}, {Command: commands.Command{ID: id(2)}}},
	}, nil)
	<-a.done
	<-b.done
	ra, rb := a.results[0], b.results[0]
	if len(ra.Refused) != 1 || ra.Refused[0].Record != 1 || !errors.Is(ra.Refused[0].Err, raftfsm.ErrTerm) {
		t.Errorf("the first caller's refusals are %+v", ra.Refused)
	}
	if len(rb.Refused) != 2 || rb.Refused[0].Record != 0 || rb.Refused[1].Record != 2 {
		t.Errorf("the second caller's refusals are %+v", rb.Refused)
	}
	if len(ra.Ended) != 1 || ra.Ended[0].ID != id(1) || len(rb.Ended) != 1 || rb.Ended[0].ID != id(2) {
		t.Errorf("ended commands: %+v and %+v", ra.Ended, rb.Ended)
	}
	if len(ra.Touched) != 1 || len(rb.Touched) != 1 {
		t.Errorf("touched: %v and %v", ra.Touched, rb.Touched)
	}
}

func TestLargeProposals(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	parts := raftfsm.Split(bigDesired(30_000), raftfsm.MaxEntry)
	recs := append([]raftfsm.Record{}, parts...)
	recs = append(recs, raftfsm.DesiredCommit{Generation: 1, Parts: len(parts), Source: "test"}, raftfsm.HoldReleased{Name: "none"}, bigDEA("a", 18_000))
	res, err := n.Propose(bounded(t), recs...)
	if err != nil {
		t.Fatal(err)
	}
	var refused []int
	for _, r := range res {
		for _, r := range r.Refused {
			refused = append(refused, r.Record)
		}
	}
	if len(res) < 2 || len(refused) != 1 || refused[0] != len(parts)+1 {
		t.Errorf("%d results, refused records %v, want only %d", len(res), refused, len(parts)+1)
	}
	s := c.converged()
	if got := s.DesiredMeta().Apps; got != 30_000 {
		t.Errorf("%d apps are desired, want 30000", got)
	}
	if d, _ := s.DEA("a"); d.Len != 18_000 {
		t.Errorf("%d instances are recorded, want 18000", d.Len)
	}
}

func TestConcurrentProposalsShareEntries(t *testing.T) {
	const callers, calls = 64, 20
	c := startCluster(t, 3, nil)
	c.leader()
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := range calls {
				id := g*calls + i
				res, n := c.propose(dea(id), raftfsm.HoldReleased{Name: "none"})
				if len(res) != 1 || len(res[0].Refused) != 1 || res[0].Refused[0].Record != 1 {
					t.Errorf("a result of another caller: %+v", res)
				}
				if _, ok := n.View().DEA(deaID(id)); !ok {
					t.Errorf("%s is acknowledged and not in the view", deaID(id))
				}
			}
		})
	}
	wg.Wait()
	var entries uint64
	for _, n := range c.nodes {
		entries += n.Stats().Entries
	}
	t.Logf("%d proposals took %d entries", callers*calls, entries)
	if entries*4 > callers*calls {
		t.Errorf("%d proposals took %d entries, want less than a quarter", callers*calls, entries)
	}
	if got := c.converged().Counts().DEAs; got != callers*calls {
		t.Errorf("%d DEAs are recorded, want %d", got, callers*calls)
	}
}

func TestProposeEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	var block sync.Once
	blocked := make(chan struct{})
	c := newCluster(t, 1, func(_ int, o *Options) {
		o.OnApply = func(a raftfsm.Applied) {
			block.Do(func() {
				close(blocked)
				<-release
			})
		}
	})
	n := c.start(0)
	c.leader()
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := n.Propose(ctx, dea(1))
		first <- err
	}()
	<-blocked
	cancel()
	if err := <-first; !errors.Is(err, ErrTimeout) || !errors.Is(err, context.Canceled) {
		t.Errorf("the context ended while the entry was pending: %v", err)
	}
	if _, err := n.Propose(ctx, dea(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("proposed with an ended context: %v", err)
	}
	close(release)
	if _, err := n.Propose(bounded(t), dea(3)); err != nil {
		t.Error(err)
	}
	eventually(t, "the pending entry is applied", func() bool { _, ok := n.View().DEA(deaID(1)); return ok })
}

func TestProposeNothing(t *testing.T) {
	c := startCluster(t, 1, nil)
	if res, err := c.leader().Propose(bounded(t)); err != nil || res != nil {
		t.Errorf("no records give %v, %v", res, err)
	}
}

func TestEntriesAreStampedInOrder(t *testing.T) {
	var mu sync.Mutex
	var stamps []app.Time
	c := newCluster(t, 1, func(_ int, o *Options) {
		o.OnApply = func(a raftfsm.Applied) {
			mu.Lock()
			defer mu.Unlock()
			stamps = append(stamps, a.Entry.At)
		}
	})
	wall := app.TimeOf(time.Now())
	c.start(0)
	n := c.leader()
	for i := range 50 {
		if _, err := n.Propose(bounded(t), dea(i)); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, at := range stamps {
		if at < wall || i > 0 && at < stamps[i-1] {
			t.Fatalf("entry %d is stamped %s, the one before %s, the wall clock was %s", i, at, stamps[max(i-1, 0)], wall)
		}
	}
}
