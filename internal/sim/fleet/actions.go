package fleet

import (
	"fmt"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// Action is something that happens to a DEA.
type Action string

// What can happen to a DEA.
const (
	Kill     Action = "kill"     // dead at once, with all that it runs
	Pause    Action = "pause"    // cut off: sends and receives nothing, its instances run on
	Resume   Action = "resume"   // no longer cut off
	Restart  Action = "restart"  // its process comes back under a new id; instances keep their guids (N33)
	Evacuate Action = "evacuate" // asked to leave (N31)
	Shutdown Action = "shutdown" // stops everything and leaves (N32)
)

// find gives a DEA by id: one that is up, or the newest dead one of that id.
func (f *Fleet) find(id string) (*dea, error) {
	if d := f.byID[id]; d != nil {
		return d, nil
	}
	for i := len(f.deas) - 1; i >= 0; i-- {
		if f.deas[i].id == id {
			return f.deas[i], nil
		}
	}
	return nil, fmt.Errorf("%w: no DEA %.80q", wire.ErrNotFound, id)
}

func (f *Fleet) act(d *dea, a Action) error {
	switch a {
	case Kill:
		return f.kill(d)
	case Pause:
		return f.pause(d)
	case Resume:
		return f.resume(d)
	case Restart:
		return f.restart(d)
	case Evacuate:
		return f.evacuate(d)
	case Shutdown:
		return f.shutDown(d)
	}
	return fmt.Errorf("%w: action %.40q is none of kill, pause, resume, restart, evacuate, shutdown", wire.ErrInvalid,
		string(a))
}

// Act lets something happen to the DEA with the given id.
func (f *Fleet) Act(id string, a Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.find(id)
	if err != nil {
		return err
	}
	return f.act(d, a)
}

// Kill is Act with Kill, and so on for the next ones.
func (f *Fleet) Kill(id string) error { return f.Act(id, Kill) }

// Pause cuts a DEA off.
func (f *Fleet) Pause(id string) error { return f.Act(id, Pause) }

// Resume ends what Pause began.
func (f *Fleet) Resume(id string) error { return f.Act(id, Resume) }

// Restart restarts a DEA's process.
func (f *Fleet) Restart(id string) error { return f.Act(id, Restart) }

// Evacuate asks a DEA to leave.
func (f *Fleet) Evacuate(id string) error { return f.Act(id, Evacuate) }

// ShutDown stops a DEA and all that it runs.
func (f *Fleet) ShutDown(id string) error { return f.Act(id, Shutdown) }

// ActOnRandom lets something happen to n DEAs, drawn from those that it can happen to, or to all of these if there
// are fewer, all at once. It returns the ids that they had before.
func (f *Fleet) ActOnRandom(n int, a Action) ([]string, error) {
	if n < 0 {
		return nil, fmt.Errorf("%w: %d DEAs, it must not be negative", wire.ErrInvalid, n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var can []*dea
	for _, d := range f.deas {
		fits := d.status == serving && !d.paused
		if a == Resume {
			fits = d.paused
		}
		if fits {
			can = append(can, d)
		}
	}
	f.ids.Shuffle(len(can), func(i, j int) { can[i], can[j] = can[j], can[i] })
	ids := []string{}
	for _, d := range can[:min(n, len(can))] {
		id := d.id
		if err := f.act(d, a); err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Add adds n empty DEAs and gives their ids. If NATS is up, they receive messages when it returns.
func (f *Fleet) Add(n int) ([]string, error) {
	f.mu.Lock()
	have := len(f.deas)
	f.mu.Unlock()
	if n < 0 || have+n > MaxDEAs {
		return nil, fmt.Errorf("%w: %d more DEAs, it must be 0 to %d", wire.ErrInvalid, n, MaxDEAs-have)
	}
	var opened []*connection
	connections := f.connectionsNow()
	if f.opts.ConnectionPerDEA {
		var err error
		if opened, err = f.open(n); err != nil {
			return nil, err
		}
		connections = opened
	}
	ids := []string{}
	var deas []*dea
	now := time.Now()
	f.mu.Lock()
	for i := range n {
		d := f.addDEA(connections[(have+i)%len(connections)],
			now.Add(time.Duration(f.ids.Int64N(int64(f.opts.HeartbeatPeriod)))))
		d.conn.heartbeatNow(d) // N04
		deas = append(deas, d)
		ids = append(ids, d.id)
	}
	f.mu.Unlock()
	if err := f.run(opened); err != nil {
		return nil, err
	}
	return ids, f.awaitPool(deas)
}

// awaitPool waits until new DEAs are in the pool.
func (f *Fleet) awaitPool(deas []*dea) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		ready := true
		for _, d := range deas {
			ready = ready && (d.inPool.at >= 0 || d.status != serving || d.paused)
		}
		f.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-f.ctx.Done():
			return wire.ErrClosed
		case <-tick.C:
		}
	}
}

// CrashInstance has the live instances of an app at an index crash, whatever their version.
func (f *Fleet) CrashInstance(droplet app.GUID, index int) error {
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
		return fmt.Errorf("%w: nothing live at %s index %d", wire.ErrNotFound, droplet, index)
	}
	return nil
}

// CrashLoop has every instance of an app crash once it has run for after, those that run now included, until
// EndCrashLoop.
func (f *Fleet) CrashLoop(droplet app.GUID, after time.Duration) error {
	if after < 0 {
		return fmt.Errorf("%w: a crash after %s, it must not be negative", wire.ErrInvalid, after)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.apps[droplet]
	if p == nil {
		return wire.NoApp(droplet)
	}
	p.crashLoop, p.crashAfter = true, after
	for _, in := range p.instances {
		if in.state == actual.Running {
			f.scheduleCrash(in)
		}
	}
	return nil
}

// EndCrashLoop ends what CrashLoop began.
func (f *Fleet) EndCrashLoop(droplet app.GUID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.apps[droplet]
	if p == nil {
		return wire.NoApp(droplet)
	}
	p.crashLoop = false
	return nil
}
