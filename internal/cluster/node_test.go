package cluster

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/tcpproxy"
	"hm/raftfsm"
)

func TestSingleNode(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	before := n.Now()
	res, err := n.Propose(bounded(t), dea(1), raftfsm.HoldReleased{Name: "none"})
	if err != nil {
		t.Fatal(err)
	}
	if len(res) != 1 || len(res[0].Refused) != 1 || res[0].Refused[0].Record != 1 || len(res[0].Touched) != 2 {
		t.Errorf("the result is %+v, want one that touches two apps and refuses record 1", res)
	}
	if now := n.View().Time(); now < before || n.Now() < now {
		t.Errorf("the entry is stamped %s, between Now() = %s before it and %s after", now, before, n.Now())
	}
	if err := n.VerifyLease(bounded(t)); err != nil {
		t.Errorf("a single node's lease is not confirmed: %v", err)
	}
	hash := n.View().Hash()
	c.close(0)
	if _, err := n.Propose(bounded(t), dea(2)); !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrClosed) {
		t.Errorf("a closed node answers %v to a proposal", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	c.start(0)
	if n = c.leader(); n.View().Hash() != hash {
		t.Errorf("after the restart the hash is %s, it was %s", n.View().Hash(), hash)
	}
}

func TestThreeNodesAgree(t *testing.T) {
	c := startCluster(t, 3, nil)
	for i := range 50 {
		c.propose(dea(i))
	}
	s := c.converged()
	if s.Counts().DEAs != 50 {
		t.Errorf("%d DEAs are recorded, want 50", s.Counts().DEAs)
	}
	eventually(t, "every follower refuses proposals and names the leader", func() bool {
		leader := c.leader()
		for _, n := range c.running() {
			if n == leader {
				continue
			}
			_, err := n.Propose(bounded(t), dea(0))
			if !errors.Is(err, ErrNotLeader) || !strings.Contains(err.Error(), leader.opts.ID) || !errors.Is(n.VerifyLease(bounded(t)), ErrNotLeader) {
				return false
			}
			if l := n.Leadership(); l.Leader || l.LeaderID != leader.opts.ID || l.Term != leader.Leadership().Term {
				return false
			}
		}
		return true
	})
}

// acknowledged proposes numbered DEAs again and again and remembers which proposals succeeded.
type acknowledged struct {
	next  atomic.Int64
	mu    sync.Mutex
	known []int
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

func keepProposing(c *testCluster, nodes []*Node, callers int) *acknowledged {
	ctx, cancel := context.WithCancel(context.Background())
	a := &acknowledged{stop: cancel}
	for range callers {
		a.wg.Go(func() {
			for ctx.Err() == nil {
				for _, n := range nodes {
					i := int(a.next.Add(1))
					if _, err := n.Propose(ctx, dea(i)); err == nil {
						a.mu.Lock()
						a.known = append(a.known, i)
						a.mu.Unlock()
					} else {
						time.Sleep(100 * time.Microsecond)
					}
				}
			}
		})
	}
	c.t.Cleanup(func() { a.stop(); a.wg.Wait() })
	return a
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known)
}

func (a *acknowledged) check(t *testing.T, s *raftfsm.State) {
	t.Helper()
	for _, i := range a.known {
		if _, ok := s.DEA(deaID(i)); !ok {
			t.Fatalf("%s was acknowledged and is lost", deaID(i))
		}
	}
}

func TestLeaderKilled(t *testing.T) {
	c := startCluster(t, 3, nil)
	a := keepProposing(c, c.running(), 4)
	eventually(t, "some proposals are acknowledged", func() bool { return a.count() > 50 })
	first := c.leader()
	last := first.Leadership()
	killed := c.index(first)
	c.kill(killed)
	second := c.leader()
	if l := second.Leadership(); last.Leader && l.Term <= last.Term {
		t.Errorf("after the leader of term %d was killed, %s leads in term %d", last.Term, second.opts.ID, l.Term)
	}
	n := a.count()
	eventually(t, "proposals are acknowledged again", func() bool { return a.count() > n+50 })
	a.stop()
	a.wg.Wait()
	c.start(killed)
	c.propose(dea(0))
	a.check(t, c.converged())
}

func TestRestartOfAll(t *testing.T) {
	c := startCluster(t, 3, nil)
	for i := range 20 {
		c.propose(dea(i))
	}
	before := c.converged()
	for i := range c.nodes {
		c.close(i)
	}
	for i := range c.nodes {
		c.start(i)
	}
	c.leader()
	after := c.converged()
	if after.Hash() != before.Hash() || after.Index() != before.Index() {
		t.Errorf("after the restart the state is %s at %d, it was %s at %d", after.Hash(), after.Index(), before.Hash(), before.Index())
	}
	for _, n := range c.running() {
		if now := n.Now(); now < before.Time() {
			t.Errorf("%s shows %s, which is before the newest entry, %s", n.opts.ID, now, before.Time())
		}
	}
	c.propose(dea(99))
	if s := c.converged(); s.Time() < before.Time() {
		t.Errorf("an entry is stamped %s, after one stamped %s", s.Time(), before.Time())
	}
}

// TestARestartedNodeHasTheClockOfTheOthers: while nothing is written, nobody can tell from the log how late it is.
func TestARestartedNodeHasTheClockOfTheOthers(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	newest := c.converged().Time()
	time.Sleep(3 * time.Second) // in which nothing is written
	for i := range c.nodes {    // the leader is one of them
		c.close(i)
		c.start(i)
		restarted := c.nodes[i]
		eventually(t, "the restarted node has the leader's clock", func() bool {
			l, now := restarted.Leadership(), restarted.Now()
			return l.LeaderID != "" && restarted.clock.ofTerm.Load() == l.Term && now.Sub(newest) >= 3*time.Second
		})
	}
	c.propose(dea(2))
	if at := c.converged().Time(); at.Sub(newest) < 3*time.Second {
		t.Errorf("the next entry is stamped %v after the one before, want 3s or more", at.Sub(newest))
	}
}

// TestAClockOfBeforeASuspensionIsNotTakenOver: a leader's machine is suspended while one of the others is cut off. The
// leader goes on, since nobody else could be elected, and stamps entries with a clock that is now behind. The node that
// was cut off still follows the leader's clock of before, as far as it knows. It must not become the clock of the next
// leader: all that was stamped since the suspension would age by the suspension.
func TestAClockOfBeforeASuspensionIsNotTakenOver(t *testing.T) {
	const suspension = time.Minute
	c := newCluster(t, 3, nil)
	links := c.linked()
	for i := range c.opts {
		c.start(i)
	}
	c.propose(dea(1))
	c.converged()
	leader := c.leader()
	at := c.index(leader)
	cutOff, next := (at+1)%3, (at+2)%3
	term := leader.Leadership().Term
	away := c.nodes[cutOff]
	eventually(t, "the node that will be cut off follows the leader's clock", func() bool { return away.clock.ofTerm.Load() == term })
	isolate(links, cutOff, tcpproxy.Refuse)
	eventually(t, "it notices", func() bool { return away.Leadership().LeaderID == "" })
	away.clock.mu.Lock()
	away.clock.set(away.Now().Add(suspension), away.clock.baseOf(away.Now().Add(suspension))) // it alone counts the time
	away.clock.mu.Unlock()
	res, by := c.propose(dea(2))
	if l := by.Leadership(); by != leader || l.Term != term || res[0].Err != nil {
		t.Skipf("another node led meanwhile, in term %d: the test would show nothing", l.Term)
	}
	stamped := leader.View().Time()
	eventually(t, "the next leader has the entry", func() bool { return c.nodes[next].View().Time() == stamped })
	c.kill(at)
	c.kill(next)
	c.start(next)
	isolate(links, cutOff, tcpproxy.Pass)
	if c.leader() != c.nodes[next] {
		t.Fatal("a node without the newest entry leads")
	}
	c.propose(dea(3))
	if passed := c.nodes[next].View().Time().Sub(stamped); passed >= suspension/2 {
		t.Errorf("the next leader's entry is stamped %v after the one before, which is nearly the whole suspension of %v", passed, suspension)
	}
	eventually(t, "the node that was cut off has the leader's clock", func() bool {
		return away.Now().Sub(c.nodes[next].Now()) < suspension/2
	})
}

func TestLeaderOfAMinorityStepsDown(t *testing.T) {
	for name, cut := range map[string]tcpproxy.Mode{"refused": tcpproxy.Refuse, "black hole": tcpproxy.Hold} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			links := c.linked()
			for i := range c.opts {
				c.start(i)
			}
			old := c.leader()
			at := c.index(old)
			a := keepProposing(c, c.running(), 2)
			eventually(t, "some proposals are acknowledged", func() bool { return a.count() > 20 })
			isolate(links, at, cut)
			began := time.Now()
			ctx := bounded(t)
			var lost error
			for lost == nil {
				_, lost = old.Propose(ctx, dea(1_000_000))
			}
			if !errors.Is(lost, ErrLeadershipLost) && !errors.Is(lost, ErrNotLeader) {
				t.Errorf("a proposal to a leader that was cut off: %v", lost)
			}
			eventually(t, "the leader that was cut off steps down", func() bool { return !old.Leadership().Leader })
			stepped := time.Since(began)
			if err := old.VerifyLease(ctx); !errors.Is(err, ErrNotLeader) {
				t.Errorf("the lease of a leader that was cut off: %v", err)
			}
			eventually(t, "the others elect a leader", func() bool {
				for i, n := range c.nodes {
					if i != at && n.Leadership().Leader {
						return true
					}
				}
				return false
			})
			elected := time.Since(began)
			n := a.count()
			eventually(t, "proposals are acknowledged again", func() bool { return a.count() > n+20 })
			isolate(links, at, tcpproxy.Pass)
			healed := time.Now()
			eventually(t, "the old leader follows", func() bool { return old.Leadership().LeaderID != "" })
			a.stop()
			a.wg.Wait()
			c.propose(dea(0))
			a.check(t, c.converged())
			t.Logf("stepped down after %s, the others led after %s; followed %s after the link was whole again", stepped, elected, time.Since(healed))
		})
	}
}

func TestVerifyLeaseWithoutAMajority(t *testing.T) {
	c := startCluster(t, 3, nil)
	var leader *Node
	eventually(t, "a leader's lease is confirmed", func() bool {
		leader = c.leader()
		return leader.VerifyLease(bounded(t)) == nil
	})
	for i, n := range c.nodes {
		if n != leader {
			c.kill(i)
		}
	}
	if err := leader.VerifyLease(bounded(t)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("without its followers the leader verifies its lease: %v", err)
	}
}

func TestTransfer(t *testing.T) {
	c := startCluster(t, 3, nil)
	a := keepProposing(c, c.running(), 3)
	for range 3 {
		var old *Node
		var term uint64
		eventually(t, "the leader hands over", func() bool {
			old = c.leader()
			term = old.Leadership().Term
			return old.Transfer(bounded(t)) == nil
		})
		if l := old.Leadership(); l.Leader && l.Term == term {
			t.Errorf("after the transfer %s still leads: %+v", old.opts.ID, l)
		}
		n := a.count()
		eventually(t, "proposals are acknowledged by the next leader", func() bool { return a.count() > n })
	}
	a.stop()
	a.wg.Wait()
	c.propose(dea(0))
	a.check(t, c.converged())
}

func TestCloseHandsOver(t *testing.T) {
	c := startCluster(t, 3, func(_ int, o *Options) { // so slow that a stall of the machine does not matter
		o.HeartbeatTimeout, o.LeaseTimeout, o.ElectionTimeout = time.Second, time.Second, 10*time.Second
	})
	old := c.leader()
	c.propose(dea(1))
	c.converged()
	changed := c.nodes[(c.index(old)+1)%3].LeadershipChanged()
	select {
	case <-changed:
	default:
	}
	for _, n := range c.running() { // nobody stands for election before the test ends
		if patient := n.raft.ReloadableConfig(); n != old {
			patient.HeartbeatTimeout, patient.ElectionTimeout = 10*patience, 10*patience
			if err := n.raft.ReloadConfig(patient); err != nil {
				t.Fatal(err)
			}
		}
	}
	term := old.Leadership().Term
	c.close(c.index(old))
	if l := c.leader().Leadership(); l.Term <= term {
		t.Errorf("the next leader is of term %d, after one of term %d", l.Term, term)
	}
	select {
	case <-changed:
	case <-bounded(t).Done():
		t.Error("LeadershipChanged got no value")
	}
}

func TestSnapshotAndLateJoiner(t *testing.T) {
	restored := make([]atomic.Int64, 3)
	c := newCluster(t, 3, func(i int, o *Options) {
		o.SnapshotInterval, o.SnapshotThreshold, o.trailingLogs = 20*time.Millisecond, 32, 8
		o.OnApply = func(a raftfsm.Applied) {
			if a.Restored {
				restored[i].Add(1)
			}
		}
	})
	c.start(0)
	c.start(1)
	for i := range 100 {
		c.propose(dea(i))
	}
	eventually(t, "both logs were compacted", func() bool {
		for _, n := range c.running() {
			if first, err := n.stores.file.FirstIndex(); err != nil || first <= 1 {
				return false
			}
		}
		return true
	})
	c.start(2)
	c.propose(dea(1000))
	s := c.converged()
	if restored[2].Load() == 0 {
		t.Error("the late joiner caught up without a snapshot")
	}
	for i := range c.nodes {
		c.close(i)
	}
	for i := range c.nodes {
		restored[i].Store(0)
		c.start(i)
		if restored[i].Load() == 0 {
			t.Errorf("node %d was restarted without a snapshot", i)
		}
		if now := c.nodes[i].Now(); now < c.nodes[i].View().Time() || now.Sub(s.Time()) > time.Hour {
			t.Errorf("node %d shows %s after the restore of a snapshot", i, now)
		}
	}
	c.leader()
	if after := c.converged(); after.Hash() != s.Hash() {
		t.Errorf("after the restart the hash is %s, it was %s", after.Hash(), s.Hash())
	}
}

func TestStoreInUse(t *testing.T) {
	c := startCluster(t, 1, nil)
	o := c.opts[0]
	o.Listen = "127.0.0.1:1" // never listened on
	l := newCluster(t, 1, nil)
	o.listener = l.opts[0].listener
	n, err := Open(o)
	if err == nil {
		_ = n.Close()
		t.Fatal("a store in use was opened")
	}
	if !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), o.DataDir) {
		t.Errorf("the error is %q, want one that names %s and says that it is in use", err, o.DataDir)
	}
}

func TestForeignDirectory(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.leader()
	c.close(0)
	c.opts[0].ID = "hm-9"
	l := newCluster(t, 1, nil)
	c.opts[0].listener = l.opts[0].listener
	n, err := Open(c.opts[0])
	c.opts[0].listener = nil
	if err == nil {
		_ = n.Close()
		t.Fatal("a node opened the directory of another")
	}
	if !strings.Contains(err.Error(), "node.id hm-9") || !strings.Contains(err.Error(), "hm-0") {
		t.Errorf("the error is %q, want one that names both nodes", err)
	}
}

func TestGoroutinesEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	c := startCluster(t, 3, nil)
	a := keepProposing(c, c.running(), 2)
	eventually(t, "some proposals are acknowledged", func() bool { return a.count() > 10 })
	for i := range c.nodes {
		c.close(i)
	}
	a.stop()
	a.wg.Wait()
	eventually(t, "every goroutine has ended", func() bool {
		return runtime.NumGoroutine() <= before
	})
}

func TestNowAgreesAcrossNodes(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	s := c.converged()
	var last [3]app.Time
	eventually(t, "time passes everywhere", func() bool {
		done := true
		for i, n := range c.nodes {
			now := n.Now()
			if now < last[i] {
				t.Fatalf("%s went back from %s to %s", n.opts.ID, last[i], now)
			}
			last[i] = now
			done = done && now.Sub(s.Time()) > 50*time.Millisecond
		}
		return done
	})
}
