package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A peer was away for so long that raft's replication backs off from it for seconds. Nobody writes when it comes back,
// and it has the log after a few messages of the leader all the same.
func TestAPeerThatWasAwayHasTheLogAtOnce(t *testing.T) {
	for name, tt := range map[string]struct{ empty, snapshot bool }{
		"with its data":           {},
		"with an empty directory": {empty: true},
		"it needs a snapshot":     {snapshot: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 3, func(_ int, o *Options) { o.trailingLogs = 1 })
			c.propose(dea(0))
			c.converged()
			leader := c.leader()
			away := (c.index(leader) + 1) % 3
			c.kill(away)
			left := time.Now()
			for i := range 5 {
				c.propose(dea(1 + i))
			}
			if tt.snapshot {
				if err := leader.raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
			if tt.empty {
				if err := os.RemoveAll(c.opts[away].DataDir); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3500*time.Millisecond - time.Since(left)) // ten failures: raft would wait for 2.6 s, until 5.7 s at least
			n := c.start(away)
			var last time.Time
			contacts := 0
			eventually(t, "the peer has the leader's log", func() bool {
				if at := n.raft.LastContact(); at != last {
					last = at
					contacts++
				}
				return n.View().Index() == c.leader().View().Index()
			})
			t.Logf("%d contacts, %s after the start at most", contacts, time.Since(left)-3500*time.Millisecond)
			if contacts > 20 {
				t.Errorf("the peer had the log only after %d messages of the leader", contacts)
			}
			if _, ok := n.View().DEA(deaID(5)); !ok {
				t.Error("the last record is missing")
			}
		})
	}
}

// While raft waits for the answer to a handover, it accepts no entry. A peer that is away must not hold that up.
func TestHandoversToAPeerThatIsAway(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(0))
	c.converged()
	leader := c.leader()
	away := Peer{}
	for i := range c.nodes {
		if c.nodes[i] != leader {
			away = Peer{c.opts[i].ID, c.opts[i].Listen}
			c.kill(i)
			break
		}
	}
	c.propose(dea(1))
	eventually(t, "the leader notices that the peer is away", func() bool {
		over, _ := leader.waits.reason(away, leader.Leadership().Term)
		return over != nil || leader.raft.State() != raft.Leader
	})
	for range 3 {
		eventually(t, "the handover has failed, and raft has ended the one before", func() bool {
			err := leader.TransferTo(bounded(t), away.ID)
			if err == nil {
				t.Fatal("a node that does not run leads")
			}
			return !errors.Is(err, raft.ErrLeadershipTransferInProgress)
		})
	}
	c.propose(dea(2))
}

// Raft goes on with its heartbeats to a removed member until its replication to it has ended.
func TestARemovedPeerIsNotAwaited(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(0))
	c.converged()
	leader := c.leader()
	away := (c.index(leader) + 1) % 3
	c.kill(away)
	var l net.Listener
	eventually(t, "the node's port is free", func() (free bool) {
		var err error
		l, err = net.Listen("tcp", c.opts[away].Listen)
		return err == nil
	})
	defer l.Close()
	var attempts atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			attempts.Add(1)
			_ = conn.Close()
		}
	}()
	c.propose(dea(1))
	eventually(t, "heartbeats are attempted", func() bool { return attempts.Load() > 10 })
	err := c.asLeader(func(ctx context.Context, l *Node) error { return l.Remove(ctx, c.opts[away].ID, true) })
	if err != nil && !errors.Is(err, ErrNoMember) { // it may have been removed although the leader changed
		t.Fatal(err)
	}
	eventually(t, "nobody tries to reach the removed node", func() bool {
		before := attempts.Load()
		time.Sleep(4 * c.opts[0].HeartbeatTimeout)
		return attempts.Load() == before
	})
}

func TestLeadsIn(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(0))
	leader := c.leader()
	term := leader.Leadership().Term
	other := c.nodes[(c.index(leader)+1)%3]
	if !leader.leadsIn(term) && leader.raft.State() == raft.Leader || leader.leadsIn(term-1) || other.leadsIn(term) {
		t.Error("leadsIn does not say who leads")
	}
	self := Peer{leader.opts.ID, leader.opts.Listen}
	if !leader.replicatesTo(self) || leader.replicatesTo(Peer{self.ID, "127.0.0.1:1"}) || leader.replicatesTo(Peer{"x", self.Address}) {
		t.Error("replicatesTo does not say who the members are")
	}
}

// What ends a wait in term 7 for a peer that heartbeats do not reach, and when.
func TestPeerWaits(t *testing.T) {
	const every = 100 * time.Millisecond
	lost, unreached := Peer{"hm-1", "127.0.0.1:1"}, errors.New("connection refused")
	for _, tt := range []struct {
		name   string
		before func(w *peerWaits) // what happens before the request
		after  func(w *peerWaits, ended, removed *atomic.Bool)
		within time.Duration // after that; 0: at once
		want   error
	}{
		{name: "a heartbeat succeeds", after: func(w *peerWaits, _, _ *atomic.Bool) { w.note(lost, 7, nil) }, want: errTryAgain},
		{name: "raft ends", after: func(w *peerWaits, _, _ *atomic.Bool) { w.end() }, want: errRaftEnds},
		{name: "a later leadership begins", after: func(w *peerWaits, _, _ *atomic.Bool) { w.note(lost, 8, unreached) }, want: errNoLongerLeads},
		{name: "the leadership ends", after: func(_ *peerWaits, ended, _ *atomic.Bool) { ended.Store(true) }, within: every, want: errNoLongerLeads},
		{name: "the peer is removed", after: func(_ *peerWaits, _, removed *atomic.Bool) { removed.Store(true) }, within: every, want: errTryAgain},
		{name: "a handover begins", after: func(w *peerWaits, _, _ *atomic.Bool) { w.handoverBegins() }, want: errTryAgain},
		{name: "a handover was long ago", before: func(w *peerWaits) { w.handoverBegins(); time.Sleep(handoverSettles) },
			after: func(w *peerWaits, _, _ *atomic.Bool) { w.note(lost, 7, nil) }, want: errTryAgain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended, removed atomic.Bool
				w := newPeerWaits(every, func(term uint64) bool { return !ended.Load() && term == 7 },
					func(p Peer) bool { return !removed.Load() && p == lost })
				w.note(lost, 7, nil)
				if tt.before != nil {
					tt.before(w)
				}
				w.note(lost, 7, unreached)
				returned := make(chan error, 1)
				go func() { returned <- w.await(lost, 7, nil) }()
				for range 30 { // heartbeats go on to fail, and those of an earlier leadership and to others do not count
					time.Sleep(time.Second + every/2)
					w.note(lost, 7, unreached)
					w.note(lost, 6, nil)
					w.note(Peer{"hm-1", "127.0.0.1:2"}, 7, nil)
				}
				synctest.Wait()
				select {
				case err := <-returned:
					t.Fatalf("it does not wait: %v", err)
				default:
				}
				began := time.Now()
				tt.after(w, &ended, &removed)
				if err := <-returned; !errors.Is(err, tt.want) {
					t.Errorf("the wait ends with %v, want %v", err, tt.want)
				}
				if d := time.Since(began); d > tt.within {
					t.Errorf("the wait ends after %s, want %s", d, tt.within)
				}
				if w.note(lost, 7, unreached); removed.Load() && len(w.away) > 0 {
					t.Error("the removed peer is kept")
				}
			})
		})
	}
}

// When a request is not held up, so that raft's own backoff applies if it fails.
func TestNoPeerWait(t *testing.T) {
	lost, unreached := Peer{"hm-1", "127.0.0.1:1"}, errors.New("connection refused")
	for name, before := range map[string]func(w *peerWaits){
		"no heartbeat of the term has failed":  func(w *peerWaits) { w.note(lost, 6, unreached) },
		"heartbeats succeed":                   func(w *peerWaits) { w.note(lost, 7, unreached); w.note(lost, 7, nil) },
		"heartbeats to another peer fail":      func(w *peerWaits) { w.note(Peer{"hm-2", "127.0.0.1:2"}, 7, unreached) },
		"a handover began before they failed":  func(w *peerWaits) { w.note(lost, 7, nil); w.handoverBegins(); w.note(lost, 7, unreached) },
		"a handover began after they failed":   func(w *peerWaits) { w.note(lost, 7, unreached); w.handoverBegins() },
		"it is the first request of this node": func(*peerWaits) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPeerWaits(time.Hour, func(uint64) bool { return true }, func(Peer) bool { return true })
			before(w)
			if over, err := w.reason(lost, 7); over != nil || err != nil {
				t.Errorf("the request waits, or fails with %v", err)
			}
		})
	}
}

// snapshotReader notes when it is closed.
type snapshotReader struct {
	*strings.Reader
	closed chan struct{}
}

func (r snapshotReader) Close() error {
	close(r.closed)
	return nil
}

// A snapshot that was opened when the peer went away is not sent when the peer comes back, perhaps days later.
func TestASnapshotIsOpenedAgainAfterAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPeerWaits(time.Second, func(uint64) bool { return true }, func(Peer) bool { return true })
		lost := Peer{"hm-1", "127.0.0.1:1"}
		w.note(lost, 7, errors.New("connection refused"))
		data := snapshotReader{strings.NewReader("old"), make(chan struct{})}
		returned := make(chan error, 1)
		go func() {
			returned <- awaitingTransport{nil, w}.InstallSnapshot(raft.ServerID(lost.ID), raft.ServerAddress(lost.Address),
				&raft.InstallSnapshotRequest{Term: 7}, &raft.InstallSnapshotResponse{}, data)
		}()
		<-data.closed
		time.Sleep(time.Hour)
		select {
		case err := <-returned:
			t.Fatalf("it does not wait: %v", err)
		default:
		}
		w.note(lost, 7, nil)
		if err := <-returned; !errors.Is(err, errTryAgain) {
			t.Errorf("the old snapshot ends with %v", err)
		}
	})
}

func TestIsHeartbeat(t *testing.T) {
	for name, tt := range map[string]struct {
		request raft.AppendEntriesRequest
		want    bool
	}{
		"heartbeat":         {raft.AppendEntriesRequest{Term: 7}, true},
		"entries":           {raft.AppendEntriesRequest{Term: 7, Entries: []*raft.Log{{}}}, false},
		"commit index":      {raft.AppendEntriesRequest{Term: 7, LeaderCommitIndex: 1}, false},
		"previous entry":    {raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1}, false},
		"term of the entry": {raft.AppendEntriesRequest{Term: 7, PrevLogTerm: 1}, false},
	} {
		if got := isHeartbeat(&tt.request); got != tt.want {
			t.Errorf("%s: it is a heartbeat: %v", name, got)
		}
	}
}
