package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// movedAfter is for how long one of two ways between members must fail, while the other works, until that is told. A
// member that has just begun, or is slow, is no reason.
const movedAfter = 3 * time.Second

// contact is how telling one peer goes.
type contact struct {
	at    time.Time // when it answered last
	since time.Time // since when telling it has failed; zero if it does not
	err   error     // what it fails with
}

// told notes how telling a peer went.
func (ps *peerStatus) noteContact(id string, err error) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	r := ps.contacts[id]
	switch {
	case err == nil:
		r = contact{at: now}
	case r.since.IsZero():
		r.since, r.err = now, err
	default:
		r.err = err
	}
	ps.contacts[id] = r
}

// unreachableProblem says what is wrong with a member that this node hears and cannot speak to; empty if nothing is. Its address
// has most likely changed, and the raft.peers of this node does not say so.
func (ps *peerStatus) unreachableProblem(id, address string, now time.Time) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	r, ok := ps.contacts[id]
	if !ok || r.since.IsZero() || now.Sub(r.since) < movedAfter {
		return ""
	}
	return fmt.Sprintf("it speaks to this node, which has not reached it at %s for %s: if it has moved, correct raft.peers of this node (%v)",
		address, now.Sub(r.since).Round(time.Second), r.err)
}

// unheardProblem says what is wrong with this node if it reaches others, and none of them reaches it; empty if nothing is. Its
// address has most likely changed, and their raft.peers do not say so.
func (ps *peerStatus) unheardProblem(now time.Time) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if now.Sub(ps.began) < movedAfter {
		return ""
	}
	for _, h := range ps.latest {
		if now.Sub(h.at) < movedAfter {
			return ""
		}
	}
	var reached []string
	for id, r := range ps.contacts {
		if r.since.IsZero() && now.Sub(r.at) < movedAfter {
			reached = append(reached, id)
		}
	}
	if len(reached) == 0 {
		return ""
	}
	slices.Sort(reached)
	return fmt.Sprintf("it reaches %s, and hears no other member: if it has moved, correct raft.peers of the others, which must say %s=%s",
		strings.Join(reached, ", "), ps.node.opts.ID, ps.node.opts.Advertise)
}
