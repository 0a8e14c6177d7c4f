package reconcile

import (
	"sync"

	"hm/raftfsm"
)

// EndedKept is how many of the newest commands a new leader's throttle counts.
const EndedKept = 10_000

// EndedCommands keeps the newest commands that ended, on every node, in memory, for the throttle of
// the next leader: it must not depend on a disk. The history of commands is in package journal. It
// is safe for concurrent use.
type EndedCommands struct {
	mu    sync.Mutex
	ring  []raftfsm.EndedCommand
	next  int
	limit int
}

// NewEndedCommands keeps the newest limit commands.
func NewEndedCommands(limit int) *EndedCommands { return &EndedCommands{limit: max(limit, 1)} }

// Add adds commands that ended, in the order in which they ended.
func (e *EndedCommands) Add(ended []raftfsm.EndedCommand) {
	if len(ended) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, cmd := range ended {
		if len(e.ring) < e.limit {
			e.ring = append(e.ring, cmd)
			continue
		}
		e.ring[e.next] = cmd
		e.next = (e.next + 1) % e.limit
	}
}

// Newest gives at most n ended commands, the newest first.
func (e *EndedCommands) Newest(n int) []raftfsm.EndedCommand {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = min(n, len(e.ring))
	out := make([]raftfsm.EndedCommand, 0, n)
	for i := range n {
		at := e.next - 1 - i
		if at < 0 {
			at += len(e.ring)
		}
		out = append(out, e.ring[at])
	}
	return out
}
