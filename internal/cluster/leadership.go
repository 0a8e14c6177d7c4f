package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// Leadership says who leads, as far as this node knows.
type Leadership struct {
	Leader   bool      // this node leads, and has applied everything that was committed before its term
	Term     uint64    // raft's term; each election raises it
	LeaderID string    // the leader's id; empty if none is known
	Since    time.Time // when the other fields last changed, with a monotonic reading
}

// Leadership says who leads. Leader becomes true only after a barrier of the term was applied here. It becomes false at
// most LeaseTimeout, and 10 ms for raft's timer, after the last contact with a majority, and while the disk is stalled.
// But a process that was stalled may still see true until raft's goroutine has run: see VerifyLease.
func (n *Node) Leadership() Leadership {
	l := *n.lead.Load()
	if l.Leader && (n.Err() != nil || n.unfit() || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != l.Term) {
		l.Leader, l.LeaderID = false, "" // watch has not noticed yet
	}
	return l
}

// LeadershipChanged gets a value after Leadership changed. It holds one value, for any number of changes.
func (n *Node) LeadershipChanged() <-chan struct{} { return n.leadChanged.C() }

// watch keeps n.lead up to date. Raft's observations say when to look; the ticker covers those that get lost.
func (n *Node) watch(observations <-chan raft.Observation) {
	ticker := time.NewTicker(max(n.opts.HeartbeatTimeout/4, 10*time.Millisecond))
	defer ticker.Stop()
	barrier := make(chan uint64, 1)
	asked := false   // a barrier is under way
	refused := false // a barrier failed since the last tick; during a transfer each one fails at once
	failed := n.Failed()
	lost := lostLeader{timer: time.NewTimer(time.Hour)}
	defer lost.timer.Stop()
	var yielded time.Time
	for {
		if term := n.raft.CurrentTerm(); n.raft.State() == raft.Leader && n.confirmed.Load() != term && !asked && !refused && !n.unfit() {
			select {
			case n.raftCalls <- struct{}{}:
				asked = true
				changes := n.diskChanges.Load()
				go func() {
					passed := n.barrier(term)
					if n.diskChanges.Load() != changes {
						passed = 0 // another node may lead meanwhile
					}
					barrier <- passed
					<-n.raftCalls
				}()
			default: // at the next tick
			}
		}
		n.publishLeadership()
		n.yieldTight(&yielded)
		lost.arm(n)
		select {
		case <-n.halted:
			n.publishLeadership()
			return
		case term := <-barrier:
			asked, refused = false, term == 0
			if term != 0 {
				n.takeOverClock(term)
				n.confirmed.Store(term)
			}
		case <-failed:
			failed = nil
			n.wg.Go(n.stopRaft)
		case <-n.diskChanged.C():
			n.peerStatus.notifySenders()
		case <-lost.timer.C:
			lost.fired(n)
		case <-n.raft.LeaderCh():
		case <-observations:
		case <-ticker.C:
			refused = false
		}
	}
}

// barrier waits until everything before the term is applied here. It returns term if this node then still leads in it,
// else 0.
func (n *Node) barrier(term uint64) uint64 {
	err := n.raft.Barrier(0).Error()
	if err != nil || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return 0 // also if the barrier succeeded in a later term
	}
	return term
}

func (n *Node) publishLeadership() {
	_, id := n.raft.LeaderWithID()
	l := Leadership{Term: n.raft.CurrentTerm(), LeaderID: string(id), Since: time.Now()}
	leads := n.raft.State() == raft.Leader && n.Err() == nil && !n.unfit()
	l.Leader = leads && n.confirmed.Load() == l.Term
	if !leads && l.LeaderID == n.opts.ID {
		l.LeaderID = ""
	}
	old := n.lead.Load()
	if old.Leader == l.Leader && old.Term == l.Term && old.LeaderID == l.LeaderID {
		return
	}
	n.lead.Store(&l)
	n.leadChanged.Notify()
	n.peerStatus.notifySenders()
}
