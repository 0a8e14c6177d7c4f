package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNewClusterJoinsAtOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.start(0)
	if !c.nodes[0].join.active.Load() {
		t.Fatal("a blank node takes part in elections before a message has arrived")
	}
	c.start(1) // two of three are a majority; the third may come whenever it likes
	c.propose(dea(1))
	c.start(2)
	c.propose(dea(2))
	c.converged()
	eventually(t, "every node takes part in elections", func() bool {
		for _, n := range c.nodes {
			if _, err := os.Stat(n.join.marker); err == nil || n.join.active.Load() {
				return false
			}
		}
		return true
	})
}

// A follower lacks what the other two acknowledged. One of these loses its disk, the other dies. If the blank node
// voted, the follower would lead and everything would be lost.
func TestBlankNodeMakesNoLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	behind := (c.index(c.leader()) + 1) % 3
	c.close(behind)
	for i := range 20 {
		c.propose(dea(100 + i))
	}
	at := c.index(c.leader())
	wiped := 3 - at - behind
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	c.kill(at)

	c.start(behind)
	blank := c.start(wiped)
	follower := c.nodes[behind]
	c.wantNoLeader(follower, blank)

	// After a crash it still waits.
	c.kill(wiped)
	blank = c.start(wiped)
	if !blank.join.active.Load() {
		t.Fatal("after a crash the blank node takes part in elections")
	}
	c.start(at)
	c.propose(dea(200))
	s := c.converged()
	wantDEAs(t, s, 100, 20)
	eventually(t, "the blank node has caught up and takes part", func() bool { return !blank.join.active.Load() })
}

// The second and third node have the first one in raft.peers, but the first runs as a single node. The two must not
// form a cluster of their own: its leader would overwrite the record of the first.
func TestNoSecondClusterBesideTheFirst(t *testing.T) {
	c := newCluster(t, 3, nil)
	peers := c.opts[0].Peers
	c.opts[0].Peers = nil
	c.start(0)
	c.propose(dea(1))
	first := c.leader()
	c.opts[0].Peers = peers
	c.start(1)
	c.start(2)
	for _, n := range c.nodes[1:] {
		eventually(t, "the first node says that they are not members", n.peerStatus.isRejected)
		eventually(t, "they have each other's status", func() bool { return c.haveStatus(1, 2) })
		eventually(t, "the wait for a new cluster is over", func() bool { return time.Since(n.join.since) > newClusterWait+2*statusEvery })
		if !n.join.active.Load() {
			t.Errorf("%s forms a cluster of its own", n.opts.ID)
		}
	}
	if !first.Leadership().Leader {
		t.Error("the first node no longer leads")
	}
}

func TestJoiningEndsAfterASnapshot(t *testing.T) {
	c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 8, 1 })
	for i := range 20 {
		c.propose(dea(i))
	}
	c.converged()
	leader := c.leader()
	wiped := (c.index(leader) + 1) % 3
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	if err := leader.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	n := c.start(wiped)
	// No entry follows: the snapshot alone must suffice.
	eventually(t, "the node takes part in elections", func() bool { return !n.join.active.Load() })
	c.converged()
}

// The operator removes a damaged raft.db and leaves the snapshots, which do not say what was acknowledged later.
func TestLostLogMakesNoLeader(t *testing.T) {
	for wiped := range 3 {
		t.Run(fmt.Sprint("node ", wiped), func(t *testing.T) {
			c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 4, 2 })
			for i := range 10 {
				c.propose(dea(i))
			}
			c.converged()
			for _, n := range c.nodes {
				if err := n.raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
			behind := (wiped + 1) % 3
			at := 3 - wiped - behind
			c.close(behind)
			for i := range 20 {
				c.propose(dea(100 + i)) // acknowledged by the node that will lose its log
			}
			c.kill(wiped)
			if err := os.Remove(filepath.Join(c.opts[wiped].DataDir, "raft", "raft.db")); err != nil {
				t.Fatal(err)
			}
			c.kill(at)
			follower, lost := c.start(behind), c.start(wiped)
			c.wantNoLeader(follower, lost)
			if first, err := lost.stores.file.FirstIndex(); err != nil || first == 1 {
				t.Errorf("the node wrote a first entry beside its snapshot: %d, %v", first, err)
			}
			c.start(at)
			c.propose(dea(200))
			s := c.converged()
			wantDEAs(t, s, 100, 20)
			eventually(t, "the node has caught up and takes part", func() bool { return !lost.join.active.Load() })
		})
	}
}

// Each node in turn loses its log while records are acknowledged.
func TestLostLogsUnderLoad(t *testing.T) {
	c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 16, 8 })
	var known []int
	for i := range c.nodes {
		a := keepProposing(c, c.running(), 2)
		a.next.Store(int64(1000 * (i + 1)))
		eventually(t, "some proposals are acknowledged", func() bool { return a.count() > 50 })
		if err := c.nodes[i].raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		c.kill(i)
		if err := os.Remove(filepath.Join(c.opts[i].DataDir, "raft", "raft.db")); err != nil {
			t.Fatal(err)
		}
		n := c.start(i)
		eventually(t, "the node has caught up and takes part", func() bool { return !n.join.active.Load() })
		a.stop()
		a.wg.Wait()
		known = append(known, a.known...)
	}
	c.propose(dea(0))
	(&acknowledged{known: known}).check(t, c.converged())
}

// A single node that lost its log goes on from its snapshot, in a later term, and says that records are lost.
func TestLostLogOfASingleNode(t *testing.T) {
	var log logLines
	c := startCluster(t, 1, func(_ int, o *Options) {
		o.SnapshotThreshold, o.trailingLogs = 4, 2
		o.Logger = log.logger()
	})
	for i := range 10 {
		c.propose(dea(i))
	}
	n := c.leader()
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.propose(dea(99))
	term := n.Leadership().Term
	c.close(0)
	if err := os.Remove(filepath.Join(c.opts[0].DataDir, "raft", "raft.db")); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(dea(100))
	n = c.leader()
	if l := n.Leadership(); l.Term <= term {
		t.Errorf("it leads in term %d, before it was %d", l.Term, term)
	}
	for _, i := range []int{0, 9, 100} {
		if _, ok := n.View().DEA(deaID(i)); !ok {
			t.Errorf("%s is missing", deaID(i))
		}
	}
	if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "EVERYTHING RECORDED LATER IS LOST") {
		t.Errorf("the log does not say that records are lost:\n%s", got)
	}
}

// A log that begins after entries that are in no snapshot cannot be replayed. Raft would panic.
func TestLostSnapshotsStopTheStart(t *testing.T) {
	c := startCluster(t, 1, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 4, 2 })
	for i := range 10 {
		c.propose(dea(i))
	}
	if err := c.leader().raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.close(0)
	if err := os.RemoveAll(filepath.Join(c.opts[0].DataDir, "raft", "snapshots")); err != nil {
		t.Fatal(err)
	}
	l := newCluster(t, 1, nil)
	c.opts[0].listener = l.opts[0].listener
	n, err := Open(c.opts[0])
	c.opts[0].listener = nil
	if err == nil {
		_ = n.Close()
		t.Fatal("the node starts")
	}
	if !strings.Contains(err.Error(), "there is no snapshot and the log begins with entry") || !strings.Contains(err.Error(), c.opts[0].DataDir) {
		t.Errorf("the error is %q", err)
	}
}

// A crash between the first two writes of a new node leaves a term and no entry.
func TestCrashWhileTheFirstEntryIsWritten(t *testing.T) {
	c := newCluster(t, 1, nil)
	s, err := openStores(c.opts[0], newSampledLog(discard()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(checkedValues{s.file}.SetUint64(keyCurrentTerm, 1), s.close()); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(dea(1))
}

// Raft commits each batch of entries at once, and acknowledged entries may come in a later batch. So the node must
// reach the end of the log that the leader had when the joining began.
func TestJoiningNeedsTheWholeLogOfTheLeader(t *testing.T) {
	j := &joining{marker: filepath.Join(t.TempDir(), "joining")}
	if err := j.begin(); err != nil {
		t.Fatal(err)
	}
	told := func(state string, term, index uint64, at time.Time) peerMessage {
		return peerMessage{message: message{State: state, Term: term, Last: logPosition{term, index}}, at: at}
	}
	for name, h := range map[string]peerMessage{
		"nothing":                   {},
		"a word from before":        told(stateLeader, 5, 90, j.since.Add(-1)),
		"a follower's word":         told(stateFollower, 5, 90, j.since.Add(1)),
		"a word of another term":    told(stateLeader, 4, 90, j.since.Add(1)),
		"a word of a term to come ": told(stateLeader, 6, 90, j.since.Add(1)),
	} {
		if index, ok := j.goalOf(5, h); ok {
			t.Errorf("%s gives the goal %d", name, index)
		}
	}
	for _, h := range []peerMessage{told(stateLeader, 5, 100, j.since.Add(1)), told(stateLeader, 5, 500, j.since.Add(2)), {}} {
		if index, ok := j.goalOf(5, h); !ok || index != 100 {
			t.Errorf("the goal is %d, %v, want the end of the leader's log in its first message", index, ok)
		}
	}
	if _, ok := j.goalOf(6, told(stateLeader, 5, 100, j.since.Add(1))); ok {
		t.Error("a goal outlasts the leader's term")
	}
	if err := j.begin(); err != nil {
		t.Fatal(err)
	}
	if _, ok := j.goalOf(5, peerMessage{}); ok {
		t.Error("a goal outlasts the joining")
	}
}

func TestJoiningLastsOverTheFirstBatch(t *testing.T) {
	var sick *sickStore
	c := startCluster(t, 3, func(_ int, o *Options) {
		o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = time.Second, 2*time.Second, time.Second
	})
	for i := range 3 * maxAppend {
		c.propose(dea(i))
	}
	c.converged()
	wiped := (c.index(c.leader()) + 1) % 3
	c.kill(wiped)
	if err := os.RemoveAll(c.opts[wiped].DataDir); err != nil {
		t.Fatal(err)
	}
	c.opts[wiped].store = func(s raftStore) raftStore {
		sick = &sickStore{raftStore: s, after: 1}
		return sick
	}
	n := c.start(wiped)
	t.Cleanup(sick.heal)
	eventually(t, "the first batch is on the disk, and the second is being written", func() bool {
		return sick.hung.Load() > 0 && n.raft.CommitIndex() > 1
	})
	leader := c.leader()
	first, _ := n.peerStatus.latestFrom(leader.opts.ID)
	eventually(t, "two more messages of the leader have arrived", func() bool {
		h, _ := n.peerStatus.latestFrom(leader.opts.ID)
		return h.at.After(first.at.Add(statusEvery)) || n.stores.disk.stalled.Load()
	})
	if !n.join.active.Load() {
		t.Errorf("the node takes part in elections with a part of the leader's log: %d of %v", n.raft.CommitIndex(), c.leader().logEnd())
	}
	sick.heal()
	eventually(t, "the node has caught up and takes part", func() bool { return !n.join.active.Load() })
}
