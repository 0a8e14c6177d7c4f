package raftfsm

import (
	"slices"

	"hm/internal/app"
)

// DesiredMeta describes the newest committed read of the desired state.
type DesiredMeta struct {
	Generation  uint64 // no desired row changes without a new one, unless a snapshot is restored (State.Restores)
	CommittedAt app.Time
	Source      string
	Complete    bool // a read was committed
	Apps        int  // wanted apps
	Instances   int  // wanted instances
}

// RowsName names the desired rows of a node's record. Two views of one node with the same name have the same rows: only
// the commit of a new generation changes one, and only a restored snapshot can make a generation come again.
type RowsName struct{ Restores, Generation uint64 }

// RowsName returns the name of the desired rows.
func (s *State) RowsName() RowsName { return RowsName{s.Restores(), s.meta.Generation} }

// Counts are the totals of the state. Apply keeps them.
type Counts struct {
	DEAs, GoneDEAs                                    int // DEAs does not include the gone ones
	Apps, DesiredInstances                            int // wanted apps and instances
	Instances, Starting, Running, Crashed, Evacuating int
	PendingStarts, PendingStops                       int    // commands in state Pending
	SentStarts, SentStops                             uint64 // commands that were ever marked Sent
}

// DesiredMeta returns the data of the newest committed read of the desired state.
func (s *State) DesiredMeta() DesiredMeta {
	m := s.meta
	m.Apps, m.Instances = s.counts.Apps, s.counts.DesiredInstances
	return m
}

// Counts returns the totals. It takes a constant time.
func (s *State) Counts() Counts { return s.counts }

// NextGeneration returns the number for the next read of the desired state. It is higher than the committed generation
// and than one that a leader staged and never committed, so the parts of two reads never mix.
func (s *State) NextGeneration() uint64 {
	newest := s.meta.Generation
	if len(s.staged) > 0 {
		newest = max(newest, s.staged[0].Generation)
	}
	return newest + 1
}

// Holds returns the recorded holds, sorted by name. A hold whose Until has passed stays here until it is released.
func (s *State) Holds() []Hold { return slices.Clone(s.holds) }
