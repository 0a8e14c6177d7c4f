package cluster

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestDamagedStoreAlone(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(wide(1))
	c.close(0)
	flipText(t, c.file(0, "raft.db"), deaID(1))
	before := listing(t, c.file(0))
	for range 2 {
		_, err := Open(c.opts[0])
		var d *Damage
		if !errors.As(err, &d) || !d.Alone || strings.Contains(err.Error(), "\n") || !strings.Contains(d.Remedy(), "move it away: hm then starts empty") {
			t.Fatalf("a single node with a damaged log starts with %v", err)
		}
		if !strings.Contains(err.Error(), "of the Raft log does not match its checksum") {
			t.Errorf("it does not say what is damaged: %v", err)
		}
	}
	if after := listing(t, c.file(0)); after != before {
		t.Errorf("the refused start changed the directory from %s to %s", before, after)
	}
	// The way back that it names.
	if err := os.Rename(c.file(0), c.file(0)+"-away"); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(wide(2))
}

// One node after the other finds its store damaged when it starts, in many ways, while the two others go on recording.
// It copies the record from them, and no acknowledged record is lost.
func TestDamagedStoreHealsFromPeers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 20 {
		c.propose(wide(i))
	}
	damages := []func(path string){
		func(path string) { flipText(t, path, deaID(7)) },
		func(path string) { flipText(t, path, entryMark) },
		func(path string) { flipText(t, path, valueTerm) },
		func(path string) { flipText(t, path, valueVoteFor) },
		func(path string) { flip(t, path, 100, 3) },        // within the page, not read by anybody
		func(path string) { flip(t, path, 16+48, 3) },      // a head
		func(path string) { flip(t, path, 4096+16+60, 3) }, // the other
		func(path string) {
			if err := os.Truncate(path, 8192+100); err != nil {
				t.Fatal(err)
			}
		},
	}
	for seed := range 16 { // and anywhere
		damages = append(damages, func(path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(uint64(seed), 3))
			for range 1 + seed%4 {
				flip(t, path, r.Int64N(info.Size()), r.IntN(8))
			}
		})
	}
	for round, damage := range damages {
		i := round % 3
		c.close(i)
		c.propose(wide(100 + round))
		damage(c.file(i, "raft.db"))
		n := c.start(i)
		f, faulty := n.Fault()
		if faulty && (f.Kind != FaultHealing || !n.join.active.Load()) {
			t.Fatalf("round %d: %+v, and it takes part in elections", round, f)
		}
		if !faulty && n.join.active.Load() {
			t.Fatalf("round %d: it joins without a fault", round)
		}
		c.propose(wide(200 + round))
		eventually(t, "the node has healed", func() bool {
			_, faulty := n.Fault()
			return !faulty && !n.join.active.Load()
		})
	}
	s := c.converged()
	for round := range damages {
		for _, i := range []int{100 + round, 200 + round} {
			if _, ok := s.DEA(deaID(i)); !ok {
				t.Errorf("%s was acknowledged and is lost", deaID(i))
			}
		}
	}
	for i := range 3 {
		kept, err := filepath.Glob(c.file(i, "raft.db.damaged-*"))
		if err != nil || len(kept) < 2 || len(kept) > keepDamaged {
			t.Errorf("node %d keeps %v, %v", i, kept, err)
		}
	}
}

// The peers of a healing node show its fault.
func TestPeersShowTheFaultOfANode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 10 {
		c.propose(wide(i))
	}
	c.converged()
	c.close(1)
	c.close(2)
	flipText(t, c.file(2, "raft.db"), deaID(3))
	c.start(2) // the two nodes have no leader, so it cannot heal
	eventually(t, "the peer shows the fault", func() bool {
		f := member(c.nodes[0], c.opts[2].ID).Fault
		return f != nil && f.Kind == FaultHealing && strings.Contains(f.Detail, "entry")
	})
	c.kill(2)
	n := c.start(2)
	if f, ok := n.Fault(); !ok || f.Kind != FaultHealing {
		t.Errorf("after a crash the fault is %+v", f)
	}
	c.start(1)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty })
	eventually(t, "the peer shows no fault", func() bool { return member(c.nodes[0], c.opts[2].ID).Fault == nil })
	c.propose(wide(100))
	c.converged()
}

// A byte of an entry that a follower needs flips in the store of a running leader. The leader stops without a panic,
// another node leads, and the first one heals when it starts again.
func TestDamageUnderARunningLeader(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(wide(0))
	c.converged()
	var old *Node
	var at, first int
	failed := func() bool { return old != nil && old.Err() != nil }
	for first = 1; !failed(); first += 1000 { // again if another node was elected meanwhile, which sends undamaged entries
		if first > 10_000 {
			t.Fatal("the leader does not notice")
		}
		behind := (c.index(c.leader()) + 1) % 3
		c.close(behind)
		for i := range 2 * cachedEntries { // more than the cache holds, so that the first are read from the file
			c.propose(wide(first + i))
		}
		old = c.leader()
		at = c.index(old)
		target := old.View().Index()
		flipText(t, c.file(at, "raft.db"), deaID(first)+"\x12") // the whole name in the wire form, and nothing that begins like it
		n := c.start(behind)
		eventually(t, "the leader stops, or another one has sent the missing entries", func() bool { return failed() || n.View().Index() >= target })
	}
	first -= 1000
	if f, ok := old.Fault(); !ok || f.Kind != FaultStore || old.Leadership().Leader {
		t.Errorf("the node has %+v and leads: %v", f, old.Leadership().Leader)
	}
	var d *Damage
	if err := old.Err(); !errors.As(err, &d) || strings.Contains(err.Error(), "\n") || d.Remedy() == "" {
		t.Errorf("it ends with %v", err)
	}
	if _, err := old.Propose(bounded(t), wide(900)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a proposal to it: %v", err)
	}
	eventually(t, "another node leads", func() bool {
		for _, n := range c.running() {
			if n != old && n.Leadership().Leader {
				return true
			}
		}
		return false
	})
	c.close(at)
	c.propose(wide(901))
	n := c.start(at)
	if f, _ := n.Fault(); f.Kind != FaultHealing {
		t.Errorf("after its start the fault is %+v", f)
	}
	eventually(t, "the node has healed", func() bool { return !n.join.active.Load() })
	s := c.converged()
	for _, i := range []int{first, first + 2*cachedEntries - 1, 901} {
		if _, ok := s.DEA(deaID(i)); !ok {
			t.Errorf("%s was acknowledged and is lost", deaID(i))
		}
	}
}

// An entry is damaged after the start has checked it and before it is applied. Then raft's main goroutine finds the
// damage, and would panic.
func TestDamageBeforeItIsApplied(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 2 * cachedEntries {
		c.propose(wide(i))
	}
	c.converged()
	for i := range c.nodes {
		c.close(i)
	}
	n := c.start(0) // alone, so that it does not know what is committed
	if n.View().Index() != 0 {
		t.Fatal("something is applied already")
	}
	flipText(t, c.file(0, "raft.db"), deaID(1)+"\x12")
	c.start(1)
	c.start(2)
	select {
	case <-n.Failed():
	case <-bounded(t).Done():
		t.Fatal("the node did not notice")
	}
	if _, ok := n.View().DEA(deaID(2*cachedEntries - 1)); ok {
		t.Error("it applies entries after the damaged one")
	}
	c.close(0)
	c.propose(wide(500))
	n = c.start(0)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty && !n.join.active.Load() })
	c.propose(wide(501))
	c.converged()
}

// If only the log is damaged the snapshot is kept: the node starts from it and copies only later entries from its
// peers.
func TestDamagedLogLeavesTheSnapshot(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 10 {
		c.propose(wide(i))
	}
	c.converged()
	if err := c.nodes[0].raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.propose(wide(10))
	c.converged()
	c.close(0)
	flipText(t, c.file(0, "raft.db"), deaID(10))
	c.close(1) // no node leads, so it gets nothing from its peers
	n := c.start(0)
	if _, ok := n.View().DEA(deaID(9)); !ok || !n.join.active.Load() {
		t.Errorf("it has lost its snapshot, or takes part in elections: joining is %v", n.join.active.Load())
	}
	c.start(1)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty })
	c.propose(wide(11))
	if s := c.converged(); s.Counts().DEAs != 12 {
		t.Errorf("%d DEAs are recorded", s.Counts().DEAs)
	}
}

// The file of a running node is cut off: the mapped pages that are gone must not end the process.
func TestStoreCutOffUnderARunningNode(t *testing.T) {
	c := startCluster(t, 1, nil)
	for i := range 2 * cachedEntries {
		c.propose(wide(i))
	}
	n := c.nodes[0]
	if err := os.Truncate(c.file(0, "raft.db"), 2*4096); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := n.stores.log.GetLog(3, &l); !errors.Is(err, errDamaged) {
		t.Errorf("reading an entry that is gone: %v", err)
	}
	if _, err := n.Propose(bounded(t), wide(1000)); err == nil {
		t.Error("a record is acknowledged and is not on disk")
	}
	select {
	case <-n.Failed():
	case <-bounded(t).Done():
		t.Fatal("the node did not notice")
	}
	c.nodes[0] = nil
	if err := n.Close(); err != nil {
		t.Logf("closing: %v", err) // the damaged store may not close
	}
	if _, err := Open(c.opts[0]); !errors.As(err, new(*Damage)) {
		t.Errorf("it starts with %v", err)
	}
}
