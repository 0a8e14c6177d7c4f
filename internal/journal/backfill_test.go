package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// testPeers connects a node's journal with others in this process.
type testPeers struct {
	mu     sync.Mutex
	nodes  map[string]*Journal // nil: the node is away
	served sync.WaitGroup
}

func (p *testPeers) IDs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (p *testPeers) Dial(ctx context.Context, id string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	if n == nil {
		return nil, errors.New("the node is away")
	}
	here, there := net.Pipe()
	p.served.Go(func() { _ = n.ServePeer(context.WithoutCancel(ctx), there) })
	return here, nil
}

func (p *testPeers) set(id string, n *testNode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes[id] = n.Journal
}

// others makes options of a node with these peers.
func (p *testPeers) others(id string, ids ...string) func(*Options) {
	p.nodes = map[string]*Journal{}
	for _, other := range ids {
		p.nodes[other] = nil
	}
	return func(o *Options) { o.Node, o.Peers, o.askEvery = id, p, 5*time.Millisecond }
}

// TestAGapIsFilledByAPeer: also in several pages, with a peer that is away at first, and with parts of it from two peers.
func TestAGapIsFilledByAPeer(t *testing.T) {
	full, part := newTestNode(t, func(o *Options) { o.Node = "hm-1"; o.Entries = 10_000 }), newTestNode(t, func(o *Options) { o.Node = "hm-2"; o.Entries = 10_000 })
	for i := range uint64(300) {
		if i < 200 {
			full.entry(i+1, slices.Repeat([]Event{crash(int(i))}, 11)...)
		}
		if i >= 200 {
			part.entry(i+1, crash(int(i)), Event{Kind: HoldSet, Index: -1, Name: "h"})
		} else {
			part.Applied(raftfsm.Applied{Index: 200, Restored: true})
		}
	}
	full.AddOwn(Event{Kind: LinkLost, Index: -1})
	full.await(200)
	part.await(300)
	peers := &testPeers{}
	n := newTestNode(t, peers.others("hm-0", "hm-1", "hm-2"))
	n.opts.Entries = 10_000
	n.restart()
	n.Applied(raftfsm.Applied{Index: 300, Restored: true})
	n.entry(301, crash(1))
	n.await(301)
	n.until("the gap is known", func() bool { return n.Stats().Gaps == 1 })
	peers.set("hm-2", part)
	n.until("one peer's part", func() bool { return n.Stats().Entries == 201 })
	peers.set("hm-1", full)
	n.until("the gap is filled", func() bool { return n.Stats().Gaps == 0 })
	want := append(cluster(full.events(Query{})), cluster(part.events(Query{}))...)
	if got := n.events(Query{Limit: MaxLimit}); !reflect.DeepEqual(got[:len(got)-1], want) {
		t.Errorf("the node has %d events, its peers have %d", len(got)-1, len(want))
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	peers.served.Wait()
}

// cluster leaves out a node's own events.
func cluster(events []Event) []Event {
	return slices.DeleteFunc(events, func(e Event) bool { return e.ID.Node != "" })
}

// TestWhatNoNodeKnowsIsAGap: each peer has answered, and none has the events.
func TestWhatNoNodeKnowsIsAGap(t *testing.T) {
	peers := &testPeers{}
	peer := newTestNode(t, func(o *Options) { o.Node = "hm-1" })
	peer.Applied(raftfsm.Applied{Index: 50, Restored: true})
	peer.entry(51, crash(1))
	peer.await(51)
	n := newTestNode(t, peers.others("hm-0", "hm-1"))
	n.Applied(raftfsm.Applied{Index: 60, Restored: true})
	n.entry(70, crash(2))
	n.await(70)
	n.until("the gap is known", func() bool { return n.Stats().Gaps == 1 })
	time.Sleep(30 * time.Millisecond)
	if gaps := n.events(Query{Kinds: []string{"history"}}); len(gaps) > 0 {
		t.Errorf("a gap is final though the peer is away: %+v", gaps)
	}
	peers.set("hm-1", peer)
	n.until("the part is filled that the peer has", func() bool {
		return slices.Equal(n.ids(Query{Kinds: []string{"history", "instance"}}), []string{"50.0~1~hm-0", "51.0", "70.0"})
	})
	peer.entry(60, crash(3))
	peer.await(60)
	n.until("the peer has caught up", func() bool { return n.Stats().Gaps == 0 })
	if e := n.events(Query{Kinds: []string{"history.gap"}})[0]; !reflect.DeepEqual(e.Counts, []Count{{"from", 1}, {"to", 50}}) {
		t.Errorf("the gap is %+v", e)
	}
	alone := newTestNode(t, (&testPeers{}).others("hm-0"))
	alone.Applied(raftfsm.Applied{Index: 5, Restored: true})
	alone.until("a node without peers knows at once", func() bool { return slices.Equal(alone.ids(Query{}), []string{"5.0~1~hm-0"}) })
}

// TestHistoryConverges: nodes of one log are killed, restarted and wiped, get snapshots, and lose events. In the end all
// have the events of the log.
func TestHistoryConverges(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var log []raftfsm.Applied
		for i := range uint64(400) {
			a := applied(i+1, app.Time(1000*(i+1)))
			if r.IntN(3) > 0 {
				a = applied(i+1, app.Time(1000*(i+1)), crash(int(i)), Event{Kind: HoldSet, Index: -1, Name: "h"})
			}
			log = append(log, a)
		}
		ids := []string{"hm-0", "hm-1", "hm-2"}
		peers := make([]*testPeers, 3)
		nodes := make([]*testNode, 3)
		at := make([]int, 3) // entries that the node has applied
		for i := range nodes {
			peers[i] = &testPeers{}
			nodes[i] = newTestNode(t, peers[i].others(ids[i], slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == ids[i] })...))
		}
		connect := func() {
			for i := range nodes {
				for k := range nodes {
					if k != i {
						peers[i].set(ids[k], nodes[k])
					}
				}
			}
		}
		connect()
		apply := func(i, to int) {
			for ; at[i] < to; at[i]++ {
				nodes[i].Applied(log[at[i]])
			}
		}
		for step := range 60 {
			i := r.IntN(3)
			to := min(step*7, len(log))
			switch r.IntN(6) {
			case 0: // restart from a snapshot that waited for the journal, or from the beginning of the log
				snapshot := 0
				if r.IntN(2) == 0 {
					nodes[i].await(uint64(at[i]))
					snapshot = at[i]
				}
				nodes[i].restart()
				connect()
				if at[i] = snapshot; snapshot > 0 {
					nodes[i].Applied(raftfsm.Applied{Index: uint64(snapshot), Restored: true})
				}
			case 1: // a snapshot of the leader, which is node 0
				if to > at[i] && i != 0 {
					nodes[i].Applied(raftfsm.Applied{Index: uint64(to), Restored: true})
					at[i] = to
				}
			case 2: // another disk; at least one other node keeps everything
				if i != 0 {
					nodes[i].opts.Path = t.TempDir() + "/journal.db"
					nodes[i].restart()
					connect()
					nodes[i].Applied(raftfsm.Applied{Index: uint64(at[i]), Restored: true})
				}
			}
			apply(0, to)
			apply(i, to)
		}
		for i := range nodes {
			apply(i, len(log))
			nodes[i].await(uint64(len(log)))
		}
		for i, n := range nodes {
			n.until("no gaps", func() bool { return n.Stats().Gaps == 0 })
			if gaps := n.events(Query{Kinds: []string{"history"}}); len(gaps) > 0 {
				t.Errorf("seed %d: node %d has %+v", seed, i, gaps)
			}
			if got, want := cluster(n.events(Query{Limit: MaxLimit})), cluster(nodes[0].events(Query{Limit: MaxLimit})); !reflect.DeepEqual(got, want) {
				t.Errorf("seed %d: node %d has %d events, node 0 has %d", seed, i, len(got), len(want))
			}
		}
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// FuzzPeerMessages: whatever a peer sends is refused, or is a page in order whose events can be read.
func FuzzPeerMessages(f *testing.F) {
	a := ask{Position{5, 1}, 90}
	e := crash(1)
	p := page{more: true, stored: 80, lacks: []span{{6, 7}}}
	for i := range uint32(2) {
		r := record{value: appendEvent(nil, &e)}
		appendKey(r.key[:0], ID{Position: Position{9, i}})
		p.events = append(p.events, r)
	}
	f.Add(p.encode())
	f.Add(a.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decodeAsk(b); err == nil {
			if again, err := decodeAsk(got.encode()); err != nil || again != got {
				t.Errorf("%+v came back as %+v, %v", got, again, err)
			}
		}
		got, err := decodePage(b, a)
		if err != nil {
			return
		}
		before := Position{5, 0}
		for _, e := range got.events {
			id, _ := decodeKey(e.key[:])
			if id.Position.compare(before) <= 0 || id.Index > a.to || id.Own != 0 {
				t.Errorf("event %s is out of order or range", id)
			}
			before = id.Position
		}
	})
}
