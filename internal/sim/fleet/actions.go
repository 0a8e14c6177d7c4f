package sim

import (
	"fmt"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// DEAAction is something that happens to a DEA.
type DEAAction string

// What can happen to a DEA.
const (
	DEAKill     DEAAction = "kill"     // dead at once, with all that it runs
	DEAPause    DEAAction = "pause"    // cut off: silent and deaf, its instances run on
	DEAResume   DEAAction = "resume"   // no longer cut off
	DEARestart  DEAAction = "restart"  // its process comes back under a new id; instances keep their guids (N33)
	DEAEvacuate DEAAction = "evacuate" // asked to leave (N31)
	DEAShutdown DEAAction = "shutdown" // stops everything and leaves (N32)
)

// find gives a DEA by id: one that is up, or the newest dead one of that id.
func (f *fleet) find(id string) *dea {
	if d := f.byID[id]; d != nil {
		return d
	}
	for i := len(f.deas) - 1; i >= 0; i-- {
		if f.deas[i].id == id {
			return f.deas[i]
		}
	}
	return nil
}

func (f *fleet) act(d *dea, a DEAAction) error {
	switch a {
	case DEAKill:
		return f.kill(d)
	case DEAPause:
		return f.pause(d)
	case DEAResume:
		return f.resume(d)
	case DEARestart:
		return f.restart(d)
	case DEAEvacuate:
		return f.evacuate(d)
	case DEAShutdown:
		return f.shutDown(d)
	}
	return fmt.Errorf("%w: action %.40q is none of kill, pause, resume, restart, evacuate, shutdown", ErrInvalid, string(a))
}

// ActOnDEA lets something happen to the DEA with the given id.
func (s *Sim) ActOnDEA(id string, a DEAAction) error {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	d := s.fleet.find(id)
	if d == nil {
		return noDEA(id)
	}
	return s.fleet.act(d, a)
}

// KillDEA is ActOnDEA with DEAKill, and so on for the next ones.
func (s *Sim) KillDEA(id string) error { return s.ActOnDEA(id, DEAKill) }

// PauseDEA cuts a DEA off.
func (s *Sim) PauseDEA(id string) error { return s.ActOnDEA(id, DEAPause) }

// ResumeDEA ends what PauseDEA began.
func (s *Sim) ResumeDEA(id string) error { return s.ActOnDEA(id, DEAResume) }

// RestartDEA restarts a DEA's process.
func (s *Sim) RestartDEA(id string) error { return s.ActOnDEA(id, DEARestart) }

// EvacuateDEA asks a DEA to leave.
func (s *Sim) EvacuateDEA(id string) error { return s.ActOnDEA(id, DEAEvacuate) }

// ShutDownDEA stops a DEA and all that it runs.
func (s *Sim) ShutDownDEA(id string) error { return s.ActOnDEA(id, DEAShutdown) }

// ActOnRandomDEAs lets something happen to k DEAs drawn from those that it can happen to, or to all of these if
// there are fewer, all at one moment. It gives their ids of before.
func (s *Sim) ActOnRandomDEAs(k int, a DEAAction) ([]string, error) {
	if k < 0 {
		return nil, fmt.Errorf("%w: %d DEAs, it must not be negative", ErrInvalid, k)
	}
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	var can []*dea
	for _, d := range f.deas {
		fits := d.status == serving && !d.paused
		if a == DEAResume {
			fits = d.paused
		}
		if fits {
			can = append(can, d)
		}
	}
	f.mint.Shuffle(len(can), func(i, j int) { can[i], can[j] = can[j], can[i] })
	ids := []string{}
	for _, d := range can[:min(k, len(can))] {
		id := d.id
		if err := f.act(d, a); err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// AddDEAs adds n empty DEAs and gives their ids. Where NATS is there they hear when it returns.
func (s *Sim) AddDEAs(n int) ([]string, error) {
	f := s.fleet
	f.mu.Lock()
	have := len(f.deas)
	f.mu.Unlock()
	if n < 0 || have+n > maxDEAs {
		return nil, fmt.Errorf("%w: %d more DEAs, it must be 0 to %d", ErrInvalid, n, maxDEAs-have)
	}
	var opened []*lane
	lanes := s.lanesNow()
	if s.opts.ConnectionPerDEA {
		var err error
		if opened, err = s.openLanes(n); err != nil {
			return nil, err
		}
		lanes = opened
	}
	ids := []string{}
	var deas []*dea
	now := time.Now()
	f.mu.Lock()
	for i := range n {
		d := f.addDEA(lanes[(have+i)%len(lanes)], now.Add(time.Duration(f.mint.Int64N(int64(s.opts.HeartbeatPeriod)))))
		d.lane.wantBeat(d) // N04
		deas = append(deas, d)
		ids = append(ids, d.id)
	}
	f.mu.Unlock()
	if err := s.runLanes(opened); err != nil {
		return nil, err
	}
	return ids, s.awaitSeats(deas)
}

// awaitSeats waits until new DEAs are in the pool.
func (s *Sim) awaitSeats(deas []*dea) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.fleet.mu.Lock()
		seated := true
		for _, d := range deas {
			seated = seated && (d.seat.at >= 0 || d.status != serving || d.paused)
		}
		s.fleet.mu.Unlock()
		if seated {
			return nil
		}
		select {
		case <-s.ctx.Done():
			return errClosed
		case <-tick.C:
		}
	}
}

func (s *Sim) lanesNow() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes
}

// CrashInstance lets the live instances of an app at an index crash, whatever their version.
func (s *Sim) CrashInstance(droplet app.GUID, index int) error {
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	crashed := false
	if p := f.apps[droplet]; p != nil {
		for _, in := range p.instances {
			if int64(in.index) == int64(index) && f.crash(in, "app instance exited") {
				crashed = true
			}
		}
	}
	if !crashed {
		return fmt.Errorf("%w: nothing live at %s index %d", ErrNotFound, droplet, index)
	}
	return nil
}

// CrashLoop lets every instance of an app crash once it has run for after, those that run now too, until
// EndCrashLoop.
func (s *Sim) CrashLoop(droplet app.GUID, after time.Duration) error {
	if after < 0 {
		return fmt.Errorf("%w: a crash after %s, it must not be negative", ErrInvalid, after)
	}
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.apps[droplet]
	if p == nil {
		return noApp(droplet)
	}
	p.crashLoop, p.crashAfter = true, after
	for _, in := range p.instances {
		if in.state == actual.Running {
			f.armCrash(in)
		}
	}
	return nil
}

// EndCrashLoop lets an app's instances run on again.
func (s *Sim) EndCrashLoop(droplet app.GUID) error {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	p := s.fleet.apps[droplet]
	if p == nil {
		return noApp(droplet)
	}
	p.crashLoop = false
	return nil
}

// SetFaults replaces the present faults; the zero value heals everything.
func (s *Sim) SetFaults(f Faults) error {
	if err := f.validate(); err != nil {
		return err
	}
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	s.controller.faults = f
	s.fleet.mu.Lock()
	s.fleet.startFailure = f.StartFailure
	s.fleet.mu.Unlock()
	return nil
}

// Faults gives the present faults.
func (s *Sim) Faults() Faults {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	return s.controller.faults
}
