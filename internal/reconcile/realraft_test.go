package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestSchedulesOverRealRaft runs the loops of three nodes over hashicorp/raft in a synctest bubble,
// with faults from a seed. The order of goroutines is not the same every time. HM_TEST_RAFT_SEEDS
// sets the number of seeds.
func TestSchedulesOverRealRaft(t *testing.T) {
	seeds := uint64(3)
	if n, err := strconv.ParseUint(os.Getenv("HM_TEST_RAFT_SEEDS"), 10, 32); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newRaftWorld(t, rand.New(rand.NewPCG(seed, 7))).run() })
		})
	}
}

// raftWorld is a small Cloud Foundry around three nodes over real Raft.
type raftWorld struct {
	t     *testing.T
	rnd   *rand.Rand
	nodes []*raftNode

	mu        sync.Mutex
	apps      []desired.App
	deas      map[string][]actual.Instance
	made      int
	scaled    map[app.Key]time.Time // when each app was scaled last
	published map[commands.ID]bool
	sent      int
}

// raftNode is one node: raft, and the loop over it.
type raftNode struct {
	world     *raftWorld
	raft      *raft.Raft
	fsm       *raftfsm.FSM
	trans     *raft.InmemTransport
	confirmed atomic.Uint64 // newest term in which its barrier was applied
	intake    *Intake
	loop      *Loop
	linkUp    atomic.Bool
	epoch     atomic.Uint64
}

func newRaftWorld(t *testing.T, rnd *rand.Rand) *raftWorld {
	w := &raftWorld{t: t, rnd: rnd, deas: map[string][]actual.Instance{}, scaled: map[app.Key]time.Time{}, published: map[commands.ID]bool{}}
	for i := range 4 {
		w.deas[fmt.Sprint("dea-", i)] = nil
	}
	for i := range 8 {
		a := desired.App{Key: testKey(i, 1), Instances: 3, State: desired.Started, Package: desired.Staged}
		w.apps = append(w.apps, a)
		for index := range a.Instances {
			w.start(a.Key, index)
		}
	}
	var servers []raft.Server
	for i := range 3 {
		address, trans := raft.NewInmemTransport("")
		n := &raftNode{world: w, trans: trans}
		n.linkUp.Store(true)
		n.epoch.Store(1)
		w.nodes = append(w.nodes, n)
		servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint("hm-", i)), Address: address})
	}
	for i, n := range w.nodes {
		n.open(servers, i)
	}
	w.connect()
	return w
}

func (n *raftNode) open(servers []raft.Server, i int) {
	w := n.world
	ended := NewEndedCommands(1000)
	n.fsm = raftfsm.NewFSM(func(a raftfsm.Applied) { ended.Add(a.Result.Ended) })
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = servers[i].ID, io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
	log, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(conf, log, log, snapshots, n.trans, raft.Configuration{Servers: servers}); err != nil {
		w.t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, n.fsm, log, log, snapshots, n.trans)
	if err != nil {
		w.t.Fatal(err)
	}
	n.raft = r
	n.intake = NewIntake(n, actual.NewLiveness(hb, 3*hb, 3*hb, n.Now()), func() { n.wake() })
	n.intake.Link(true, 1)
	n.loop = NewLoop(LoopOptions{
		Options: testOptions(), Log: n, Leader: n, Publisher: n, Source: w, Intake: n.intake, ReadTimeout: 10 * time.Second,
		PeerReads: w.newestRead,
	}, ended)
}

func (n *raftNode) wake() {
	if n.loop != nil {
		n.loop.Wake()
	}
}

func (w *raftWorld) newestRead() (began app.Time) {
	for _, n := range w.nodes {
		if n.loop != nil {
			began = max(began, n.loop.Overview().Reads.Began)
		}
	}
	return began
}

func (w *raftWorld) connect() {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			a.trans.Connect(b.trans.LocalAddr(), b.trans)
		}
	}
}

func (w *raftWorld) cut(n *raftNode) {
	n.trans.DisconnectAll()
	for _, m := range w.nodes {
		m.trans.Disconnect(n.trans.LocalAddr())
	}
}

// run lets faults happen, heals them, and checks that all runs as desired.
func (w *raftWorld) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		wg.Go(func() { n.loop.Run(ctx) })
		wg.Go(func() { n.watch(ctx) })
	}
	wg.Go(func() { w.beat(ctx) })
	time.Sleep(8 * hb)
	for range 25 {
		w.fault()
		time.Sleep(time.Duration(w.rnd.Int64N(int64(2 * hb))))
	}
	w.connect()
	for _, n := range w.nodes {
		n.setLink(true)
	}
	time.Sleep(100 * hb)
	w.check()
	cancel()
	for _, n := range w.nodes {
		_ = n.raft.Shutdown().Error()
		_ = n.trans.Close()
	}
	wg.Wait()
}

func (w *raftWorld) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := map[place]int{}
	for _, list := range w.deas {
		for _, i := range list {
			live[place{i.App, i.Index}]++
		}
	}
	want := 0
	for _, a := range w.apps {
		for index := range a.Instances {
			if want++; live[place{a.Key, index}] != 1 {
				w.t.Errorf("I9: %d instances of %s/%d run after healing, want 1", live[place{a.Key, index}], a.Key, index)
			}
		}
	}
	if len(live) != want {
		w.t.Errorf("I9: %d places have an instance, want %d", len(live), want)
	}
	first := w.nodes[0].fsm.View()
	for _, n := range w.nodes[1:] {
		if v := n.fsm.View(); v.Index() == first.Index() && v.Hash() != first.Hash() {
			w.t.Errorf("I7: two nodes have the states %s and %s at entry %d", v.Hash(), first.Hash(), v.Index())
		}
	}
	w.t.Logf("%d commands were sent", w.sent)
}

func (w *raftWorld) fault() {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(9) {
	case 0:
		w.connect()
	case 1:
		w.cut(n)
	case 2:
		_ = n.raft.LeadershipTransfer() // fails if it does not lead
	case 3:
		n.setLink(!n.linkUp.Load())
	case 4:
		for _, m := range w.nodes {
			m.setLink(!m.linkUp.Load())
		}
	case 5, 6, 7:
		w.lose()
	case 8:
		w.mu.Lock()
		a := &w.apps[w.rnd.IntN(len(w.apps))]
		a.Instances, w.scaled[a.Key] = uint32(1+w.rnd.IntN(5)), time.Now()
		w.mu.Unlock()
	}
}

// lose makes a DEA lose an instance.
func (w *raftWorld) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	dea := fmt.Sprint("dea-", w.rnd.IntN(len(w.deas)))
	if list := w.deas[dea]; len(list) > 0 {
		w.deas[dea] = slices.Delete(list, 0, 1)
	}
}

// start starts an instance on the DEA that has the fewest.
func (w *raftWorld) start(k app.Key, index uint32) {
	best := ""
	for i := range len(w.deas) {
		if id := fmt.Sprint("dea-", i); best == "" || len(w.deas[id]) < len(w.deas[best]) {
			best = id
		}
	}
	w.made++
	i := actual.Instance{App: k, GUID: app.MustGUID(fmt.Sprintf("%032x", w.made)), Index: index, State: actual.Running}
	w.deas[best] = append(w.deas[best], i)
}

// beat sends the heartbeats of all DEAs.
func (w *raftWorld) beat(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		var beats []actual.Heartbeat
		for id, list := range w.deas {
			beats = append(beats, actual.Heartbeat{DEA: id, Instances: slices.Clone(list)})
		}
		w.mu.Unlock()
		for _, beat := range beats {
			digest := digestOf(beat)
			for _, n := range w.nodes {
				if n.linkUp.Load() && !n.intake.Unchanged(digest) {
					n.intake.Heartbeat(beat, digest)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(hb):
		}
	}
}

// Read is the Cloud Controller's answer.
func (w *raftWorld) Read(context.Context) (desired.Read, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return desired.NewRead("test", slices.Clone(w.apps))
}

func (n *raftNode) setLink(up bool) {
	if n.linkUp.Swap(up) != up {
		n.intake.Link(up, n.epoch.Add(1))
	}
}

// watch confirms a leadership when everything before it is applied, and wakes the loop.
func (n *raftNode) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if term := n.raft.CurrentTerm(); n.raft.State() == raft.Leader && n.confirmed.Load() != term {
			if n.raft.Barrier(0).Error() == nil && n.raft.CurrentTerm() == term {
				n.confirmed.Store(term)
				n.loop.Wake()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *raftNode) Lead() Lead {
	term := n.raft.CurrentTerm()
	_, leader := n.raft.LeaderWithID()
	return Lead{Leader: n.raft.State() == raft.Leader && n.confirmed.Load() == term, Known: leader != "", Term: term}
}

func (n *raftNode) Leading(term uint64) bool {
	lead := n.Lead()
	return lead.Leader && lead.Term == term
}

func (n *raftNode) VerifyLease(_ context.Context, term uint64) error {
	if err := n.raft.VerifyLeader().Error(); err != nil {
		return err
	}
	if !n.Leading(term) {
		return errNotLeader
	}
	return nil
}

func (n *raftNode) Propose(_ context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: n.Now(), Records: records})
	if err != nil {
		return nil, err
	}
	applied := n.raft.Apply(data, 0)
	if err := applied.Error(); err != nil {
		return nil, err
	}
	result, ok := applied.Response().(raftfsm.Result)
	if !ok {
		return nil, errors.New("no result")
	}
	return []raftfsm.Result{result}, result.Err
}

func (n *raftNode) View() *raftfsm.State     { return n.fsm.View() }
func (n *raftNode) Now() app.Time            { return app.TimeOf(time.Now()) }
func (n *raftNode) Suspended() time.Duration { return 0 }

// Publish checks each command against what really runs, and obeys it.
func (n *raftNode) Publish(_ context.Context, epoch uint64, cmds []commands.Command) []error {
	w := n.world
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(cmds))
	for i, c := range cmds {
		if !n.linkUp.Load() || epoch != n.epoch.Load() {
			errs[i] = ErrNotSent
			continue
		}
		if claimed, ok := n.fsm.View().Command(c.ID); !ok || claimed.State != commands.Claimed {
			w.t.Errorf("I2: a command is published that is not claimed: %+v", claimed)
		}
		if w.published[c.ID] {
			w.t.Errorf("I2: command %s is published twice", c.ID)
		}
		w.published[c.ID] = true
		w.sent++
		w.obey(c)
	}
	return errs
}

// obey does what a command asks for. It requires that a start is needed, and that a stop leaves an
// instance at a desired index, if hm must have read by now that it is desired.
func (w *raftWorld) obey(c commands.Command) {
	others, index := 0, -1
	for _, list := range w.deas {
		for _, i := range list {
			if i.App == c.App && i.Index == c.Index && i.GUID != c.Instance {
				others++
			}
		}
	}
	if c.Action == commands.Start {
		if others > 0 {
			w.t.Errorf("needless start of %s/%d: it runs", c.App, c.Index)
		}
		w.start(c.App, c.Index)
		return
	}
	for _, a := range w.apps {
		if a.Key == c.App && time.Since(w.scaled[a.Key]) > 12*hb {
			index = int(a.Instances)
		}
	}
	if int(c.Index) < index && others == 0 {
		w.t.Errorf("I3: stop of the last instance of %s/%d", c.App, c.Index)
	}
	for id := range w.deas {
		w.deas[id] = slices.DeleteFunc(w.deas[id], func(i actual.Instance) bool { return i.GUID == c.Instance })
	}
}
