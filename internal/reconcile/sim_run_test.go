package reconcile

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hm/internal/app"
)

// excuseEvery is how often a run notes what hm cannot know.
const excuseEvery = 50 * time.Millisecond

// run lets time d pass.
func (cf *simCF) run(d time.Duration) {
	cf.excuse()
	for end := cf.now.Add(d); ; {
		t := min(cf.nextEvent(), end)
		cf.now = max(cf.now, t)
		if cf.now.Sub(cf.excusedAt) >= excuseEvery || cf.now >= end {
			cf.excuse()
		}
		if cf.cluster != nil {
			cf.followClocks()
		}
		cf.happen()
		cf.deliver()
		cf.endSlowness()
		for _, id := range cf.dueDEAs() {
			dea := cf.deas[id]
			dea.nextBeat = cf.now.Add(hb)
			cf.heartbeat(dea)
		}
		if cf.cluster != nil {
			cf.advanceProcesses()
		} else {
			cf.advanceLoops()
		}
		if cf.now >= end {
			return
		}
	}
}

// dueDEAs gives the keys of the DEAs whose heartbeat is due, sorted.
func (cf *simCF) dueDEAs() (due []string) {
	for key, dea := range cf.deas {
		if dea.nextBeat <= cf.now {
			due = append(due, key)
		}
	}
	slices.Sort(due)
	return due
}

// advanceLoops lets every node do what is due, without a model of the log.
func (cf *simCF) advanceLoops() {
	for _, n := range cf.nodes {
		cf.finishReads(n)
	}
	if cf.wake || cf.next <= cf.now {
		cf.step()
	}
	for _, n := range cf.nodes {
		if n != cf.simNode && n.next <= cf.now {
			n.next, _, _ = n.core.Step(context.Background(), cf.now, Lead{Known: true, Term: cf.term})
			n.wake = false
		}
	}
}

// deliver delivers the messages that arrive. A process that is paused hears them when it goes on, in their order.
func (cf *simCF) deliver() {
	for len(cf.inFlight) > 0 && cf.inFlight[0].at <= cf.now {
		m := cf.inFlight[0]
		if m.to.pausedUntil > cf.now {
			cf.holdBack()
			continue
		}
		cf.inFlight = cf.inFlight[1:]
		if !m.to.down {
			cf.remark("node %d hears %s", m.to.id, m.subject)
			m.hear(m.to.intake)
		}
	}
}

// holdBack delays the messages that have arrived at a process that is paused.
func (cf *simCF) holdBack() {
	for i := range cf.inFlight {
		m := &cf.inFlight[i]
		m.at = max(m.at, m.to.pausedUntil)
	}
	slices.SortStableFunc(cf.inFlight, func(a, b message) int { return cmp.Compare(a.at, b.at) })
}

// nextEvent is when the next event of the simulation is due.
func (cf *simCF) nextEvent() app.Time {
	t := maxTime
	for _, dea := range cf.deas {
		t = min(t, dea.nextBeat)
	}
	if len(cf.inFlight) > 0 {
		t = min(t, cf.inFlight[0].at)
	}
	if cf.events.Len() > 0 {
		t = min(t, cf.events.list[0].at)
	}
	for _, n := range cf.nodes {
		t = min(t, n.nextWork())
		if n.slow.until > cf.now {
			t = min(t, n.slow.until)
		}
	}
	return t
}

// step calls the leader's Step until it has nothing more to do at once.
func (cf *simCF) step() {
	for range 1000 {
		cf.wake = false
		for _, n := range cf.nodes {
			if n != cf.simNode {
				cf.core.Learn(cf.now, n.core.reads.began)
			}
		}
		next, read, err := cf.core.Step(cmp.Or(cf.stepping, context.Background()), cf.now, Lead{Leader: true, Known: true, Term: cf.term})
		if err != nil && cf.fail == nil && !cf.tolerant {
			cf.t.Fatalf("step: %v", err)
		}
		if read != 0 {
			cf.beginRead(cf.simNode, read)
		}
		if droplets, term := cf.core.AppReads(); len(droplets) > 0 {
			cf.beginAppReads(cf.simNode, droplets, term)
		}
		if cf.next = max(next, cf.now+1); next > cf.now && !cf.wake {
			return
		}
	}
	cf.t.Fatal("the core does not come to rest")
}
