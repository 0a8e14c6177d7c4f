package cluster

import (
	"context"
	"fmt"
	"time"
)

// VerifyLease returns nil if, after the call was made, a majority confirmed that this node leads, and it still does
// in the same term. Whoever acts on the outside asks before (I1). It costs one exchange with the followers, well under
// a millisecond on a quiet network; with a majority out of reach it fails with ErrNotLeader when the lease ends.
//
// Raft's own VerifyLeader does not serve: it counts any reply that comes in after the question, also one to a
// heartbeat sent long before it. A leader that was stopped and goes on finds such replies waiting in its sockets.
func (n *Node) VerifyLease(ctx context.Context) error {
	lead := n.Leadership()
	if !lead.Leader {
		return n.notLeader()
	}
	q := n.newLeaseQuestion(lead.Term)
	if q.missing > 0 {
		n.peerStatus.ask(q)
		defer n.peerStatus.withdraw(q)
		if err := n.awaitAnswer(ctx, q); err != nil {
			return err
		}
	}
	if after := n.Leadership(); !after.Leader || after.Term != lead.Term {
		return ErrNotLeader
	}
	return nil
}

// question asks the voters whether they follow this node in a term. The gossip's mutex guards it.
type leaseQuestion struct {
	term    uint64
	voters  map[string]bool // those who have not yet said yes
	missing int             // how many more must say yes
	closed  bool
	done    chan struct{} // closed when enough said yes, or one said that there is a later term
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

func (n *Node) awaitAnswer(ctx context.Context, q *leaseQuestion) error {
	// Raft says when the lease has ended, but not to whoever waits here.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-q.done:
			if q.missing > 0 {
				return fmt.Errorf("%w: a member is in a later term", ErrNotLeader)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("asking the members whether this node leads: %w", ctx.Err())
		case <-n.halted:
			return ErrClosed
		case <-ticker.C:
			if l := n.Leadership(); !l.Leader || l.Term != q.term {
				return ErrNotLeader
			}
		}
	}
}

func (ps *peerStatus) ask(q *leaseQuestion) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.leaseQuestions[q] = struct{}{}
	for _, t := range ps.senders {
		t.urgent.Notify()
	}
}

func (ps *peerStatus) withdraw(q *leaseQuestion) {
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
