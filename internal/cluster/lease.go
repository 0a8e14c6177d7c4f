package cluster

import (
	"context"
	"fmt"
	"time"
)

// VerifyLease returns nil if a majority confirmed, after the call began, that this node leads, and it still leads in
// the same term. Call it before an action on the outside world (I1). It takes one exchange with the followers, well
// under a millisecond on a quiet network. If no majority can be reached it fails with ErrNotLeader when the lease ends.
//
// Raft's own VerifyLeader does not suffice: it counts any reply that arrives after the question, even a reply to a
// heartbeat that was sent long before. A leader process that was stopped and resumed finds such replies in its sockets.
func (n *Node) VerifyLease(ctx context.Context) error {
	lead := n.Leadership()
	if !lead.Leader {
		return n.notLeader()
	}
	q := n.newLeaseQuestion(lead.Term)
	if q.missing > 0 {
		n.peerStatus.askLease(q)
		defer n.peerStatus.withdrawLease(q)
		if err := n.awaitLease(ctx, q); err != nil {
			return err
		}
	}
	if after := n.Leadership(); !after.Leader || after.Term != lead.Term {
		return ErrNotLeader
	}
	return nil
}

// leaseQuestion asks the voters whether they follow this node in a term. peerStatus.mu guards it.
type leaseQuestion struct {
	term    uint64
	voters  map[string]bool // those that have not yet confirmed
	missing int             // how many more must confirm
	closed  bool
	done    chan struct{} // closed when enough voters confirmed, or one is in a later term
}

func (n *Node) newLeaseQuestion(term uint64) *leaseQuestion {
	q := &leaseQuestion{term: term, voters: map[string]bool{}, done: make(chan struct{})}
	all := n.voters()
	self := 0
	for _, v := range all {
		if string(v.ID) == n.opts.ID {
			self = 1
		} else {
			q.voters[string(v.ID)] = true
		}
	}
	q.missing = len(all)/2 + 1 - self
	return q
}

func (q *leaseQuestion) answer(id string, r reply) {
	if q.closed || !q.voters[id] {
		return
	}
	switch {
	case r.Term > q.term:
		q.closed = true
	case r.Follows && r.Term == q.term:
		delete(q.voters, id)
		q.missing--
		q.closed = q.missing == 0
	}
	if q.closed {
		close(q.done)
	}
}

func (n *Node) awaitLease(ctx context.Context, q *leaseQuestion) error {
	// Nothing notifies this goroutine when raft ends the lease, so it looks again and again.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-q.done:
			if q.missing > 0 {
				return fmt.Errorf("%w: another member is in a later term", ErrNotLeader)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("asking the members whether they follow this node: %w", ctx.Err())
		case <-n.halted:
			return ErrClosed
		case <-ticker.C:
			if l := n.Leadership(); !l.Leader || l.Term != q.term {
				return ErrNotLeader
			}
		}
	}
}

func (ps *peerStatus) askLease(q *leaseQuestion) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.leaseQuestions[q] = struct{}{}
	for _, s := range ps.senders {
		s.urgent.Notify()
	}
}

func (ps *peerStatus) withdrawLease(q *leaseQuestion) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.leaseQuestions, q)
}

func (ps *peerStatus) openLeaseQuestions() []*leaseQuestion {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.leaseQuestions) == 0 {
		return nil
	}
	open := make([]*leaseQuestion, 0, len(ps.leaseQuestions))
	for q := range ps.leaseQuestions {
		if !q.closed {
			open = append(open, q)
		}
	}
	return open
}
