package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// wide is an entry of some kilobytes.
func wide(i int) raftfsm.DEAChanges {
	d := raftfsm.DEAChanges{DEA: deaID(i)}
	for j := range 100 {
		d.Upserts = append(d.Upserts, instance(i<<8+j))
	}
	return d
}

func (c *testCluster) file(i int, name ...string) string {
	return filepath.Join(append([]string{c.opts[i].DataDir, "raft"}, name...)...)
}

// flip changes one bit of a file, in place, and tells where.
func flip(t testing.TB, path string, at int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// flipText flips a bit wherever text is in a file: bbolt leaves old copies of its pages behind.
func flipText(t testing.TB, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for at := 0; ; at += len(text) {
		n := bytes.Index(b[at:], []byte(text))
		if n < 0 {
			break
		}
		at += n
		flip(t, path, int64(at), 1)
		found = true
	}
	if !found {
		t.Fatalf("%s does not hold %q", path, text)
	}
}

// contentOf is everything that raft reads from a store.
func (s *stores) contentOf(t testing.TB) (all []string) {
	t.Helper()
	first, err := s.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := s.log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(l.Index, l.Term, l.Type, l.Data))
	}
	for _, name := range []string{valueTerm, valueVoteTerm, valueVoteFor} {
		v, err := s.values.Get([]byte(name))
		all = append(all, fmt.Sprint(v, err))
	}
	return all
}

// A bit that flips anywhere in a raft.db is found, or it is where nobody reads.
func TestFlippedBitIsFoundOrHarmless(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	for i := range 150 {
		c.propose(wide(i))
	}
	c.close(0)
	whole, err := os.ReadFile(c.file(0, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.opts[0].complete()
	if err != nil {
		t.Fatal(err)
	}
	log := newSampledLog(o.Logger)
	open := func(t *testing.T, db []byte) (*stores, error) {
		o.DataDir = t.TempDir()
		if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.DataDir, "raft", "raft.db"), db, 0o600); err != nil {
			t.Fatal(err)
		}
		return openSound(o, log, false)
	}
	s, err := open(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	want := s.contentOf(t)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	seeds, found := 100, 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		db := bytes.Clone(whole)
		at, bit := r.IntN(len(db)), r.IntN(8)
		if seed%3 == 0 { // where the structure is: in the first bytes of a page
			at = at/4096*4096 + r.IntN(128)
		}
		db[at] ^= 1 << bit
		s, err := open(t, db)
		switch {
		case errors.Is(err, errDamaged):
			found++
			continue
		case err != nil:
			t.Fatalf("seed %d: bit %d of byte %d: %v", seed, bit, at, err)
		}
		if got := s.contentOf(t); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("seed %d: bit %d of byte %d: another content is read", seed, bit, at)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if found < seeds/4 {
		t.Errorf("of %d flipped bits %d were found: most of them should have hit something", seeds, found)
	}
	t.Logf("of %d flipped bits %d were found, the others are where nobody reads", seeds, found)
}

// An entry is stored as names and values. One whose name is damaged is not there; it must not be taken from the entry
// that was read before.
func TestDamagedFieldNameIsFound(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	for i := range 10 {
		c.propose(dea(i))
	}
	c.close(0)
	o, err := c.opts[0].complete()
	if err != nil {
		t.Fatal(err)
	}
	path := c.file(0, "raft.db")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSound(o, newSampledLog(o.Logger), false)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(s.contentOf(t), "\n")
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Index", "Term", "Type", "Data", "Extensions"} {
		found := 0
		for at := 0; ; at++ {
			n := bytes.Index(db[at:], []byte(name))
			if n < 0 {
				break
			}
			at += n
			flip(t, path, int64(at)+1, 1)
			s, err := openSound(o, newSampledLog(o.Logger), false)
			switch {
			case errors.Is(err, errDamaged):
				found++
			case err != nil:
				t.Fatal(err)
			default: // an old copy, which nobody reads
				if got := strings.Join(s.contentOf(t), "\n"); got != want {
					t.Errorf("%s at byte %d: another content is read", name, at)
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, db, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if found == 0 {
			t.Errorf("%s: no damage was found", name)
		}
	}
}

// Bbolt goes by the older head if the newer one is damaged, and has then forgotten what was acknowledged last.
func TestDamagedHeadIsFound(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	c.propose(wide(1))
	c.close(0)
	path := c.file(0, "raft.db")
	for at := int64(boltPageHeader); at < boltPageHeader+boltMetaSize; at++ {
		for _, page := range []int64{0, 4096} {
			flip(t, path, page+at, int(at%8))
			if _, err := checkBoltFile(path); !errors.Is(err, errDamaged) {
				t.Errorf("byte %d of page %d: %v", at, page, err)
			}
			flip(t, path, page+at, int(at%8))
		}
	}
	if _, err := checkBoltFile(path); err != nil {
		t.Error(err)
	}
}

// Files that are torn, cut off or of something else are damaged, whatever is in them, and no reason to panic.
func TestTornStoreIsDamaged(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	for i := range 50 {
		c.propose(wide(i))
	}
	c.close(0)
	whole, err := os.ReadFile(c.file(0, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, len(whole))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	zeroed := func(from, to int) []byte {
		b := bytes.Clone(whole)
		clear(b[from:to])
		return b
	}
	for name, db := range map[string][]byte{
		"cut off":          whole[:len(whole)/2],
		"only its head":    whole[:4096],
		"less than a head": whole[:100],
		"zeroes":           make([]byte, len(whole)),
		"random bytes":     random,
		"no head":          zeroed(0, 8192),
		"half a head":      zeroed(0, 4096),
		"the other half":   zeroed(4096, 8192),
		"no middle":        zeroed(8192, len(whole)),
	} {
		path := filepath.Join(t.TempDir(), "raft.db")
		if err := os.WriteFile(path, db, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := checkBoltFile(path); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamagedStoreAlone(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(wide(1))
	c.close(0)
	flipText(t, c.file(0, "raft.db"), deaID(1))
	before := listing(t, c.file(0))
	for range 2 {
		_, err := Open(c.opts[0])
		var d *Damage
		if !errors.As(err, &d) || !d.Alone || strings.Contains(err.Error(), "\n") || !strings.Contains(d.WayBack(), "move it away as a whole") {
			t.Fatalf("a single node with a damaged log starts with %v", err)
		}
		if !strings.Contains(err.Error(), "of the raft log does not have its checksum") {
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

func listing(t testing.TB, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
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
	if err := old.Err(); !errors.As(err, &d) || strings.Contains(err.Error(), "\n") || d.WayBack() == "" {
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

// What arrives damaged is not stored; the leader sends it again.
func TestEntryThatArrivesDamagedIsRefused(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	s := c.nodes[0].stores
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	next := raft.Log{Index: last + 1, Term: 1, Data: []byte("data")}
	sealEntry(&next)
	for name, spoil := range map[string]func(l *raft.Log){
		"index":     func(l *raft.Log) { l.Index++ },
		"term":      func(l *raft.Log) { l.Term ^= 4 },
		"type":      func(l *raft.Log) { l.Type ^= 1 },
		"data":      func(l *raft.Log) { l.Data = []byte("dbta") },
		"sum":       func(l *raft.Log) { l.Extensions[len(entryMark)] ^= 1 },
		"mark":      func(l *raft.Log) { l.Extensions[0] ^= 1 },
		"short sum": func(l *raft.Log) { l.Extensions = l.Extensions[:8] },
	} {
		l := next
		l.Extensions = bytes.Clone(next.Extensions)
		spoil(&l)
		if err := s.log.StoreLog(&l); !errors.Is(err, errArrivedDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.propose(dea(2)) // it was no damage of this node's own
}

// A follower of which nobody made the entry stores none without a checksum.
func TestEntryWithoutChecksumIsRefused(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	follower := c.nodes[(c.index(c.leader())+1)%3]
	for follower.raft.State() != raft.Follower {
		follower = c.nodes[(c.index(c.leader())+1)%3]
	}
	if err := follower.stores.log.StoreLog(&raft.Log{Index: 1 << 40, Term: 1}); !errors.Is(err, errArrivedDamaged) {
		t.Errorf("%v", err)
	}
}

func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	few := func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 1<<30, 1 }
	build := func(t *testing.T, size int) *testCluster {
		c := startCluster(t, size, few)
		for round := range 2 {
			for i := range 10 {
				c.propose(wide(10*round + i))
			}
			c.converged()
			for _, n := range c.nodes {
				if err := n.raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.propose(wide(99))
		c.converged()
		return c
	}
	snapshots := func(t *testing.T, c *testCluster, i int) []string {
		dirs, err := filepath.Glob(c.file(i, "snapshots", "*"))
		if err != nil || len(dirs) != 2 {
			t.Fatalf("snapshots %v, %v", dirs, err)
		}
		return dirs // the older first: the names begin with term and index, and index grows within two digits
	}
	for name, spoil := range map[string]func(t *testing.T, dirs []string){
		"both states": func(t *testing.T, dirs []string) {
			flip(t, filepath.Join(dirs[0], snapshotState), 200, 1)
			flip(t, filepath.Join(dirs[1], snapshotState), 200, 1)
		},
		"a description": func(t *testing.T, dirs []string) { flipText(t, filepath.Join(dirs[1], snapshotMeta), "hm-0") },
		"an index":      func(t *testing.T, dirs []string) { flipText(t, filepath.Join(dirs[1], snapshotMeta), `Index":`) },
		"a checksum":    func(t *testing.T, dirs []string) { flip(t, filepath.Join(dirs[1], snapshotSum), 9, 1) },
		"no state": func(t *testing.T, dirs []string) {
			if err := os.Remove(filepath.Join(dirs[1], snapshotState)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name+", alone", func(t *testing.T) {
			c := build(t, 1)
			c.close(0)
			spoil(t, snapshots(t, c, 0))
			before := listing(t, c.file(0))
			_, err := Open(c.opts[0])
			var d *Damage
			if !errors.As(err, &d) || !d.Alone || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "snapshot") {
				t.Errorf("it starts with %v", err)
			}
			if after := listing(t, c.file(0)); after != before {
				t.Errorf("the refused start changed the directory from %s to %s", before, after)
			}
		})
	}
	t.Run("with peers", func(t *testing.T) {
		c := build(t, 3)
		c.close(0)
		dirs := snapshots(t, c, 0)
		flip(t, filepath.Join(dirs[0], snapshotState), 200, 1)
		flip(t, filepath.Join(dirs[1], snapshotState), 200, 1)
		n := c.start(0)
		if f, ok := n.Fault(); !ok || f.Kind != FaultHealing {
			t.Errorf("it says %+v", f)
		}
		c.propose(wide(100))
		eventually(t, "the node has healed", func() bool { return !n.join.active.Load() })
		c.converged()
	})
	t.Run("the log reaches back to the older", func(t *testing.T) {
		c := build(t, 1)
		want := c.nodes[0].View().Hash()
		c.close(0)
		// The older one with the log is as good as before the newer one: nothing is missing, and nobody need be asked.
		c.opts[0].trailingLogs = 1 << 20
		n := c.start(0)
		c.propose(wide(100))
		if err := n.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		c.propose(wide(101))
		c.propose(wide(102))
		if err := n.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		if n.View().Hash() == want {
			t.Fatal("nothing was recorded")
		}
		dea := n.View().Counts().DEAs
		c.close(0)
		dirs, _ := filepath.Glob(c.file(0, "snapshots", "*"))
		newest, index := "", uint64(0)
		for _, d := range dirs {
			if facts, err := readSnapshotMeta(d); err == nil && facts.Index > index {
				newest, index = d, facts.Index
			}
		}
		flip(t, filepath.Join(newest, snapshotState), 200, 1)
		n = c.start(0)
		c.leader()
		if got := n.View().Counts().DEAs; got != dea {
			t.Errorf("%d DEAs are recorded, %d were", got, dea)
		}
		if kept, _ := filepath.Glob(c.file(0, "snapshot.damaged-*")); len(kept) != 1 {
			t.Errorf("the damaged snapshot was not set aside: %v", kept)
		}
	})
}

func TestSetAsideKeepsFew(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "raft.db")
	for i := range 7 {
		if err := os.WriteFile(name, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := setAside(name, name); err != nil {
			t.Fatal(err)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(kept) != keepDamaged || filepath.Base(kept[keepDamaged-1]) != "raft.db.damaged-7" {
		t.Errorf("kept %v", kept)
	}
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

// Whatever raft does to its log, the file that comes of it is sound, at every moment at which a process may be killed.
func TestSoundStoreIsNotDamaged(t *testing.T) {
	t.Parallel()
	o, err := Options{ID: "hm-0", DataDir: t.TempDir(), Listen: "127.0.0.1:1"}.complete()
	if err != nil {
		t.Fatal(err)
	}
	log := newSampledLog(o.Logger)
	open := func(aside bool) *stores {
		if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o750); err != nil {
			t.Fatal(err)
		}
		s, err := openSound(o, log, aside)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(false)
	if err := s.values.SetUint64([]byte(valueTerm), 1); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	first, last := uint64(1), uint64(0)
	copied := filepath.Join(t.TempDir(), "raft.db")
	for step := range 300 {
		switch what := r.IntN(10); {
		case what < 6:
			var logs []*raft.Log
			for range 1 + r.IntN(40) {
				last++
				logs = append(logs, &raft.Log{Index: last, Term: 1, Data: make([]byte, r.IntN(1<<r.IntN(15)))})
			}
			if err := s.log.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
		case what < 7 && last > first:
			to := first + uint64(r.IntN(int(last-first)))
			if err := s.log.DeleteRange(first, to); err != nil {
				t.Fatal(err)
			}
			first = to + 1
		case what < 8 && last > first:
			from := last - uint64(r.IntN(int(last-first)))
			if err := s.log.DeleteRange(from, last); err != nil {
				t.Fatal(err)
			}
			last = from - 1
		default:
			if err := s.values.SetUint64([]byte(valueVoteTerm), uint64(step)); err != nil {
				t.Fatal(err)
			}
		}
		if last >= first && (s.log.last != last || s.log.solid != first) {
			t.Fatalf("step %d: the log has the entries %d to %d, and is taken to have %d to %d", step, first, last, s.log.solid, s.log.last)
		}
		if step%5 == 0 {
			b, err := os.ReadFile(filepath.Join(o.DataDir, "raft", "raft.db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, b, 0o600); err != nil {
				t.Fatal(err)
			}
			content, err := checkBoltFile(copied)
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if n := len(content.entries); n != int(last-first+1) {
				t.Fatalf("step %d: %d entries are found, %d were stored", step, n, last-first+1)
			}
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// Raft leaves a gap below a snapshot that it installs. What is missing above it was lost.
func TestMissingEntryIsDamage(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	log := c.nodes[0].stores.log
	last := log.last
	var l raft.Log
	if err := log.GetLog(last+1, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry behind the end: %v", err)
	}
	if err := c.nodes[0].stores.bolt.DeleteRange(2, 2); err != nil { // under the log, as damage would
		t.Fatal(err)
	}
	log = &checkedLog{inner: boltLog{c.nodes[0].stores.bolt}} // without the cache
	log.span(1, last)
	if err := log.GetLog(2, &l); !errors.Is(err, errDamaged) {
		t.Errorf("a missing entry: %v", err)
	}
	log.span(3, last)
	if err := log.GetLog(2, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry below a gap: %v", err)
	}
}
