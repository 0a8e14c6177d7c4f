package fleet

import (
	"fmt"

	"hm/actual"
	"hm/internal/sim/wire"
)

// Unrest is what happens by itself on a DEA between two heartbeats, as shares, 0 to 1, of its running instances. The
// zero value means that nothing does. It is for measurements of a fleet that is not quiet.
type Unrest struct {
	// Change is the share that a heartbeat shows in another state than the one before. Such an instance goes from RUNNING
	// to STARTING, or back, and serves nobody less.
	Change float64 `json:"change"`
	Crash  float64 `json:"crash"` // the share that crashes
}

// SetUnrest replaces the unrest of all DEAs. It fails if a share is not 0 to 1.
func (f *Fleet) SetUnrest(u Unrest) error {
	for name, share := range map[string]float64{"change": u.Change, "crash": u.Crash} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("%w: %s is %v, it must be 0 to 1", wire.ErrInvalid, name, share)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unrest = u
	if u.Change > 0 {
		return nil
	}
	for _, d := range f.deas {
		for _, in := range d.instances {
			if in.changing && in.state == actual.Starting {
				in.changing = false
				f.setState(in, actual.Running)
			}
		}
	}
	return nil
}

// Unrest gives the present unrest.
func (f *Fleet) Unrest() Unrest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unrest
}

// stir applies the unrest to a DEA that is about to send a heartbeat.
func (f *Fleet) stir(d *dea) {
	for _, in := range d.instances {
		switch {
		case in.changing && in.state == actual.Starting:
			if f.ids.Chance(f.unrest.Change) {
				in.changing = false
				f.setState(in, actual.Running)
			}
		case in.state != actual.Running:
		case f.ids.Chance(f.unrest.Crash):
			f.crash(in, "unrest")
		case f.ids.Chance(f.unrest.Change):
			in.changing = true
			f.setState(in, actual.Starting)
		}
	}
}
