package claimmodel

import (
	"fmt"
	"strings"
)

// Bounds limit what happens in the runs that Check looks at.
type Bounds struct {
	Nodes     int   // 2 or 3
	Elections uint8 // in all, with the first one
	Commands  uint8 // scheduled in all, at most 5
	Ticks     uint8 // how often time passes
	Losses    uint8 // instances that end by themselves
	Changes   uint8 // of the desired app
	Gaps      uint8 // of NATS links
	Restarts  uint8 // of nodes

	Lease uint8 // ticks for which a claim may be published after it was asked for; commands.claim_lease
	Grace uint8 // ticks after which a claimed command expires; policy.grace
}

// Faults are bugs that are put in on purpose.
type Faults struct {
	PublishBeforeCommit bool // a command is published before its claim is committed
	ClaimWithoutTerm    bool // Apply does not compare the term of a claim
	ClaimWithoutBasis   bool // Apply does not compare the basis of a claim
	NoStallCheck        bool // a claim may be published however old it and the confirmed lease are
	NoEpochCheck        bool // a command may be published after a gap of the link
	NoLeaseCheck        bool // no majority is asked before a publish
	OldLease            bool // what the majority confirmed counts for as long as the claim may be published
}

// Start says how the index looks at the beginning.
type Start struct {
	Wanted    bool
	Instances int // that run and are recorded, at most 2
}

// Result is what Check found.
type Result struct {
	States int // different ones
	Steps  int // that lead from one to another
	Depth  int // steps of the longest of the shortest ways to a state
	// Broken is the property that does not hold; empty if all hold. Trace then has the steps that lead there, in words,
	// as few as there can be.
	Broken string
	Trace  []string
}

func (r Result) String() string {
	if r.Broken == "" {
		return fmt.Sprintf("%d states, %d steps between them, at most %d from the beginning: every property holds", r.States, r.Steps, r.Depth)
	}
	return fmt.Sprintf("%s\n  %s", r.Broken, strings.Join(r.Trace, "\n  "))
}

type model struct {
	bounds Bounds
	faults Faults
	tells  bool // steps have texts
}

// Check looks at every run from a start within the bounds.
func Check(b Bounds, f Faults, from Start) Result {
	if b.Nodes < 1 || b.Nodes > maxNodes || b.Commands > maxIDs || from.Instances < 0 || from.Instances > 2 {
		panic(fmt.Sprintf("claimmodel: bounds out of range: %+v, %+v", b, from))
	}
	m := &model{bounds: b, faults: f}
	s := state{record: record{wanted: from.Wanted}}
	s.truth = bit(uint8(from.Instances)) - 1
	s.used, s.record.instances = s.truth, s.truth
	return m.search(s)
}

// visit is one state and how it was reached.
type visit struct {
	state state
	from  int32 // index of the state before
	depth int32
}

func (m *model) search(first state) Result {
	known := map[state]struct{}{first: {}}
	visits := []visit{{state: first, from: -1}}
	r := Result{}
	for at := 0; at < len(visits); at++ {
		v := visits[at]
		r.Depth = int(v.depth)
		m.steps(v.state, func(next state, _, broken string) {
			r.Steps++
			next = m.canonical(next)
			if broken != "" {
				if r.Broken == "" {
					r.Broken, r.Trace = broken, m.trace(visits, at, broken)
				}
				return
			}
			if _, seen := known[next]; seen {
				return
			}
			known[next] = struct{}{}
			visits = append(visits, visit{next, int32(at), v.depth + 1})
		})
		if r.Broken != "" {
			break
		}
	}
	r.States = len(known)
	return r
}

// trace gives the steps to the state at, and the one from there that breaks a property, in words. The visited states are
// canonical; here the nodes keep their names.
func (m *model) trace(visits []visit, at int, broken string) (lines []string) {
	var way []state
	for ; at > 0; at = int(visits[at].from) {
		way = append(way, visits[at].state)
	}
	m.tells = true
	defer func() { m.tells = false }()
	s := visits[0].state
	for n := len(way) - 1; n >= 0; n-- {
		found, to := false, s
		m.steps(s, func(next state, step, broken string) {
			if !found && broken == "" && m.canonical(next) == way[n] {
				found, to = true, next
				lines = append(lines, step)
			}
		})
		s = to
	}
	told := false
	m.steps(s, func(_ state, step, breaks string) {
		if !told && breaks == broken {
			told = true
			lines = append(lines, step)
		}
	})
	return lines
}

// canonical gives the same state for all that differ only in which node has which name, or in what has no effect.
func (m *model) canonical(s state) state {
	for i := range m.bounds.Nodes {
		if x := &s.nodes[i]; x.stage == idle && x.leads != s.term {
			x.leads = 0 // a node without a command does nothing before it is elected again
		}
	}
	for i := 1; i < m.bounds.Nodes; i++ {
		for j := i; j > 0 && less(&s.nodes[j], &s.nodes[j-1]); j-- {
			s.nodes[j], s.nodes[j-1] = s.nodes[j-1], s.nodes[j]
		}
	}
	return s
}

func less(a, b *node) bool {
	for _, d := range [...]int{
		int(a.leads) - int(b.leads), int(a.stage) - int(b.stage), int(a.term) - int(b.term), int(a.id) - int(b.id),
		int(a.age) - int(b.age), int(a.basis.revision) - int(b.basis.revision),
		int(a.basis.instances) - int(b.basis.instances), int(a.basis.taken) - int(b.basis.taken),
	} {
		if d != 0 {
			return d < 0
		}
	}
	if a.gap != b.gap {
		return b.gap
	}
	return !a.old && b.old
}
