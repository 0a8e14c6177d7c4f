package sim

import (
	"fmt"

	"hm/internal/sim/hm9000"
)

// Neighbour says whether a simulated HM9000 runs, and how.
type Neighbour struct {
	Running bool `json:"running"`
	hm9000.Faults
}

// NeighbourState is a Neighbour with what it has done since it was started.
type NeighbourState struct {
	Neighbour
	Stats hm9000.Stats `json:"stats"`
}

// SetNeighbour starts or stops the simulated HM9000, and sets its faults. One that is stopped forgets everything.
func (s *Sim) SetNeighbour(n Neighbour) error {
	s.neighbourMu.Lock()
	defer s.neighbourMu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return fmt.Errorf("simulated HM9000: %w", err)
	}
	switch {
	case n.Running && s.neighbour == nil:
		h, err := hm9000.Start(s.ctx, hm9000.Options{
			HeartbeatPeriod: s.opts.HeartbeatPeriod, CCURL: s.CCURL(), User: s.opts.BulkUser, Password: s.opts.BulkPassword,
			Dial: s.dialOver(newLink()), Faults: n.Faults, Logger: s.opts.Logger,
		})
		if err != nil {
			return err
		}
		s.neighbour = h
	case n.Running:
		s.neighbour.SetFaults(n.Faults)
	case s.neighbour != nil:
		s.neighbour.Close()
		s.neighbour = nil
	}
	return nil
}

// Neighbour gives the state of the simulated HM9000.
func (s *Sim) Neighbour() (n NeighbourState) {
	s.neighbourMu.Lock()
	defer s.neighbourMu.Unlock()
	if s.neighbour != nil {
		n = NeighbourState{Neighbour{true, s.neighbour.Faults()}, s.neighbour.Stats()}
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
