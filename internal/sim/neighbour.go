package sim

import (
	"fmt"

	"hm/internal/sim/hm9000"
	"hm/internal/sim/wire"
)

// Neighbour says whether a simulated HM9000 runs, and how.
type Neighbour struct {
	Running bool `json:"running"`
	// EmptyStore: what it has in its store is removed. Only while it does not run, or to start or stop it.
	EmptyStore bool `json:"empty_store,omitempty"`
	hm9000.Faults
}

// NeighbourState is a Neighbour with what it has done since it was started.
type NeighbourState struct {
	Neighbour
	Stats hm9000.Stats `json:"stats"`
}

// SetNeighbour starts or stops the simulated HM9000, and sets its faults. Its store stays while it is stopped, as etcd
// does.
func (s *Sim) SetNeighbour(n Neighbour) error {
	s.neighbourMu.Lock()
	defer s.neighbourMu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return fmt.Errorf("simulated HM9000: %w", err)
	}
	if !n.Running && s.neighbour != nil {
		s.neighbour.Close()
		s.neighbour = nil
	}
	if n.EmptyStore && s.neighbour != nil {
		return fmt.Errorf("%w: simulated HM9000: it runs: stop it before its store is emptied", wire.ErrInvalid)
	}
	if n.EmptyStore || s.neighbourStore == nil {
		s.neighbourStore = hm9000.NewStore()
	}
	switch {
	case n.Running && s.neighbour == nil:
		h, err := hm9000.Start(s.ctx, hm9000.Options{
			HeartbeatPeriod: s.opts.HeartbeatPeriod, CCURL: s.CCURL(), User: s.opts.BulkUser, Password: s.opts.BulkPassword,
			Dial: s.dialOver(newLink()), Faults: n.Faults, Store: s.neighbourStore, Logger: s.opts.Logger,
		})
		if err != nil {
			return err
		}
		s.neighbour = h
	case n.Running:
		s.neighbour.SetFaults(n.Faults)
	}
	return nil
}

// Neighbour gives the state of the simulated HM9000.
func (s *Sim) Neighbour() (n NeighbourState) {
	s.neighbourMu.Lock()
	defer s.neighbourMu.Unlock()
	if s.neighbour != nil {
		n = NeighbourState{Neighbour{Running: true, Faults: s.neighbour.Faults()}, s.neighbour.Stats()}
	}
	return n
}

// closeNeighbour ends the simulated HM9000 for good. The simulation's context must have ended.
func (s *Sim) closeNeighbour() {
	s.neighbourMu.Lock()
	defer s.neighbourMu.Unlock()
	if s.neighbour != nil {
		s.neighbour.Close()
		s.neighbour = nil
	}
}
