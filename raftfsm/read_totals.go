package raftfsm

import (
	"slices"

	"hm/internal/app"
)

// DesiredMeta is what is recorded of the newest committed read of the desired state.
type DesiredMeta struct {
	Generation  uint64
	CommittedAt app.Time
	Source      string
	Complete    bool // any read was ever committed
	Apps        int  // wanted ones
	Instances   int  // of the wanted apps
}

// Counts sums up the state. It is kept as entries are applied.
type Counts struct {
	DEAs, GoneDEAs                                    int // DEAs: those that are not gone
	Apps, DesiredInstances                            int // wanted ones
	Instances, Starting, Running, Crashed, Evacuating int
	PendingStarts, PendingStops                       int    // in state Pending
	SentStarts, SentStops                             uint64 // ever marked Sent
}

// DesiredMeta gives what is recorded of the newest committed read of the desired state.
func (s *State) DesiredMeta() DesiredMeta {
	m := s.meta
	m.Apps, m.Instances = s.counts.Apps, s.counts.DesiredInstances
	return m
}

// Counts gives the totals, at no cost.
func (s *State) Counts() Counts { return s.counts }

// NextGeneration is the number for the next read of the desired state: above what is committed and above what a leader
// has staged and never committed, so that the parts of two reads never mix.
func (s *State) NextGeneration() uint64 {
	newest := s.meta.Generation
	if len(s.staged) > 0 {
		newest = max(newest, s.staged[0].Generation)
	}
	return newest + 1
}

// Holds gives the holds that are set, sorted by name. Until is for whoever releases them: one that has passed is
// still here.
func (s *State) Holds() []Hold { return slices.Clone(s.holds) }
