package claimmodel

import "math/bits"

// Limits of the model's arrays.
const (
	maxNodes    = 3
	maxCommands = 2 // outstanding at a time
	maxIDs      = 5 // commands in all
	maxSlots    = 3 // instances in all
)

// action is what a command asks for.
type action uint8

const (
	start action = iota + 1
	stop
)

// phase is the state of a command in the record.
type phase uint8

const (
	none phase = iota
	pending
	claimed
	sent
)

// command is an outstanding command in the record.
type command struct {
	id    uint8 // from 1
	act   action
	slot  uint8 // the instance that a stop names
	phase phase
	term  uint8 // of the entry that claimed it
	age   uint8 // ticks since it was claimed, up to Grace
}

// record is the recorded state of the index: what the committed log builds.
type record struct {
	wanted    bool  // one instance is desired
	revision  uint8 // of the desired app
	instances uint8 // set of slots
	commands  [maxCommands]command
}

// basis is what a decision was made on: raftfsm.Basis.
type basis struct {
	revision  uint8
	instances uint8
	taken     uint8 // set of claimed and sent commands, by id
}

func (r *record) basis() basis {
	b := basis{revision: r.revision, instances: r.instances}
	for _, c := range r.commands {
		if c.phase == claimed || c.phase == sent {
			b.taken |= bit(c.id)
		}
	}
	return b
}

func (r *record) find(id uint8) *command {
	for i := range r.commands {
		if c := &r.commands[i]; c.phase != none && c.id == id {
			return c
		}
	}
	return nil
}

// remove removes a command. The commands stay in the order of their ids.
func (r *record) remove(id uint8) {
	kept := 0
	for _, c := range r.commands {
		if c.phase != none && c.id != id {
			r.commands[kept] = c
			kept++
		}
	}
	for ; kept < maxCommands; kept++ {
		r.commands[kept] = command{}
	}
}

func (r *record) add(c command) bool {
	for i := range r.commands {
		if r.commands[i].phase == none {
			r.commands[i] = c
			return true
		}
	}
	return false
}

// stopping is the set of instances that a claimed or sent stop names.
func (r *record) stopping() (set uint8) {
	for _, c := range r.commands {
		if c.act == stop && (c.phase == claimed || c.phase == sent) {
			set |= bit(c.slot)
		}
	}
	return set
}

// needed reports whether the rules still ask for a command.
func (r *record) needed(c command) bool {
	if c.act == start {
		return r.wanted && r.instances == 0
	}
	there := r.instances&bit(c.slot) != 0
	if !r.wanted {
		return there
	}
	return there && bits.OnesCount8(r.instances&^r.stopping()) >= 2 // one copy at a time
}

// stage is how far a node's loop has come with one command.
type stage uint8

const (
	idle      stage = iota
	asking          // it has proposed the claim
	granted         // the claim is committed, and the node knows
	verified        // a majority has confirmed the lease
	published       // the outcome is to be recorded
)

// node is one node: what raft tells it, and its loop.
type node struct {
	leads uint8 // the term in which it believes that it leads; 0: it does not
	stage stage
	term  uint8 // in which its loop decided
	id    uint8 // of the command
	act   action
	slot  uint8
	basis basis
	age   uint8 // ticks since it asked for the claim, up to Lease
	gap   bool  // its link had a gap since the decision
	old   bool  // time has passed since a majority confirmed the lease
}

// state is one state of the world. It is comparable: equal states are the same state.
type state struct {
	term   uint8 // raft's latest
	leased bool  // a majority has just confirmed the leader's lease: no other node is elected before time has passed
	record record
	nodes  [maxNodes]node

	truth     uint8 // set of instances that really run
	used      uint8 // set of slots that ever ran: a new instance has a new guid
	wire      uint8 // set of commands that were published and not obeyed yet, by id
	wireStops [maxIDs]uint8

	ids       uint8 // commands scheduled so far
	published uint8 // set of commands that were ever published
	ended     uint8 // set of commands that expired or were abandoned

	elections, losses, changes, gaps, ticks, restarts uint8 // that have happened
}

func bit(n uint8) uint8 { return 1 << n }
