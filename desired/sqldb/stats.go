package sqldb

import (
	"fmt"
	"maps"
	"time"

	"hm/desired"
)

// Stats are counts since the Source was made, and facts of the last complete read.
type Stats struct {
	Reads      uint64          // complete ones
	AppReads   uint64          // of single apps
	Failures   uint64          // reads of both sorts that failed
	FailuresBy map[Kind]uint64 // the same by cause; of several servers that of the first
	Stale      uint64          // times that a server was refused because it shows an older state than was read before
	Moves      uint64          // times that another server was read from than before
	Rows       uint64          // of complete reads
	Unreadable uint64          // rows of complete reads that could not be understood

	From    string        // the server that was read last: host:port/database, or a path
	Server  string        // what it says of itself; empty: nothing was read yet
	Replica bool          // it is a replica, or takes no writes
	Lag     time.Duration // how far it was behind its primary, at most
	NoLag   bool          // it, or hm's role, does not tell
	Schema  string        // v2 or v3; empty: nothing was read yet
	Newest  string        // time of the newest change that was read

	LastApps       int           // readable rows
	LastUnreadable int           // rows that could not be understood
	LastPages      int           // with the empty one at the end
	LastDuration   time.Duration // from the connection to the last row
}

// Stats gives a copy of the counts.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.FailuresBy = maps.Clone(s.stats.FailuresBy)
	return st
}

func (s *Source) failed(err *Error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Failures++
	s.stats.FailuresBy[err.Kind]++
	return err
}

func (s *Source) succeeded(r *reading, read desired.Read, took time.Duration) {
	s.mu.Lock()
	before := s.stats.LastUnreadable
	s.stats.Reads++
	s.stats.Rows += uint64(r.rows)
	s.stats.Unreadable += uint64(len(r.unreadable))
	s.stats.LastApps, s.stats.LastUnreadable, s.stats.LastPages, s.stats.LastDuration = len(read.Apps), len(r.unreadable), r.pages, took
	s.mu.Unlock()
	if len(r.unreadable) != before { // a row that stays bad is told once, not with every read
		s.log.Warn("desired rows that cannot be understood: what is recorded of these apps stays",
			"rows", len(r.unreadable), "of", r.rows, "apps", read.Unreadable[:min(3, len(read.Unreadable))], "first", fmt.Sprint(r.firstBad))
	}
}
