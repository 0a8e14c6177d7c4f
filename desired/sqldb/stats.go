package sqldb

import (
	"fmt"
	"maps"
	"time"

	"hm/desired"
)

// Stats are counters since the Source was made, and values of the last complete read.
type Stats struct {
	Reads      uint64          // complete reads
	AppReads   uint64          // reads of single apps
	Failures   uint64          // failed reads of both kinds
	FailuresBy map[Kind]uint64 // failed reads by cause; with several servers the cause of the first
	Stale      uint64          // how often a server was refused because it was older than the newest read
	Moves      uint64          // how often a read used another server than the one before
	Rows       uint64          // rows of complete reads
	Unreadable uint64          // unreadable rows of complete reads

	From    string        // the server that was read last: host:port/database, or a path
	Server  string        // identity of the server; empty: nothing was read yet
	Replica bool          // it is a replica, or accepts no writes
	Lag     time.Duration // how far it was behind its primary at most
	NoLag   bool          // the lag is unknown: the server does not say it, or hm's role may not see it
	Schema  string        // v2 or v3; empty: nothing was read yet
	Newest  string        // time of the newest change that was read

	LastApps       int           // readable rows
	LastUnreadable int           // unreadable rows
	LastPages      int           // pages of all tables, with the empty one at the end of each
	LastDuration   time.Duration // from the connection to the last row
}

// Stats returns a copy of the counters.
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
	s.stats.LastApps, s.stats.LastUnreadable = len(read.Apps), len(r.unreadable)
	s.stats.LastPages, s.stats.LastDuration = r.pages, took
	s.mu.Unlock()
	if len(r.unreadable) != before { // do not log the same rows with every read
		s.log.Warn("some desired rows are unreadable: the recorded rows of these apps stay",
			"rows", len(r.unreadable), "of", r.rows, "apps", read.Unreadable[:min(3, len(read.Unreadable))],
			"first", fmt.Sprint(r.firstBad))
	}
}
