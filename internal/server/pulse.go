package server

import (
	"fmt"
	"strings"
	"time"
)

// vitals show whether the node's own loops go on.
type vitals struct {
	watchTurns uint64 // turns that the watch loop has begun
	loopTurns  uint64 // turns that the reconcile loop has ended
	loopBusy   bool   // a turn of the reconcile loop is under way
	index      uint64 // of the newest entry in the record
	diskWaits  bool   // the disk is stalled, full or failed
}

// pulse remembers when each loop last showed that it goes on.
//
// A turn of the reconcile loop may take long without anything being wrong: it waits until its entries are recorded,
// and on a slow disk the read of a large installation has hundreds. So each new entry counts as progress too. While the
// disk does not answer nothing counts as stuck: a restart would not mend the disk, and would wait for it again. A loop
// without a quorum, or without NATS, is not stuck either: its proposals fail, and its turns end.
type pulse struct {
	last     vitals
	watchAt  time.Time
	loopAt   time.Time
	beganYet bool
}

// look takes in the vitals and says what has been stuck for longer than limit; empty: nothing.
func (p *pulse) look(now time.Time, v vitals, limit time.Duration) string {
	if !p.beganYet || v.diskWaits || v.watchTurns != p.last.watchTurns {
		p.watchAt = now
	}
	if !p.beganYet || v.diskWaits || v.loopTurns != p.last.loopTurns || !v.loopBusy || v.index != p.last.index {
		p.loopAt = now
	}
	p.last, p.beganYet = v, true
	var stuck []string
	for _, l := range []struct {
		name string
		at   time.Time
	}{{"watch", p.watchAt}, {"reconcile", p.loopAt}} {
		if lasted := now.Sub(l.at); lasted > limit {
			stuck = append(stuck, fmt.Sprintf("the %s loop has not gone on for %s", l.name, lasted.Round(time.Millisecond)))
		}
	}
	return strings.Join(stuck, "; ")
}

// Stuck says which of the node's own loops has not gone on for longer than limit; empty: all have. It compares with
// what earlier calls saw, so it is to be called several times within limit, by one goroutine.
func (n *Node) Stuck(limit time.Duration) string {
	turns, busy := n.loop.Turns()
	_, trouble := n.cluster.DiskTrouble()
	return n.pulse.look(time.Now(), vitals{
		watchTurns: n.watchTurns.Load(), loopTurns: turns, loopBusy: busy,
		index: n.cluster.View().Index(), diskWaits: trouble != nil,
	}, limit)
}

// Summary says in a few words what the node does.
func (n *Node) Summary() string {
	lead, o := n.cluster.Leadership(), n.loop.Overview()
	role := "no leader is known"
	switch {
	case lead.Leader:
		role = "leads"
	case lead.LeaderID != "":
		role = "follows " + lead.LeaderID
	}
	gate := "gate open"
	if !o.GateOpen {
		gate = "gate closed: " + strings.Join(o.GateReasons, ", ")
	}
	return role + "; " + gate
}
