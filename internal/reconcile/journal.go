package reconcile

import (
	"sync"

	"hm/raftfsm"
)

// Journal keeps the newest commands that came to an end, on every node, in memory. It is safe for concurrent use.
type Journal struct {
	mu    sync.Mutex
	ring  []raftfsm.EndedCommand
	next  int
	limit int
}

// NewJournal returns a journal of the newest limit commands (commands.journal_entries).
func NewJournal(limit int) *Journal { return &Journal{limit: max(limit, 1)} }

// Add notes commands that ended, in the order in which they did.
func (j *Journal) Add(ended []raftfsm.EndedCommand) {
	if len(ended) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range ended {
		if len(j.ring) < j.limit {
			j.ring = append(j.ring, e)
			continue
		}
		j.ring[j.next] = e
		j.next = (j.next + 1) % j.limit
	}
}

// Newest gives at most n ended commands, the newest first.
func (j *Journal) Newest(n int) []raftfsm.EndedCommand {
	j.mu.Lock()
	defer j.mu.Unlock()
	n = min(n, len(j.ring))
	out := make([]raftfsm.EndedCommand, 0, n)
	for i := range n {
		at := j.next - 1 - i
		if at < 0 {
			at += len(j.ring)
		}
		out = append(out, j.ring[at])
	}
	return out
}
