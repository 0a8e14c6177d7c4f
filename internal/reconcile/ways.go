package reconcile

import (
	"fmt"

	"hm/actual"
	"hm/raftfsm"
)

// way is how the heartbeats of a DEA reach the nodes.
type way uint8

const (
	overNATS way = iota
	overHTTPS
	unknownWay // this node has not heard the DEA
	ways       = iota
)

// HTTPS gives the intake for heartbeats that reached this node, or a peer that passed them on, over HTTPS. They count
// like those over NATS. The intake only remembers over which way it heard a DEA last.
func (i *Intake) HTTPS() HTTPSIntake { return HTTPSIntake{i} }

// HTTPSIntake takes heartbeats that arrived over HTTPS: see Intake.HTTPS. It is safe for concurrent use.
type HTTPSIntake struct{ intake *Intake }

// Unchanged is Intake.Unchanged.
func (h HTTPSIntake) Unchanged(d actual.Digest) bool { return h.intake.unchanged(d, overHTTPS) }

// Heartbeat is Intake.Heartbeat.
func (h HTTPSIntake) Heartbeat(hb actual.Heartbeat, d actual.Digest) {
	h.intake.heartbeat(hb, d, overHTTPS)
}

// Garbled is Intake.Garbled.
func (h HTTPSIntake) Garbled(dea, why string) { h.intake.garbled(dea, why, overHTTPS) }

// wayOf gives over which way a DEA was heard last.
func (i *Intake) wayOf(dea string) way {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := i.deas[dea]
	if h == nil {
		return unknownWay
	}
	return h.way
}

// ofWay sums up the DEAs that were heard last over one way, or not at all.
type ofWay struct {
	live int             // instances that they had before the loss
	run  map[string]bool // DEAs that run anything, or did before the loss
	lost int             // places that were lost
	deas map[string]bool // that had them
}

// losesWay says why hm must not act on a loss of DEAs that use one way: a large share of what runs on them is lost, and
// nothing of the kind has happened to the others. Most likely the way is out of order, and no DEA. Empty if hm may act, or
// if all DEAs use one way.
func (g Guard) losesWay(view *raftfsm.State, l loss) string {
	if l.wayOf == nil {
		return ""
	}
	names := [ways]string{overNATS: "over NATS", overHTTPS: "over HTTPS", unknownWay: "in a way that this node does not know yet"}
	var sums [ways]ofWay
	for w := range sums {
		sums[w].run, sums[w].deas = map[string]bool{}, map[string]bool{}
	}
	there := map[string]bool{}
	used := 0
	for d := range view.DEAs() {
		if d.GoneAt == 0 && d.Len > 0 {
			w := &sums[l.wayOf(d.ID)]
			if there[d.ID] = true; len(w.run) == 0 {
				used++
			}
			w.run[d.ID] = true
			w.live += d.Len
		}
	}
	for i := range l.lost {
		dea := l.lost[i].dea
		w := &sums[l.lost[i].way]
		w.lost++
		w.deas[dea] = true
		if !there[dea] { // it is recorded as gone already
			w.run[dea] = true
			w.live++
		}
	}
	for n := range sums {
		w := &sums[n]
		if used > 1 && g.much(w.lost, w.live) && len(w.deas) >= g.losers() && len(w.run) >= g.MinDEAs {
			return fmt.Sprintf("%d of about %d live instances on DEAs that send heartbeats %s were lost without a successor "+
				"within one time to live, and few others: %s", w.lost, w.live, names[n], l.summary())
		}
	}
	return ""
}
