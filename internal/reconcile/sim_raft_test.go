package reconcile

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// simRaft is a node's part in the model of the Raft log. The model has what matters to hm: terms,
// elections that only a node with a complete log wins, leaders that do not know yet that they are
// deposed, entries that are committed late, by a successor, or never. Nodes find out that a leader
// is away when an event says so, not by heartbeats, so that a run with few faults has few events.
type simRaft struct {
	state *raftfsm.State

	term    uint64
	leads   bool
	follows *simNode // whom it follows in term; nil: nobody that it knows
	begins  uint64   // index of the entry with which it began to lead
	moving  bool     // it hands its leadership over: it takes no proposals
	watched bool     // an event will show whether it hears from a leader
	losing  bool     // an event will show whether a majority still follows it

	base     uint64 // index of the newest entry in its snapshot
	baseTerm uint64
	snapshot []byte
	log      []*logEntry // after base
	commit   uint64
	joining  bool                // its disk was lost: it takes part in no election until it has caught up
	goal     uint64              // and that is when it has applied so much
	told     map[*simNode]uint64 // the terms that the others told it since

	match   map[*simNode]uint64 // how far each follower's log is known to reach
	sending map[*simNode]bool   // a message to it is under way
}

// logEntry is an entry of the log, shared by all nodes that have it.
type logEntry struct {
	index, term uint64
	entry       raftfsm.Entry
	own         bool // raft's own entry, which begins a leadership
	of          *proposal
	part        int      // its position in the proposal
	wrong       bool     // it commits a read that was wrong
	appended    app.Time // when it was stamped, by the world's time

	committed bool
	hash      raftfsm.Hash // of the state after it, once it is committed
}

// proposal is a call of Propose.
type proposal struct {
	by      *process
	entries []*logEntry
	results []raftfsm.Result // of those that are applied on the node that made it
	lost    error
}

var (
	errNotLeader = errors.New("this node does not lead")
	errDeposed   = errors.New("the leadership was lost before the outcome was known")
	errKilled    = errors.New("the process was killed")
	errPaused    = errors.New("the time limit passed")
)

func (r *simRaft) last() uint64 { return r.base + uint64(len(r.log)) }

// termAt is the term of the entry at an index that r has.
func (r *simRaft) termAt(index uint64) uint64 {
	if index == r.base {
		return r.baseTerm
	}
	return r.log[index-r.base-1].term
}

func (r *simRaft) at(index uint64) *logEntry { return r.log[index-r.base-1] }

// isBehind reports whether r's log reaches less far than o's: then o does not vote for r.
func (r *simRaft) isBehind(o *simRaft) bool {
	a, b := r.termAt(r.last()), o.termAt(o.last())
	return a < b || a == b && r.last() < o.last()
}

// proposeEntries is Propose in the model: it waits until the records are applied on this node, or
// until this node has lost the leadership.
func (n *simNode) proposeEntries(records []raftfsm.Record) ([]raftfsm.Result, error) {
	cf, r := n.cf, n.raft
	switch {
	case n.process.dead:
		return nil, errKilled
	case cf.fail != nil:
		return nil, cf.fail
	case !n.lead().Leader || r.moving:
		return nil, errNotLeader
	}
	_, claims := records[0].(raftfsm.CommandsClaimed)
	if claims {
		cf.faults.interfere(n)
	}
	p := &proposal{by: n.process}
	for i, part := range cf.faults.split(records) {
		p.entries = append(p.entries, n.append(&logEntry{entry: encoded(cf, n.Now(), part), of: p, part: i, wrong: n.recordsWrong}))
	}
	n.proposals = []*proposal{p}
	n.replicate()
	if claims {
		cf.faults.stall(n)
	}
	if !n.process.await(func() bool { return p.lost != nil || len(p.results) == len(p.entries) }) {
		return nil, errKilled
	}
	if p.lost != nil {
		cf.faults.count("proposals without an outcome")
		return nil, p.lost
	}
	if cf.faults.chance(0.004) {
		cf.faults.count("outcome lost")
		return nil, errDeposed
	}
	return p.results, nil
}

// encoded gives records as an entry that went through the codec.
func encoded(cf *simCF, at app.Time, records []raftfsm.Record) raftfsm.Entry {
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: at, Records: records})
	if err != nil {
		cf.t.Fatalf("encoding: %v", err)
	}
	entry, err := raftfsm.DecodeEntry(data)
	if err != nil {
		cf.t.Fatalf("decoding: %v", err)
	}
	return entry
}

func (n *simNode) append(e *logEntry) *logEntry {
	e.index, e.term, e.appended = n.raft.last()+1, n.raft.term, n.cf.now
	n.raft.log = append(n.raft.log, e)
	return e
}

// replicate sends what a leader's followers do not have. A follower that cannot be reached gets it
// when it can be: see networkChanged.
func (n *simNode) replicate() {
	for _, to := range n.cf.nodes {
		if to != n && !n.raft.sending[to] {
			n.sendEntries(to)
		}
	}
}

// sendEntries sends entries to one follower, or only how far the log is committed.
func (n *simNode) sendEntries(to *simNode) {
	cf, r := n.cf, n.raft
	if !r.leads || !cf.connected(n, to) {
		return
	}
	r.sending[to] = true
	m := appendMessage{from: n, process: n.process, term: r.term, base: r.base, baseTerm: r.baseTerm, snapshot: r.snapshot, commit: r.commit, last: r.last(), reaches: r.last()}
	if missing := r.last() - max(r.match[to], r.base); missing > 1 && cf.faults.rnd.IntN(4) == 0 {
		m.last -= uint64(cf.faults.rnd.IntN(int(missing))) // a message has a limited size
	}
	m.log = r.log[:m.last-r.base]
	m.commit = min(m.commit, m.last)
	cf.after(cf.faults.latency(), func() { to.receive(m) })
}

// appendMessage brings a follower a leader's log up to an entry.
type appendMessage struct {
	from                 *simNode
	process              *process
	term                 uint64
	base, baseTerm, last uint64
	reaches              uint64 // how far the leader's log reaches
	snapshot             []byte
	log                  []*logEntry
	commit               uint64
}

func (n *simNode) receive(m appendMessage) {
	cf, r := n.cf, n.raft
	if wait := n.pausedUntil.Sub(cf.now); wait > 0 && !n.down { // it lies in the kernel's buffer
		cf.after(wait+cf.faults.latency(), func() { n.receive(m) })
		return
	}
	answer := func(do func()) {
		cf.after(cf.faults.latency(), func() { m.from.answered(m, n, do) })
	}
	switch {
	case n.down || !cf.connected(n, m.from):
		answer(func() {})
		return
	case r.joining && !n.mayFollow(m.term):
		answer(func() {})
		return
	case m.term < r.term:
		term := r.term
		answer(func() { m.from.stepDown(term) })
		return
	}
	if m.term > r.term || r.leads {
		n.stepDown(m.term)
	}
	if r.follows != m.from {
		r.follows, n.wake = m.from, true
	}
	if r.joining && r.goal == 0 {
		r.goal = m.reaches // this node may once have helped to commit all of it
	}
	if n.take(m) {
		answer(func() {
			if l := m.from.raft; m.last > l.match[n] {
				l.match[n] = m.last
				m.from.advance()
			}
		})
	} else {
		answer(func() {})
	}
	n.commitUpTo(m.commit)
}

// mayFollow reports whether a joining node may take entries of a leader. It may have forgotten a later term: so it first
// hears the terms of so many others that one of them was in any election in which it voted.
func (n *simNode) mayFollow(term uint64) bool {
	cf, r := n.cf, n.raft
	if r.told == nil {
		r.told = map[*simNode]uint64{}
	}
	for _, m := range cf.nodes {
		if m != n && cf.reaches(n, m) && !m.raft.joining {
			r.told[m] = m.raft.term
		}
	}
	for _, later := range r.told {
		if later > term {
			cf.faults.count("a joining node refused a deposed leader")
			return false
		}
	}
	return len(r.told) >= len(cf.nodes)-len(cf.nodes)/2
}

// take brings this node's log in agreement with a message.
func (n *simNode) take(m appendMessage) bool {
	r := n.raft
	if m.base > r.last() || m.base > r.commit && r.termAt(m.base) != m.baseTerm {
		n.restore(m.base, m.baseTerm, m.snapshot)
	}
	for i := max(r.base, m.base); i < m.last; i++ {
		e := m.log[i-m.base]
		if e.index <= r.last() {
			if r.at(e.index).term == e.term {
				continue
			}
			if e.index <= r.commit {
				n.cf.t.Fatalf("the model of the log is wrong: node %d would lose entry %d, which is committed", n.id, e.index)
			}
			n.cf.faults.count("entries taken back")
			r.log = slices.Clip(r.log[:e.index-r.base-1])
		}
		r.log = append(r.log, e)
		n.arrived(e)
	}
	return true
}

// answered takes a follower's answer: the next message may go.
func (n *simNode) answered(m appendMessage, from *simNode, do func()) {
	cf := n.cf
	if wait := n.pausedUntil.Sub(cf.now); wait > 0 && n.process == m.process {
		cf.after(wait+cf.faults.latency(), func() { n.answered(m, from, do) })
		return
	}
	if n.process != m.process || !n.raft.leads || n.raft.term != m.term {
		return
	}
	n.raft.sending[from] = false
	if !cf.connected(n, from) || n.down {
		return
	}
	do()
	if r := n.raft; r.leads && (r.match[from] < r.last() || m.commit < r.commit) {
		n.sendEntries(from)
	}
}

// advance commits what a majority has.
func (n *simNode) advance() {
	r := n.raft
	have := []uint64{}
	for _, m := range n.cf.nodes {
		if m == n {
			have = append(have, r.last())
		} else {
			have = append(have, r.match[m])
		}
	}
	slices.Sort(have)
	most := have[(len(have)-1)/2]
	if most <= r.commit || r.termAt(most) != r.term {
		return
	}
	for i := r.commit + 1; i <= most; i++ {
		n.cf.commit(r.at(i))
	}
	n.commitUpTo(most)
	n.replicate()
}

// commitUpTo applies entries that are committed.
func (n *simNode) commitUpTo(index uint64) {
	r := n.raft
	for r.commit < min(index, r.last()) {
		r.commit++
		n.applyEntry(r.at(r.commit))
	}
	if r.joining && r.goal > 0 && r.commit >= r.goal && r.termAt(r.commit) == r.term {
		r.joining = false
	}
}

func (n *simNode) applyEntry(e *logEntry) {
	cf := n.cf
	if !e.committed {
		cf.t.Fatalf("the model of the log is wrong: node %d applies entry %d, which is not committed", n.id, e.index)
	}
	if e.own {
		if n.raft.leads && e.term == n.raft.term {
			n.takeOverClock()
			n.wake = true
		}
		return
	}
	result := n.raft.state.Apply(e.index, e.term, e.entry)
	n.view = nil
	if got := n.raft.state.Hash(); got != e.hash {
		cf.t.Fatalf("I7: after entry %d the state of node %d has the hash %s, want %s", e.index, n.id, got, e.hash)
	}
	n.adopt(e.entry.At, e.term)
	n.endedCommands.Add(result.Ended)
	if p := e.of; p.by == n.process && p.lost == nil {
		p.results = append(p.results, result)
		if result.Err != nil {
			p.lost = result.Err
		}
	}
}

// commit records an entry in the state that is everybody's in the end. The checks of the log are
// made on it.
func (cf *simCF) commit(e *logEntry) {
	c := cf.cluster
	if e.committed {
		return
	}
	if e.index != c.committed+1 {
		cf.t.Fatalf("the model of the log is wrong: entry %d is committed after entry %d", e.index, c.committed)
	}
	c.committed, e.committed = e.index, true
	if e.own {
		e.hash = cf.state.Hash()
		cf.noteEntry(e)
		return
	}
	cf.checkAges(e)
	if c.proposal != nil && c.proposal != e.of {
		cf.proposed() // its other entries are lost
	}
	if c.proposal = e.of; e.term < c.term {
		cf.faults.count("committed by a successor")
	}
	cf.losses.rest = nil
	for _, rest := range e.of.entries[e.part+1:] {
		cf.losses.rest = append(cf.losses.rest, rest.entry.Records)
	}
	cf.index = e.index - 1
	if cf.released = e.of.by == nil; cf.released && isRelease(e) {
		clear(cf.losses.of) // what is recorded as lost is to be started
	}
	cf.truth.wrong = cf.truth.wrong || e.wrong // the read's leader may have proposed it long ago
	_, _ = cf.applyEntry(e.term, e.entry, e.appended)
	e.hash = cf.state.Hash()
	cf.noteEntry(e)
	if len(cf.losses.rest) == 0 {
		cf.proposed()
		c.proposal = nil
	}
}

// isRelease reports whether an entry releases a hold.
func isRelease(e *logEntry) bool {
	return slices.ContainsFunc(e.entry.Records, func(r raftfsm.Record) bool { _, is := r.(raftfsm.HoldReleased); return is })
}

// compact replaces the entries that a node has applied by a snapshot.
func (n *simNode) compact() {
	r := n.raft
	if r.commit == r.base {
		return
	}
	snapshot := snapshotOf(n.cf, n.View())
	r.baseTerm = r.termAt(r.commit)
	r.log = slices.Clone(r.log[r.commit-r.base:])
	r.base, r.snapshot = r.commit, snapshot
}

// restore replaces a node's state by a snapshot.
func (n *simNode) restore(base, term uint64, snapshot []byte) {
	n.cf.faults.count("snapshots installed")
	r := n.raft
	r.base, r.baseTerm, r.snapshot, r.log, r.commit = base, term, snapshot, nil, base
	r.state = n.cf.restored(snapshot)
	n.view = nil
	n.adopt(r.state.Time(), r.state.Term())
}

func snapshotOf(cf *simCF, view *raftfsm.State) []byte {
	var b bytes.Buffer
	if err := view.WriteSnapshot(&b); err != nil {
		cf.t.Fatal(err)
	}
	return b.Bytes()
}

func (cf *simCF) restored(snapshot []byte) *raftfsm.State {
	if len(snapshot) == 0 {
		return raftfsm.NewState()
	}
	state, err := raftfsm.RestoreState(bytes.NewReader(snapshot))
	if err != nil {
		cf.t.Fatal(err)
	}
	return state
}

// lead is what a node knows of the leadership.
func (n *simNode) lead() Lead {
	if n.raft == nil {
		return Lead{Leader: n == n.cf.simNode, Known: true, Term: n.cf.term}
	}
	r := n.raft
	return Lead{Leader: r.leads && r.commit >= r.begins, Known: r.leads || r.follows != nil, Term: r.term}
}

// verifyLease asks the others whether they follow this node.
func (n *simNode) verifyLease(term uint64) error {
	cf, r := n.cf, n.raft
	if !n.Leading(term) {
		return errNotLeader
	}
	var answer error
	answered := false
	end := func(err error) func() {
		return func() {
			if !answered {
				answer, answered = err, true
			}
		}
	}
	p := n.process
	cf.after(cf.faults.latency(), func() {
		follow := 1
		for _, m := range cf.nodes {
			if m != n && cf.reaches(n, m) && m.raft.term == term && m.raft.follows == n {
				follow++
			}
		}
		if n.process == p && follow > len(cf.nodes)/2 && !cf.faults.chance(0.01) {
			at := cf.now
			cf.after(cf.faults.latency(), func() {
				end(nil)()
				n.verified = max(n.verified, at)
			})
		}
	})
	cf.after(cf.opts.ClaimLease, end(errPaused))
	if !p.await(func() bool { return answered || !r.leads || r.term != term }) {
		return errKilled
	}
	if answered && answer != nil {
		return answer
	}
	if !n.Leading(term) {
		return errNotLeader
	}
	return nil
}

// Propose, Leading and VerifyLease are the node's log.
func (n *simNode) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if n.raft == nil {
		return n.cf.Propose(ctx, records...)
	}
	return n.proposeEntries(records)
}

func (n *simNode) Leading(term uint64) bool {
	if n.raft == nil {
		return n.cf.Leading(term)
	}
	lead := n.lead()
	return !n.process.dead && lead.Leader && lead.Term == term
}

func (n *simNode) VerifyLease(ctx context.Context, term uint64) error {
	if n.raft == nil {
		return n.cf.VerifyLease(ctx, term)
	}
	if n.process.dead {
		return errKilled
	}
	if err := n.verifyLease(term); err != nil {
		return err
	}
	return n.cf.leaseErr
}

func (n *simNode) View() *raftfsm.State {
	if n.raft == nil {
		return n.cf.View()
	}
	if n.view == nil {
		n.view = n.raft.state.Freeze()
	}
	return n.view
}

func (n *simNode) Suspended() time.Duration {
	if n.raft == nil {
		return n.cf.suspended
	}
	return n.suspended
}
