package sim

// Summary has the figures of a State that are worth a new line when they change: all but the time and the counters that
// always grow.
type Summary struct {
	Converged                                    bool
	Connected, DEAs, Paused, Apps                int
	Desired, Running, Starting, Crashed, Missing int
	Duplicate, Undesired, Evacuating, CutOff     int
	Accepted, Refused                            uint64 // commands
}

// Summary returns the summary of a state.
func (s State) Summary() Summary {
	n := s.Commands
	return Summary{
		Converged: s.Converged, Connected: s.Connected, DEAs: s.DEAs, Paused: s.DEAsPaused, Apps: s.Apps,
		Desired: s.Desired, Running: s.Running, Starting: s.Starting, Crashed: s.Crashed, Missing: s.Missing,
		Duplicate: s.Duplicate, Undesired: s.Undesired, Evacuating: s.Evacuating, CutOff: s.CutOff,
		Accepted: n.StartsAccepted + n.StopsAccepted, Refused: n.StartsRefused + n.StopsRefused,
	}
}
