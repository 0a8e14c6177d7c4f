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
// It heals from them, and nothing that was acknowledged is lost.
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
			t.Fatalf("round %d: it joins and does not say why", round)
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

// A node tells its peers that it is healing.
func TestPeersHearOfDamage(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 10 {
		c.propose(wide(i))
	}
	c.converged()
	c.close(1)
	c.close(2)
	flipText(t, c.file(2, "raft.db"), deaID(3))
	c.start(2) // the two have no leader, so that it cannot heal
	eventually(t, "the peer has heard", func() bool {
		f := member(c.nodes[0], c.opts[2].ID).Fault
		return f != nil && f.Kind == FaultHealing && strings.Contains(f.Detail, "entry")
	})
	c.kill(2)
	n := c.start(2)
	if f, ok := n.Fault(); !ok || f.Kind != FaultHealing {
		t.Errorf("after a crash it has forgotten why it joins: %+v", f)
	}
	c.start(1)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty })
	eventually(t, "the peer has heard that, too", func() bool { return member(c.nodes[0], c.opts[2].ID).Fault == nil })
	c.propose(wide(100))
	c.converged()
}

// A byte flips under a running leader, in an entry that a follower asks for. The leader stops without a panic, another
// one takes over, and when the node starts again it heals.
func TestDamageUnderARunningLeader(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	c.propose(wide(0))
	c.converged()
	var old *Node
	var at, first int
	failed := func() bool { return old != nil && old.Err() != nil }
	for first = 1; !failed(); first += 1000 { // again, if another node was elected meanwhile: that one sends what is sound
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
		eventually(t, "the leader stops, or another one has sent what was missing", func() bool { return failed() || n.View().Index() >= target })
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
		t.Errorf("it takes a record: %v", err)
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
		t.Errorf("at its start the node says %+v", f)
	}
	eventually(t, "the node has healed", func() bool { return !n.join.active.Load() })
	s := c.converged()
	for _, i := range []int{first, first + 2*cachedEntries - 1, 901} {
		if _, ok := s.DEA(deaID(i)); !ok {
			t.Errorf("%s was acknowledged and is lost", deaID(i))
		}
	}
}

// An entry is damaged after the node has looked at it and before it is applied. It is raft's main goroutine that comes
// upon it then, which would panic.
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
		t.Error("it applies what comes after the damaged entry")
	}
	c.close(0)
	c.propose(wide(500))
	n = c.start(0)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty && !n.join.active.Load() })
	c.propose(wide(501))
	c.converged()
}

// What was not damaged is kept: the node begins with its snapshot, and asks its peers only for what came after.
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
	c.close(1) // nobody leads, so that it stays with what it has
	n := c.start(0)
	if _, ok := n.View().DEA(deaID(9)); !ok || !n.join.active.Load() {
		t.Errorf("it has not kept its snapshot, or takes part in elections: joining is %v", n.join.active.Load())
	}
	c.start(1)
	eventually(t, "the node has healed", func() bool { _, faulty := n.Fault(); return !faulty })
	c.propose(wide(11))
	if s := c.converged(); s.Counts().DEAs != 12 {
		t.Errorf("%d DEAs are recorded", s.Counts().DEAs)
	}
}

// The file is cut off under a running node: what is mapped and no longer there must not end the process.
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
		t.Error("a record is acknowledged that is on no disk")
	}
	select {
	case <-n.Failed():
	case <-bounded(t).Done():
		t.Fatal("the node did not notice")
	}
	c.nodes[0] = nil
	if err := n.Close(); err != nil {
		t.Logf("closing: %v", err) // the store may be beyond closing
	}
	if _, err := Open(c.opts[0]); !errors.As(err, new(*Damage)) {
		t.Errorf("it starts with %v", err)
	}
}
