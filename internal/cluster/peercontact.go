package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// movedAfter is how long messages must fail in one direction, while they arrive in the other, before that counts as a
// problem. A member that has just started, or is slow, is none.
const movedAfter = 3 * time.Second

// contact says whether this node's messages reach one peer.
type contact struct {
	replied time.Time // when the peer last replied
	failing time.Time // since when no message has reached it; zero if the last one did
	err     error     // why the last message failed
}

// noteContact records whether a message reached a peer.
func (ps *peerStatus) noteContact(id string, err error) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	c := ps.contacts[id]
	switch {
	case err == nil:
		c = contact{replied: now}
	case c.failing.IsZero():
		c.failing, c.err = now, err
	default:
		c.err = err
	}
	ps.contacts[id] = c
}

// unreachableProblem describes the problem of a member whose messages arrive but which this node cannot reach; empty if
// there is none. Most likely its address has changed, and the log has the old one.
func (ps *peerStatus) unreachableProblem(id, address string, now time.Time) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	c, ok := ps.contacts[id]
	if !ok || c.failing.IsZero() || now.Sub(c.failing) < movedAfter {
		return ""
	}
	return fmt.Sprintf("its messages arrive, but this node has not reached it at %s for %s: if it has moved, run hm cluster add %s=ADDRESS (%v)",
		address, now.Sub(c.failing).Round(time.Second), id, c.err)
}

// unheardProblem describes the problem of this node if it reaches other members and no message of any member arrives;
// empty if there is none. Most likely this node's address has changed, and the log has the old one.
func (ps *peerStatus) unheardProblem(now time.Time) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if now.Sub(ps.began) < movedAfter {
		return ""
	}
	for _, m := range ps.latest {
		if now.Sub(m.at) < movedAfter {
			return ""
		}
	}
	var reached []string
	for id, c := range ps.contacts {
		if c.failing.IsZero() && now.Sub(c.replied) < movedAfter {
			reached = append(reached, id)
		}
	}
	if len(reached) == 0 {
		return ""
	}
	slices.Sort(reached)
	return fmt.Sprintf("it reaches %s, but no message of another member arrives: if it has moved, run hm cluster add %s=%s",
		strings.Join(reached, ", "), ps.node.opts.ID, ps.node.opts.Advertise)
}
