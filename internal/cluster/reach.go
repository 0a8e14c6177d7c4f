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

// reach is how telling one peer goes.
type reach struct {
	at    time.Time // when it answered last
	since time.Time // since when telling it has failed; zero if it does not
	err   error     // what it fails with
}

// told notes how telling a peer went.
func (g *gossip) told(id string, err error) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.reach[id]
	switch {
	case err == nil:
		r = reach{at: now}
	case r.since.IsZero():
		r.since, r.err = now, err
	default:
		r.err = err
	}
	g.reach[id] = r
}

// unreached says what is wrong with a member that this node hears and cannot speak to; empty if nothing is. Its address
// has most likely changed, and the raft.peers of this node does not say so.
func (g *gossip) unreached(id, address string, now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.reach[id]
	if !ok || r.since.IsZero() || now.Sub(r.since) < movedAfter {
		return ""
	}
	return fmt.Sprintf("it speaks to this node, which has not reached it at %s for %s: if it has moved, correct raft.peers of this node (%v)",
		address, now.Sub(r.since).Round(time.Second), r.err)
}

// unheard says what is wrong with this node if it reaches others, and none of them reaches it; empty if nothing is. Its
// address has most likely changed, and their raft.peers do not say so.
func (g *gossip) unheard(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.began) < movedAfter {
		return ""
	}
	for _, h := range g.heard {
		if now.Sub(h.at) < movedAfter {
			return ""
		}
	}
	var reached []string
	for id, r := range g.reach {
		if r.since.IsZero() && now.Sub(r.at) < movedAfter {
			reached = append(reached, id)
		}
	}
	if len(reached) == 0 {
		return ""
	}
	slices.Sort(reached)
	return fmt.Sprintf("it reaches %s, and hears no other member: if it has moved, correct raft.peers of the others, which must say %s=%s",
		strings.Join(reached, ", "), g.node.opts.ID, g.node.opts.Advertise)
}
