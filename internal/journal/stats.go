package journal

import (
	"sync"
	"sync/atomic"

	"hm/internal/boltfile"
)

// counters are what Stats gives.
type counters struct {
	added, lost, failures, replaced, unreadable, fetched, compactions atomic.Uint64

	mu   sync.Mutex
	meta meta
}

// Stats is what a journal counts.
type Stats struct {
	Entries    int    // events in the file
	Bytes      int64  // of their keys and encodings
	Added      uint64 // stored since the start
	Lost       uint64 // lost since the start: too much waited, since the disk is full, broken or slow
	Failures   uint64 // writes that failed since the start
	Replaced   uint64 // files that were set aside since the start
	Fetched    uint64 // got from peers since the start
	Unreadable uint64 // stored events that could not be read since the start
	Stored     uint64 // everything up to this index of the log is stored, but for the gaps
	// Compactions is how often the file was replaced by a copy without free pages since the start.
	Compactions uint64
	File        boltfile.Use // zero while the file cannot be used
	Gaps        int          // ranges of the log whose events are not stored
	Err         error        // why the file cannot be used now; nil if it can
}

// Stats gives what the journal counts.
func (j *Journal) Stats() Stats {
	s := &j.stats
	out := Stats{
		Added: s.added.Load(), Lost: s.lost.Load(), Failures: s.failures.Load(), Replaced: s.replaced.Load(),
		Unreadable: s.unreadable.Load(), Fetched: s.fetched.Load(),
		Stored: j.stored.Load(), Err: j.unavailable(), Compactions: s.compactions.Load(),
	}
	out.File, _ = j.fileUse()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.meta.entries {
		out.Entries += int(s.meta.entries[c])
		out.Bytes += int64(s.meta.bytes[c])
	}
	out.Gaps = len(s.meta.gaps)
	return out
}

// gaps gives the ranges of the log whose events are not stored.
func (c *counters) gaps() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta.gaps
}

// set notes what the file has.
func (c *counters) set(m *meta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meta = *m
}
