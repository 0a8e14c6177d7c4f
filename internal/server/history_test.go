package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/journal"
	"hm/raftfsm"
)

// TestHistoryIsEqualOnAllNodes: three nodes are restarted, moved to empty disks and get snapshots, while things happen.
// In the end each has the same events of the cluster, and none has a gap. HM_TEST_SEEDS runs more seeds.
func TestHistoryIsEqualOnAllNodes(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	seeds := 1
	if text := os.Getenv("HM_TEST_SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { historyRun(t, uint64(seed)) })
	}
}

func historyRun(t *testing.T, seed uint64) {
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 300 * time.Millisecond, sets: []string{
		"raft.snapshot_threshold=20", "raft.snapshot_interval=1s", "guard.mass_loss=0",
		"raft.heartbeat_timeout=500ms", "raft.election_timeout=500ms", "raft.lease_timeout=250ms",
	}})
	h := &historyTest{c, rand.New(rand.NewPCG(seed, 0)), 0}
	h.happen(30)
	for range 4 {
		i := h.r.IntN(3)
		n := c.nodes[i]
		n.close(t)
		h.happen(40 + h.r.IntN(60))
		wiped := h.r.IntN(2) == 0
		if wiped {
			if err := os.RemoveAll(n.cfg.Node.DataDir); err != nil {
				t.Fatal(err)
			}
		}
		n.open(t)
		if wiped {
			bustest.Until(t, "the wiped node has caught up", func() bool { return !n.cluster.Joining() })
		}
		h.happen(10)
	}
	var stored uint64
	bustest.Until(t, "all nodes have stored the same entries, without a gap", func() bool {
		stored = c.nodes[h.leader()].cluster.View().Index()
		for _, n := range c.nodes {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := n.journal.AwaitStored(ctx, stored)
			cancel()
			if err != nil || n.journal.Stats().Gaps > 0 {
				return false
			}
		}
		return true
	})
	want := h.clusterEvents(0, stored)
	for i := range c.nodes {
		if got := h.clusterEvents(i, stored); !reflect.DeepEqual(got, want) {
			t.Errorf("node %d has %d events of the cluster, node 0 has %d: %s", i, len(got), len(want), firstDifference(got, want))
		}
	}
	kinds := map[journal.Kind]int{}
	for _, e := range want {
		kinds[e.Kind]++
	}
	for _, k := range []journal.Kind{journal.LeaderChanged, journal.HoldSet, journal.HoldReleased, journal.InstanceCrashed, journal.DEANew, journal.DesiredRead} {
		if kinds[k] == 0 {
			t.Errorf("the history of %d events has no %s: %v", len(want), k, kinds)
		}
	}
}

// historyTest makes things happen in a cluster.
type historyTest struct {
	*testCluster
	r    *rand.Rand
	made int
}

// leader gives the number of the node that leads.
func (h *historyTest) leader() (leader int) {
	h.t.Helper()
	bustest.Until(h.t, "a node leads", func() bool {
		leader = slices.IndexFunc(h.nodes, func(n *testNode) bool { return n.Leads() })
		return leader >= 0
	})
	return leader
}

// happen records n entries: holds, and crashes on a DEA of their own. An entry whose leader was lost is proposed again.
func (h *historyTest) happen(n int) {
	h.t.Helper()
	for range n {
		h.made++
		hold := raftfsm.Hold{Name: fmt.Sprint("test-", h.made%3), StopLimit: 1000, By: "ada", Reason: fmt.Sprint("number ", h.made)}
		k := app.Key{Droplet: app.MustGUID(fmt.Sprint("droplet-", h.made%9)), Version: app.MustGUID("version")}
		one := actual.Instance{App: k, GUID: app.MustGUID(fmt.Sprint("instance-", h.made)), Index: uint32(h.made % 5), State: actual.Running}
		crashed := one
		crashed.State = actual.Crashed
		dea := fmt.Sprint("test-dea-", h.made%4)
		bustest.Until(h.t, "an entry is recorded", func() bool {
			ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
			defer cancel()
			_, err := h.nodes[h.leader()].cluster.Propose(ctx,
				raftfsm.HoldSet{Hold: hold}, raftfsm.DEAChanges{DEA: dea, Upserts: []actual.Instance{one}},
				raftfsm.DEAChanges{DEA: dea, Upserts: []actual.Instance{crashed}}, raftfsm.HoldReleased{Name: hold.Name})
			return err == nil
		})
	}
}

// clusterEvents gives a node's events of the cluster up to an entry.
func (h *historyTest) clusterEvents(node int, to uint64) (all []journal.Event) {
	h.t.Helper()
	for q, more := (journal.Query{}), true; more; {
		var events []journal.Event
		var err error
		if events, more, err = h.nodes[node].journal.Events(h.t.Context(), q); err != nil {
			h.t.Fatal(err)
		}
		for _, e := range events {
			q.After = e.ID
			if e.ID.Node == "" && e.ID.Index <= to {
				all = append(all, e)
			}
		}
	}
	return all
}

func firstDifference(got, want []journal.Event) string {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("event %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	return "one is the beginning of the other"
}
