package reconcile

import (
	"context"
	"iter"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// process is a node's process as far as its loop is concerned. It runs as a coroutine: it waits in
// the middle of a step, for the log or because it is paused, while the rest of the world goes on.
// Only one coroutine runs at a time, and the world says which, so a run is the same every time.
type process struct {
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	busy   bool // it is in the middle of its work
	ready  func() bool
	dead   bool
}

// startProcess makes a process that does work whenever it is resumed.
func startProcess(work func()) *process {
	p := &process{}
	p.resume, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		for yield(struct{}{}) {
			p.busy = true
			work()
			p.busy = false
		}
	})
	p.resume()
	return p
}

// await waits until ready. It reports false if the process was killed.
func (p *process) await(ready func() bool) bool {
	for p.ready = ready; !p.dead && !ready(); {
		p.dead = !p.yield(struct{}{})
	}
	return !p.dead
}

// kill ends a process in the middle of whatever it does.
func (p *process) kill() {
	p.dead = true
	p.stop()
}

// advanceProcesses lets every process do what it can do now.
func (cf *simCF) advanceProcesses() {
	for range 10_000 {
		again := false
		for _, n := range cf.nodes {
			again = n.resumes() || again
		}
		if !again {
			return
		}
	}
	cf.t.Fatal("the cores do not come to rest")
}

// resumes lets a node's process do its next piece of work, if there is one.
func (n *simNode) resumes() bool {
	p := n.process
	switch {
	case n.down || n.cf.now < n.pausedUntil:
		return false
	case p.busy:
		if !p.ready() {
			return false
		}
	case !n.wake && n.next > n.cf.now && !n.readsEnded():
		return false
	}
	p.resume()
	return true
}

// work is what a node's loop does once: it takes the reads that have ended, and steps.
func (n *simNode) work() {
	cf, p := n.cf, n.process
	cf.finishReads(n)
	if p.dead {
		return
	}
	n.wake = false
	now := n.Now()
	for _, m := range cf.nodes {
		if m != n && cf.reaches(n, m) && m.core.reads.began != 0 && m.core.stepped <= m.Now() && m.core.suspended == m.suspended {
			ahead := max(m.Now().Sub(now), 0) // then what counts is how long ago the read was
			n.core.Learn(now, max(m.core.reads.began.Add(-ahead), 1))
		}
	}
	lead := n.lead()
	next, read, err := n.core.Step(context.Background(), now, lead)
	if p.dead {
		return
	}
	if err != nil {
		cf.faults.count("steps that failed")
	}
	if read != 0 {
		cf.beginRead(n, read)
	}
	if droplets, term := n.core.AppReads(); len(droplets) > 0 {
		cf.beginAppReads(n, droplets, term)
	}
	n.next = cf.now.Add(max(next.Sub(n.Now()), time.Millisecond))
	cf.note("step", n.id, int(n.next-cf.now))
	if lead.Leader {
		n.watchHandover()
	}
}

// readsEnded reports whether the outcome of a read is there.
func (n *simNode) readsEnded() bool {
	for _, r := range n.reads {
		if r.at <= n.cf.now {
			return true
		}
	}
	for _, r := range n.appReads {
		if r.at <= n.cf.now {
			return true
		}
	}
	return false
}

// nextWork is when a node's process has something to do, as far as that is known.
func (n *simNode) nextWork() app.Time {
	if n.down {
		return maxTime
	}
	if n.process != nil && n.process.busy {
		if n.pausedUntil > n.cf.now {
			return n.pausedUntil
		}
		return maxTime
	}
	t := n.next
	if n.wake && n.process != nil {
		t = n.cf.now
	}
	for _, r := range n.reads {
		t = min(t, r.at)
	}
	for _, r := range n.appReads {
		t = min(t, r.at)
	}
	return max(t, n.pausedUntil)
}

const maxTime = app.Time(1 << 62)

// boot begins a node's process, with what is on its disk.
func (n *simNode) boot() {
	cf, r := n.cf, n.raft
	n.down, n.pausedUntil = false, 0
	n.raft = &simRaft{
		state: cf.restored(r.snapshot), term: r.term, base: r.base, baseTerm: r.baseTerm, snapshot: r.snapshot,
		log: r.log, commit: r.base, joining: r.joining, goal: r.goal, match: map[*simNode]uint64{}, sending: map[*simNode]bool{},
	}
	n.view = nil
	n.clock = simClock{offset: cf.faults.wallClock()}
	n.wall = cf.faults.wallClock()
	if n.raft.base > 0 {
		n.adopt(n.raft.state.Time(), n.raft.state.Term())
	}
	n.process = startProcess(n.work)
	n.begin()
}

// begin makes the parts of a process that know nothing yet but what is recorded.
func (n *simNode) begin() {
	log := simIntakeLog{n}
	n.begun = n.cf.now
	n.intake = NewIntake(log, actual.NewLiveness(hb, 3*hb, 3*hb, log.Now()), func() { n.wake = true })
	n.intake.SetLag(func() time.Duration { return n.slow.lag(n.cf.now) })
	n.endedCommands = NewEndedCommands(100_000)
	n.core = n.cf.newCore(n)
	n.next, n.reads, n.appReads, n.handover = n.cf.now, nil, nil, simHandover{}
	n.words = map[*simNode]word{}
	if n.hearsNATS() {
		n.intake.Link(true, n.epoch())
	}
}

// kill ends a node's process at once. Its disk keeps what was written to it.
func (n *simNode) kill() {
	if n.down {
		return
	}
	n.cf.note("kill", n.id)
	n.down = true
	n.process.kill()
	n.cf.networkChanged()
}

// restartNode begins a node's process anew.
func (n *simNode) restartNode() {
	n.kill()
	n.cf.note("restart", n.id)
	n.boot()
	n.cf.disturbSharers()
	n.cf.networkChanged()
}

// restartAll begins the processes of all nodes anew, one after the other in the same moment.
func (cf *simCF) restartAll() {
	for _, n := range cf.nodes {
		n.restartNode()
	}
}

// wipe loses a node's disk, and begins its process anew.
func (n *simNode) wipe() {
	n.kill()
	n.raft = &simRaft{joining: true}
	n.restartNode()
}

// pause stops a node's process for a time, wherever it is. If its machine is suspended, its
// monotonic clock stands still meanwhile.
func (n *simNode) pause(d time.Duration, suspended bool) {
	cf := n.cf
	if n.down || n.pausedUntil > cf.now {
		return
	}
	cf.note("pause", n.id, int(d))
	n.pausedUntil = cf.now.Add(d)
	cf.slowDown(n, 1<<30, d)
	p := n.process
	cf.after(d, func() {
		if n.process != p {
			return
		}
		if suspended {
			n.suspended += d
		}
		cf.networkChanged()
		cf.after(cf.faults.latency(), n.learnTerm)
	})
	cf.networkChanged()
}

// learnTerm makes a leader that was away learn from the nodes that it reaches that it was deposed.
func (n *simNode) learnTerm() {
	for _, m := range n.cf.nodes {
		if m != n && n.cf.reaches(n, m) && m.raft.term > n.raft.term {
			n.stepDown(m.raft.term)
		}
	}
}
