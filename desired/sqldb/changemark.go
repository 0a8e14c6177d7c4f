package sqldb

import (
	"fmt"
)

// changeMark says how new a snapshot is.
type changeMark struct {
	newest string               // latest created_at or updated_at of all rows, as text that sorts by time; empty: no rows
	ids    [len(v3Tables)]int64 // the highest id in each of the plan's tables
}

// before reports whether m is older than o. That is reliable only for snapshots of two servers: on one server m may
// also be smaller because the newest rows were deleted.
func (m changeMark) before(o changeMark) bool {
	if m.newest != o.newest {
		return m.newest < o.newest
	}
	for i := range m.ids { // some databases store whole seconds only
		if m.ids[i] < o.ids[i] {
			return true
		}
	}
	return false
}

// accepted describes the newest complete read.
type accepted struct {
	server string // empty: there was no read yet
	schema string
	mark   changeMark
}

// check refuses a snapshot of another server that is older than the newest read: a replica may lag, but the recorded
// state must not go back in time. A snapshot of the same server is always newer than the last one.
func (a accepted) check(snap *snapshot) error {
	if a.server == "" || a.server == snap.server || !snap.mark.before(a.mark) {
		return nil
	}
	if a.schema != snap.plan.schema { // the ids are those of other tables
		b := a.mark
		b.ids = snap.mark.ids
		if !snap.mark.before(b) {
			return nil
		}
	}
	return &Error{Kind: Stale, Err: fmt.Errorf(
		"server %q is older than the last read: its newest change is of %s with ids up to %v, "+
			"but server %q had one of %s with ids up to %v",
		snap.server, orNever(snap.mark.newest), snap.plan.ids(snap.mark),
		a.server, orNever(a.mark.newest), snap.plan.ids(a.mark)),
		Hint: "if it is a replica that lags, hm reads it again once it has caught up; " +
			"if the database was restored to an earlier state, restart hm, or change any app"}
}

func orNever(newest string) string {
	if newest == "" {
		return "never"
	}
	return newest
}

// accept notes a snapshot that was read completely.
func (s *Source) accept(t target, snap *snapshot) {
	moved := s.accepted.server != snap.server
	first := s.accepted.server == ""
	s.accepted = accepted{server: snap.server, schema: snap.plan.schema, mark: snap.mark}
	s.mu.Lock()
	late := snap.lag.by >= logLag && s.stats.Lag < logLag
	s.stats.Lag, s.stats.NoLag = snap.lag.by, !snap.lag.known
	s.stats.From, s.stats.Server, s.stats.Replica = t.name, snap.server, snap.replica
	s.stats.Schema, s.stats.Newest = snap.plan.schema, snap.mark.newest
	if moved && !first {
		s.stats.Moves++
	}
	s.mu.Unlock()
	if late {
		s.log.Warn("the database replica lags: the desired state counts as older by the lag",
			"from", t.name, "lag", snap.lag.by)
	}
	if moved {
		s.log.Info("reading the desired state from a database server",
			"from", t.name, "server", snap.server, "replica", snap.replica,
			"tells_lag", snap.lag.known, "schema", snap.plan.schema)
	}
}
