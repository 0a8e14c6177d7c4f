package sqldb

import (
	"fmt"
)

// mark is how new a snapshot is.
type mark struct {
	newest string               // latest created_at or updated_at of all rows, as text that sorts by time; empty: no rows
	ids    [len(v3Tables)]int64 // highest ids of the plan's tables
}

// before reports whether m shows an older state than o, as far as two marks of the same database can tell. Rows that
// are deleted, too, can take the newest time, or the highest id, away with them: of two snapshots of one server only
// their order tells which is older.
func (m mark) before(o mark) bool {
	if m.newest != o.newest {
		return m.newest < o.newest
	}
	for i := range m.ids { // times are whole seconds in some databases
		if m.ids[i] < o.ids[i] {
			return true
		}
	}
	return false
}

// accepted is what is known of the newest read that was good.
type accepted struct {
	server string // empty: none yet
	schema string
	mark   mark
}

// check refuses a snapshot that shows an older state than has been read already: a replica may lag behind, but what
// is recorded must not go back in time because hm now reads from it. A server never goes back by itself, so
// whatever the server shows that was read last, is newer than that.
func (a accepted) check(snap *snapshot) error {
	if a.server == "" || a.server == snap.server || !snap.mark.before(a.mark) {
		return nil
	}
	if a.schema != snap.plan.schema { // ids of other tables
		b := a.mark
		b.ids = snap.mark.ids
		if !snap.mark.before(b) {
			return nil
		}
	}
	return &Error{Kind: Stale, Err: fmt.Errorf("the newest change on server %q is of %s with ids up to %v; what was read from %q before has one of %s with ids up to %v",
		snap.server, orNever(snap.mark.newest), snap.plan.ids(snap.mark), a.server, orNever(a.mark.newest), snap.plan.ids(a.mark)),
		Hint: "a replica that lags behind is read again once it has caught up; if the database was restored to an earlier state, restart hm, or change any app"}
}

func orNever(newest string) string {
	if newest == "" {
		return "never"
	}
	return newest
}

// accept notes that a snapshot was read completely.
func (s *Source) accept(t target, snap *snapshot) {
	moved := s.accepted.server != snap.server
	first := s.accepted.server == ""
	s.accepted = accepted{server: snap.server, schema: snap.plan.schema, mark: snap.mark}
	s.mu.Lock()
	late := snap.lag.by >= logLag && s.stats.Lag < logLag
	s.stats.Lag, s.stats.NoLag = snap.lag.by, !snap.lag.known
	s.stats.From, s.stats.Server, s.stats.Replica, s.stats.Schema, s.stats.Newest = t.name, snap.server, snap.replica, snap.plan.schema, snap.mark.newest
	if moved && !first {
		s.stats.Moves++
	}
	s.mu.Unlock()
	if late {
		s.log.Warn("a replica lags behind: what is read from it counts as so much older", "from", t.name, "lag", snap.lag.by)
	}
	if moved {
		s.log.Info("reading the desired state from a server", "from", t.name, "server", snap.server, "replica", snap.replica, "tells_lag", snap.lag.known, "schema", snap.plan.schema)
	}
}
