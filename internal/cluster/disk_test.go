package cluster

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// sickStore is a store whose writes can be made to hang or fail.
type sickStore struct {
	raftStore
	mu   sync.Mutex
	held chan struct{} // writes wait until it is closed; nil: they do not wait
	fail atomic.Pointer[error]
	hung atomic.Int64 // writes that wait

	after int // so many batches of several entries are stored, the next hangs; 0: none does by itself
}

var errFull error = &fs.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC}

func (s *sickStore) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = make(chan struct{})
}

func (s *sickStore) heal() {
	s.fail.Store(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

func (s *sickStore) write(do func() error) error {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		s.hung.Add(1)
		<-held
		s.hung.Add(-1)
	}
	if err := s.fail.Load(); err != nil {
		return *err
	}
	return do()
}

func (s *sickStore) StoreLogs(entries []*raft.Log) error {
	if s.after > 0 && len(entries) > 1 {
		if s.after--; s.after == 0 {
			defer s.hang()
		}
	}
	return s.write(func() error { return s.raftStore.StoreLogs(entries) })
}

func (s *sickStore) DeleteRange(from, to uint64) error {
	return s.write(func() error { return s.raftStore.DeleteRange(from, to) })
}

func (s *sickStore) Set(key, value []byte) error {
	return s.write(func() error { return s.raftStore.Set(key, value) })
}

func (s *sickStore) SetUint64(key []byte, value uint64) error {
	return s.write(func() error { return s.raftStore.SetUint64(key, value) })
}

// startSick starts a cluster in which every disk can be made to hang or fail.
func startSick(t *testing.T, size int) (*testCluster, map[*Node]*sickStore) {
	t.Helper()
	var made []*sickStore
	c := newCluster(t, size, func(_ int, o *Options) {
		o.store = func(s raftStore) raftStore {
			made = append(made, &sickStore{raftStore: s})
			return made[len(made)-1]
		}
	})
	stores := map[*Node]*sickStore{}
	for i := range c.opts {
		n := c.start(i)
		stores[n] = made[i]
		t.Cleanup(made[i].heal)
	}
	return c, stores
}

func stalled(n *Node) func() bool {
	return func() bool { _, err := n.DiskTrouble(); return err != nil }
}

func TestLeaderWithAHangingDiskGivesUpLeading(t *testing.T) {
	c, stores := startSick(t, 3)
	c.propose(dea(1))
	c.converged()
	old := c.leader()
	term := old.Leadership().Term
	stores[old].hang()
	ctx := context.Background() // nobody may wait without a bound
	var waits sync.WaitGroup
	for i := range 40 { // more than raft takes in
		waits.Go(func() {
			for {
				_, err := old.Propose(ctx, dea(100+i))
				if err == nil {
					continue // it hung later
				}
				if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLeadershipLost) {
					t.Errorf("a proposal to the hanging leader: %v", err)
				}
				return
			}
		})
	}
	waits.Go(func() {
		for {
			if err := old.VerifyLease(ctx); err != nil {
				return
			}
		}
	})
	waits.Wait()
	eventually(t, "it reports that its disk hangs", stalled(old))
	if lasted, err := old.DiskTrouble(); !errors.Is(err, errDiskStalled) || lasted < stallAtLeast || !strings.Contains(err.Error(), "raft.db") {
		t.Errorf("the disk's trouble is %v, for %s", err, lasted)
	}
	if l := old.Leadership(); l.Leader || l.LeaderID == old.opts.ID {
		t.Errorf("the leadership of the hanging node is %+v", l)
	}
	if err := old.Transfer(ctx); err == nil {
		t.Error("the hanging node hands over a leadership")
	}
	eventually(t, "another leads", func() bool {
		for _, n := range c.running() {
			if l := n.Leadership(); n != old && l.Leader && l.Term > term {
				return true
			}
		}
		return false
	})
	c.propose(dea(2))
	for _, n := range c.running() {
		eventually(t, n.opts.ID+" shows the hanging member as not healthy, and why", func() bool {
			m := member(n, old.opts.ID)
			return !m.Healthy && strings.Contains(m.Problem, "raft.db") && m.State != stateLeader
		})
	}

	stores[old].heal()
	eventually(t, "its disk responds", func() bool { return !stalled(old)() })
	c.propose(dea(3))
	s := c.converged()
	for _, i := range []int{1, 2, 3} {
		if _, ok := s.DEA(deaID(i)); !ok {
			t.Errorf("%s was acknowledged and is lost", deaID(i))
		}
	}
	eventually(t, "all nodes show it as healthy", func() bool {
		for _, n := range c.running() {
			if m := member(n, old.opts.ID); !m.Healthy || m.Problem != "" {
				return false
			}
		}
		return true
	})
}

// A single node leads again when its disk responds.
func TestSingleNodeWithAHangingDisk(t *testing.T) {
	c, stores := startSick(t, 1)
	c.propose(dea(1))
	n := c.leader()
	stores[n].hang()
	if _, err := n.Propose(context.Background(), dea(2)); !errors.Is(err, ErrLeadershipLost) || !errors.Is(err, errDiskStalled) {
		t.Errorf("the proposal that hangs: %v, want one whose outcome is unknown", err)
	}
	if n.Leadership().Leader || n.confirmed.Load() != 0 {
		t.Error("it leads, or would lead without a new barrier")
	}
	if _, err := n.Propose(context.Background(), dea(3)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a proposal while the disk hangs: %v", err)
	}
	stores[n].heal()
	c.propose(dea(4))
}

func TestFollowerWithAHangingDisk(t *testing.T) {
	c, stores := startSick(t, 3)
	c.propose(dea(1))
	c.converged()
	follower := c.nodes[(c.index(c.leader())+1)%3]
	stores[follower].hang()
	eventually(t, "the follower reports that its disk hangs", func() bool {
		c.propose(dea(2))
		return stalled(follower)()
	})
	for i := range 20 {
		c.propose(dea(10 + i)) // the others are a majority
	}
	stores[follower].heal()
	c.propose(dea(3))
	c.converged()
}

func TestCloseWhileTheDiskHangs(t *testing.T) {
	c, stores := startSick(t, 3)
	c.propose(dea(1))
	n := c.leader()
	sick := stores[n]
	sick.hang()
	for !stalled(n)() {
		_, _ = n.Propose(bounded(t), dea(2))
	}
	at := c.index(n)
	c.nodes[at] = nil
	began := time.Now()
	err := n.Close()
	if err == nil || !errors.Is(err, errDiskStalled) || !strings.Contains(err.Error(), "raft.db") {
		t.Errorf("closing gives %v, want an error that names the write that hangs", err)
	}
	if lasted := time.Since(began); lasted > patience {
		t.Errorf("closing took %s", lasted)
	}
	if again := n.Close(); again == nil || again.Error() != err.Error() {
		t.Errorf("closing again gives %v", again)
	}
	if _, err := n.Propose(context.Background(), dea(3)); err == nil {
		t.Error("a closed node accepts a proposal")
	}
	c.propose(dea(4))
	sick.heal()
	eventually(t, "the stuck write has ended, and the store is free again", func() bool {
		c.opts[at].store = nil
		s, err := openStores(c.opts[at], newSampledLog(discard()))
		return err == nil && s.close() == nil
	})
	c.start(at)
	c.propose(dea(5))
	c.converged()
}

func TestFullDiskUnderTheLeader(t *testing.T) {
	c, stores := startSick(t, 3)
	c.propose(dea(1))
	c.converged()
	old := c.leader()
	stores[old].fail.Store(&errFull)
	for !stalled(old)() {
		_, _ = old.Propose(bounded(t), dea(2))
	}
	if _, err := old.DiskTrouble(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the trouble is %v", err)
	}
	eventually(t, "another leads", func() bool {
		for _, n := range c.running() {
			if n != old && n.Leadership().Leader {
				return true
			}
		}
		return false
	})
	c.propose(dea(3))
	stores[old].heal()
	c.propose(dea(4))
	c.converged()
	if err := old.Err(); err != nil {
		t.Errorf("a full disk made the node fail: %v", err)
	}
}

// All disks are full at once, so that not even a term can be stored. No node panics, and all return.
func TestFullDiskEverywhere(t *testing.T) {
	c, stores := startSick(t, 3)
	c.propose(dea(1))
	c.converged()
	for _, s := range stores {
		s.fail.Store(&errFull)
	}
	at := c.index(c.leader())
	c.kill(at) // the others want to elect, which takes a term
	var waits *Node
	eventually(t, "one of them waits for room", func() bool {
		for _, n := range c.running() {
			if stalled(n)() {
				waits = n
				return true
			}
		}
		return false
	})
	behind := c.index(waits)
	c.close(behind) // an end in good time, and no panic
	for _, s := range stores {
		s.heal()
	}
	c.opts[at].store, c.opts[behind].store = nil, nil
	c.start(at)
	c.start(behind)
	c.propose(dea(2))
	c.converged()
}

// A store that fails for another reason ends the node with one error and without a panic.
func TestFailedDiskEndsTheNode(t *testing.T) {
	for name, err := range map[string]error{
		"an input/output error":           &fs.PathError{Op: "write", Path: "raft.db", Err: syscall.EIO},
		"a sync that failed for no space": syscall.ENOSPC,
	} {
		t.Run(name, func(t *testing.T) {
			c, stores := startSick(t, 3)
			c.propose(dea(1))
			old := c.leader()
			at := c.index(old)
			stores[old].fail.Store(&err)
			eventually(t, "the node has failed", func() bool {
				_, _ = old.Propose(bounded(t), dea(2))
				return old.Err() != nil
			})
			<-old.Failed()
			if got := old.Err(); !errors.Is(got, err) || !strings.Contains(got.Error(), "node.data_dir") || !strings.Contains(got.Error(), "raft.db") {
				t.Errorf("the node's error is %v", got)
			}
			if old.Leadership().Leader {
				t.Error("a node whose disk failed leads")
			}
			c.close(at)
			c.propose(dea(3))
			leader := c.leader()
			var last *Node
			for _, n := range c.running() {
				if n != leader {
					last = n
				}
			}
			stores[last].fail.Store(&err)
			eventually(t, "a node has failed when it had to store a term", func() bool {
				_ = leader.Transfer(bounded(t))
				return last.Err() != nil
			})
			c.close(c.index(last))
		})
	}
}
