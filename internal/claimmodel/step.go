package claimmodel

import (
	"fmt"
	"math/bits"
)

// emit takes a next state, the step that leads there, and the property that the step violates; empty: none.
type emit func(next state, step, broken string)

// steps calls out with every step that is possible in s.
func (m *model) steps(s state, out emit) {
	for i := range m.bounds.Nodes {
		m.leadership(s, i, out)
		m.loop(s, i, out)
	}
	m.log(s, out)
	m.world(s, out)
}

func name(i int) string { return [...]string{"hm-0", "hm-1", "hm-2"}[i] }

// say makes the text of a step; the search needs none.
func (m *model) say(format string, args ...any) string {
	if !m.tells {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// current reports whether a node leads in raft's latest term: only such a node can commit an entry.
func (s *state) current(i int) bool { return s.nodes[i].leads != 0 && s.nodes[i].leads == s.term }

// leadership are the steps of raft, and of the processes.
func (m *model) leadership(s state, i int, out emit) {
	if s.elections < m.bounds.Elections && !s.current(i) && !s.leased {
		n := s
		n.elections++
		n.term++
		n.nodes[i].leads = n.term
		out(n, m.say("%s is elected in term %d", name(i), n.term), "")
	}
	if l := s.nodes[i].leads; l != 0 && l != s.term {
		n := s
		n.nodes[i].leads = 0
		out(n, m.say("%s learns that it no longer leads", name(i)), "")
	}
	if s.restarts < m.bounds.Restarts && (s.nodes[i].leads != 0 || s.nodes[i].stage != idle) {
		n := s
		n.restarts++
		n.nodes[i] = node{}
		out(n, m.say("%s is killed and restarted", name(i)), "")
	}
	if s.gaps < m.bounds.Gaps && s.nodes[i].stage != idle && s.nodes[i].stage != published && !s.nodes[i].gap {
		n := s
		n.gaps++
		n.nodes[i].gap = true
		out(n, m.say("the NATS link of %s has a gap", name(i)), "")
	}
}

// loop are the steps of one node's loop with one command. It may stall before any of them.
func (m *model) loop(s state, i int, out emit) {
	switch x := s.nodes[i]; x.stage {
	case idle:
		if s.current(i) {
			m.decide(s, i, out)
		}
	case asking:
		m.commitClaim(s, i, out)
	case granted:
		m.verify(s, i, out)
	case verified:
		m.publish(s, i, out)
	case published:
		n := s
		n.nodes[i] = node{leads: x.leads}
		if c := n.record.find(x.id); s.current(i) && c != nil && c.phase == claimed {
			c.phase = sent
			out(n, m.say("%s records that command %d was sent", name(i), x.id), "")
		} else {
			out(n, m.say("%s cannot record that command %d was sent", name(i), x.id), "")
		}
	}
}

// decide decides to claim a pending command.
func (m *model) decide(s state, i int, out emit) {
	for _, c := range s.record.commands {
		if c.phase != pending || !s.record.needed(c) {
			continue
		}
		n := s
		n.nodes[i] = node{leads: s.term, stage: asking, term: s.term, id: c.id, act: c.act, slot: c.slot, basis: s.record.basis()}
		step := m.say("%s decides to claim command %d (%s) and proposes it", name(i), c.id, describe(c))
		if !m.faults.PublishBeforeCommit {
			out(n, step, "")
			continue
		}
		broken := m.put(&n, i)
		out(n, step+", and publishes it at once", broken)
	}
}

func describe(c command) string {
	if c.act == start {
		return "a start"
	}
	return "a stop of instance " + letter(c.slot)
}

func letter(slot uint8) string { return "ABC"[slot : slot+1] }

// commitClaim ends a proposal of a claim: it commits, with or without an answer, or is lost.
func (m *model) commitClaim(s state, i int, out emit) {
	x := s.nodes[i]
	quit := node{leads: x.leads}
	if !s.current(i) {
		n := s
		n.nodes[i] = quit
		out(n, m.say("the claim of command %d by %s is lost: another node leads", x.id, name(i)), "")
		return
	}
	c := s.record.find(x.id)
	switch {
	case c == nil || c.phase != pending,
		x.term != s.term && !m.faults.ClaimWithoutTerm,
		x.basis != s.record.basis() && !m.faults.ClaimWithoutBasis:
		n := s
		n.nodes[i] = quit
		out(n, m.say("Apply refuses the claim of command %d by %s", x.id, name(i)), "")
		return
	}
	n := s
	c = n.record.find(x.id)
	c.phase, c.term, c.age = claimed, s.term, 0
	broken := ""
	if x.term != s.term {
		broken = fmt.Sprintf("I2: command %d, decided in term %d, is claimed in term %d", x.id, x.term, s.term)
	}
	if left := n.record.instances &^ n.record.stopping(); c.act == stop && n.record.wanted && left == 0 {
		broken = fmt.Sprintf("I3: the claim of command %d leaves the wanted index without an instance", x.id)
	}
	n.nodes[i].stage = granted
	if m.faults.PublishBeforeCommit {
		n.nodes[i].stage = published
	}
	out(n, m.say("the claim of command %d by %s commits", x.id, name(i)), broken)
	n.nodes[i] = quit
	out(n, m.say("the claim of command %d by %s commits, but %s gets no answer", x.id, name(i), name(i)), broken)
}

// verify asks a majority whether the node still leads in the term of the claim.
func (m *model) verify(s state, i int, out emit) {
	n := s
	if m.faults.NoLeaseCheck {
		n.nodes[i].stage = verified
		out(n, m.say("%s asks nobody whether it leads", name(i)), "")
		return
	}
	if x := s.nodes[i]; x.leads == x.term && x.term == s.term {
		n.nodes[i].stage, n.leased = verified, true
		out(n, m.say("a majority confirms that %s leads", name(i)), "")
		return
	}
	m.abandon(n, i, "its lease has ended", out)
}

// publish publishes a claimed command, or abandons it.
func (m *model) publish(s state, i int, out emit) {
	x := s.nodes[i]
	switch {
	case x.age >= m.bounds.Lease && !m.faults.NoStallCheck:
		m.abandon(s, i, "it stalled for longer than the claim's lease", out)
		return
	case x.leads != x.term:
		m.abandon(s, i, "it knows that it no longer leads", out)
		return
	case x.gap && !m.faults.NoEpochCheck:
		m.abandon(s, i, "its link had a gap", out)
		return
	case x.old && !m.faults.OldLease && !m.faults.NoStallCheck:
		n := s
		n.nodes[i].stage, n.nodes[i].old = granted, false
		out(n, m.say("%s asks the majority again: what it confirmed is too old", name(i)), "")
		return
	}
	n := s
	broken := m.put(&n, i)
	n.nodes[i].stage = published
	out(n, m.say("%s publishes command %d", name(i), x.id), broken)
	m.abandon(s, i, "NATS certainly did not take it", out)
}

// put puts a node's command on the wire, and gives the property that this violates.
func (m *model) put(n *state, i int) (broken string) {
	x := n.nodes[i]
	c := n.record.find(x.id)
	switch {
	case n.published&bit(x.id) != 0:
		broken = fmt.Sprintf("I2: command %d is published twice", x.id)
	case n.ended&bit(x.id) != 0:
		broken = fmt.Sprintf("I2: command %d is published after its claim had ended", x.id)
	case c != nil && c.phase == pending:
		broken = fmt.Sprintf("I2: command %d is published, and its claim is not committed", x.id)
	case x.gap:
		broken = fmt.Sprintf("I1: command %d is published after a gap of the link", x.id)
	}
	if x.act == start {
		for _, other := range n.record.commands {
			if other.phase != none && other.act == start && other.id != x.id && n.published&bit(other.id) != 0 {
				broken = fmt.Sprintf("I2: command %d starts the index again while command %d is outstanding", x.id, other.id)
			}
		}
	}
	n.published |= bit(x.id)
	n.wire |= bit(x.id)
	if x.act == stop {
		n.wireStops[x.id-1] = x.slot + 1
	}
	return broken
}

// abandon ends a claim that was certainly not published. A node that does not lead cannot record that.
func (m *model) abandon(s state, i int, why string, out emit) {
	x := s.nodes[i]
	n := s
	n.nodes[i] = node{leads: x.leads}
	if s.current(i) && n.record.find(x.id) != nil {
		n.record.remove(x.id)
		n.ended |= bit(x.id)
	}
	out(n, m.say("%s abandons command %d: %s", name(i), x.id, why), "")
}

// log are the other entries of the leader: its plan, what it hears, and what it reads. They may commit while it waits for
// the answer to a claim: a proposal before that one had no answer and commits later.
func (m *model) log(s state, out emit) {
	leader := -1
	for i := range m.bounds.Nodes {
		if s.current(i) {
			leader = i
		}
	}
	if leader < 0 || s.nodes[leader].stage > asking {
		return // the loop makes these entries, too, one after the other
	}
	if s.record.instances != s.truth {
		n := s
		n.record.instances = s.truth
		out(n, m.say("%s records the instances that it hears: %s", name(leader), describeSet(s.truth)), "")
	}
	if s.changes < m.bounds.Changes {
		n := s
		n.changes++
		n.record.wanted = !s.record.wanted
		n.record.revision++
		step := name(leader) + " records that the app is not wanted"
		if n.record.wanted {
			step = name(leader) + " records that the app is wanted"
		}
		out(n, step, "")
	}
	m.plan(s, leader, out)
}

func (m *model) plan(s state, leader int, out emit) {
	starts, stops := false, uint8(0)
	for _, c := range s.record.commands {
		if c.phase == none {
			continue
		}
		if c.act == start {
			starts = true
		} else {
			stops |= bit(c.slot)
		}
		there := s.record.instances&bit(c.slot) != 0
		confirmed := c.phase != pending && (c.act == start && s.record.instances != 0 || c.act == stop && !there)
		expired := c.phase != pending && c.age >= m.bounds.Grace
		n := s
		n.record.remove(c.id)
		switch {
		case confirmed:
			out(n, m.say("%s confirms command %d", name(leader), c.id), "")
		case expired:
			n.ended |= bit(c.id)
			out(n, m.say("%s lets command %d expire", name(leader), c.id), "")
		case c.phase == pending && !s.record.needed(c):
			out(n, m.say("%s drops command %d", name(leader), c.id), "")
		}
	}
	schedule := func(c command) {
		n := s
		if n.ids == m.bounds.Commands {
			return
		}
		n.ids++
		c.id, c.phase = n.ids, pending
		if n.record.add(c) {
			out(n, m.say("%s schedules command %d: %s", name(leader), c.id, describe(c)), "")
		}
	}
	if s.record.wanted && s.record.instances == 0 && !starts {
		schedule(command{act: start})
	}
	surplus := s.record.instances
	if s.record.wanted {
		surplus &= surplus - 1 // the first one stays
	}
	for slot := range uint8(maxSlots) {
		if surplus&bit(slot) != 0 && stops&bit(slot) == 0 {
			schedule(command{act: stop, slot: slot})
		}
	}
}

// world are the steps of the Cloud Foundry around hm, and of time.
func (m *model) world(s state, out emit) {
	for id := uint8(1); id <= s.ids; id++ {
		if s.wire&bit(id) == 0 {
			continue
		}
		n := s
		n.wire &^= bit(id)
		if slot := s.wireStops[id-1]; slot != 0 {
			n.wireStops[id-1] = 0
			n.truth &^= bit(slot - 1)
			out(n, m.say("the DEA obeys command %d: instance %s stops", id, letter(slot-1)), "")
		} else if free := uint8(bits.TrailingZeros8(^s.used)); free < maxSlots {
			n.truth |= bit(free)
			n.used |= bit(free)
			out(n, m.say("the DEA obeys command %d: instance %s runs", id, letter(free)), "")
		}
	}
	if s.losses < m.bounds.Losses {
		for slot := range uint8(maxSlots) {
			if s.truth&bit(slot) != 0 {
				n := s
				n.losses++
				n.truth &^= bit(slot)
				out(n, m.say("instance %s ends by itself", letter(slot)), "")
			}
		}
	}
	if s.ticks < m.bounds.Ticks {
		out(m.tick(s), "time passes", "")
	}
}

func (m *model) tick(s state) state {
	s.ticks++
	s.leased = false
	for i := range s.record.commands {
		if c := &s.record.commands[i]; c.phase == claimed || c.phase == sent {
			c.age = min(c.age+1, m.bounds.Grace)
		}
	}
	for i := range s.nodes {
		if x := &s.nodes[i]; x.stage != idle {
			x.age = min(x.age+1, m.bounds.Lease)
			x.old = x.stage == verified
		}
	}
	return s
}

func describeSet(set uint8) string {
	if set == 0 {
		return "none"
	}
	text := ""
	for slot := range uint8(maxSlots) {
		if set&bit(slot) != 0 {
			text += letter(slot)
		}
	}
	return text
}
