package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// Leadership is who leads, as this node knows it.
type Leadership struct {
	Leader   bool      // this node leads, and has applied everything that was committed before its term
	Term     uint64    // raft's term; at an election it rises
	LeaderID string    // the leader's id; empty while none is known
	Since    time.Time // when the other fields came to be what they are, with a monotonic reading
}

// Leadership tells who leads. Leader turns false no later than LeaseTimeout, and the 10 ms that raft's timer is
// coarse by, after a majority was last heard; but a process that was stalled may see true until raft's own goroutine
// has looked at its watch: see VerifyLease. It is false while the disk does not answer. Leader turns true only after a barrier of the term has been applied here.
func (n *Node) Leadership() Leadership {
	l := *n.lead.Load()
	if l.Leader && (n.Err() != nil || n.unfit() || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != l.Term) {
		l.Leader, l.LeaderID = false, "" // watch is about to know
	}
	return l
}

// LeadershipChanged gets a value after Leadership changed. It holds one: changes in quick succession come as one.
func (n *Node) LeadershipChanged() <-chan struct{} { return n.leadChanged.C() }

// watch keeps n.lead. Raft's notices tell when to look; the ticker catches what gets lost between them.
func (n *Node) watch(observations <-chan raft.Observation) {
	ticker := time.NewTicker(max(n.opts.HeartbeatTimeout/4, 10*time.Millisecond))
	defer ticker.Stop()
	barrier := make(chan uint64, 1)
	asked := false   // a barrier is under way
	refused := false // one failed since the last tick: while leadership is handed over each would at once
	failed := n.Failed()
	var yielded time.Time
	for {
		if term := n.raft.CurrentTerm(); n.raft.State() == raft.Leader && n.confirmed.Load() != term && !asked && !refused && !n.unfit() {
			select {
			case n.raftCalls <- struct{}{}:
				asked = true
				stalls := n.stalls.Load()
				go func() {
					passed := n.barrier(term)
					if n.stalls.Load() != stalls {
						passed = 0 // another may have come to lead meanwhile
					}
					barrier <- passed
					<-n.raftCalls
				}()
			default: // at the next tick
			}
		}
		n.publishLeadership()
		n.yieldTight(&yielded)
		select {
		case <-n.halted:
			n.publishLeadership()
			return
		case term := <-barrier:
			asked, refused = false, term == 0
			if term != 0 {
				n.clock.ownTerm.Store(term)
				n.confirmed.Store(term)
			}
		case <-failed:
			failed = nil
			n.wg.Go(n.stopRaft)
		case <-n.diskEvents.C(): // the disk is stalled, or well again
			n.peerStatus.notifySenders()
		case <-n.raft.LeaderCh():
		case <-observations:
		case <-ticker.C:
			refused = false
		}
	}
}

// barrier returns term once everything before it is applied here and this node still leads in it, else 0.
func (n *Node) barrier(term uint64) uint64 {
	err := n.raft.Barrier(0).Error()
	if err != nil || n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		// A barrier that went through in a later term than the one asked about shows as a changed term.
		return 0
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
