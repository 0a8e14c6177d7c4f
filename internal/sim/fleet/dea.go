package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// deaStatus is how a DEA stands.
type deaStatus int

const (
	serving    deaStatus = iota
	evacuating           // asked to leave: takes nothing new, waits for its instances to be replaced (N31)
	stopping             // shutting down: has stopped everything, exits soon (N32)
	restarting           // its process is down, its instances run on (N33)
	gone                 // dead, with all that it ran
)

func (s deaStatus) String() string {
	return [...]string{"serving", "evacuating", "stopping", "restarting", "gone"}[s]
}

// dea is one DEA. Its fields are guarded by fleet.mu.
type dea struct {
	id     string // new at each start of its process
	lane   *lane
	status deaStatus
	paused bool      // cut off: silent and deaf, its instances run on
	bailAt time.Time // when an evacuating DEA leaves, whatever still runs

	instances []*instance // in the order of their start
	crashes   int         // how many of them are CRASHED
	seat      seat

	due     time.Time // the next beat by the timer
	dueAt   int       // place in the lane's heap, -1 if it has no timer
	wanted  bool      // a beat besides the timer is asked for
	stale   bool      // payload no longer tells what is
	payload []byte    // the encoded heartbeat; written and read by the lane's goroutine only
}

// speaks reports whether the DEA sends and hears.
func (d *dea) speaks() bool {
	return !d.paused && (d.status == serving || d.status == evacuating || d.status == stopping)
}

// addDEA makes a DEA with its own id on a lane. It beats for the first time at due.
func (f *fleet) addDEA(l *lane, due time.Time) *dea {
	d := &dea{id: f.mint.dea(), lane: l, due: due, dueAt: -1, stale: true}
	d.seat = seat{dea: d, order: len(f.deas), at: -1}
	f.deas = append(f.deas, d)
	f.byID[d.id] = d
	d.lane.enter(d)
	return d
}

// tick does what a DEA does when its timer fires, and reports whether it sends a heartbeat.
func (f *fleet) tick(d *dea, now time.Time) bool {
	if d.status == evacuating && !d.paused && (d.seat.instances == 0 || !now.Before(d.bailAt)) {
		f.leave(d)
		return false
	}
	if d.crashes > 0 {
		f.reap(d, now)
	}
	if d.speaks() && d.seat.placed > 0 { // its advertisement tells the CC how much it really runs
		d.seat.placed = 0
		f.pool.moved(&d.seat)
	}
	return d.speaks()
}

// reap drops crashed entries: all but the newest of an app, and those past their lifetime (N34).
func (f *fleet) reap(d *dea, now time.Time) {
	newest := map[app.GUID]*instance{}
	var drop []*instance
	oldest := now.Add(-f.opts.CrashLifetime).UnixMicro()
	for _, in := range d.instances {
		if in.state != actual.Crashed {
			continue
		}
		if in.since < oldest {
			drop = append(drop, in)
			continue
		}
		other := newest[in.app.droplet]
		switch {
		case other == nil:
			newest[in.app.droplet] = in
		case cmp.Compare(in.since, other.since) >= 0:
			newest[in.app.droplet] = in
			drop = append(drop, other)
		default:
			drop = append(drop, in)
		}
	}
	for _, in := range drop {
		f.evict(in)
	}
}

// leave ends a DEA for good, with all that it runs.
func (f *fleet) leave(d *dea) {
	for _, in := range slices.Clone(d.instances) {
		f.evict(in)
	}
	d.status, d.paused = gone, false
	d.lane.quit(d)
	delete(f.byID, d.id)
}

// kill is the sudden death of a DEA's machine. The CC places on it until its last advertisement expires.
func (f *fleet) kill(d *dea) error {
	if d.status == gone {
		return stands(d, "killed")
	}
	ran := d.seat.instances
	f.leave(d)
	d.seat.expires, d.seat.held = time.Now().Add(f.opts.AdvertiseTTL), ran
	f.pool.moved(&d.seat)
	return nil
}

func (f *fleet) pause(d *dea) error {
	if !d.speaks() {
		return stands(d, "paused")
	}
	d.paused = true
	d.seat.expires = time.Now().Add(f.opts.AdvertiseTTL)
	f.touchAll(d)
	return nil
}

func (f *fleet) resume(d *dea) error {
	if !d.paused {
		return stands(d, "resumed")
	}
	d.paused = false
	if d.status == serving {
		f.pool.add(&d.seat)
	}
	f.touchAll(d)
	d.lane.wantBeat(d)
	return nil
}

// restart ends the DEA's process and brings it back under a new id. What ran goes on running and keeps its guids;
// what was starting has crashed, what was evacuating is not in the snapshot, and old crashes are announced again
// (N12, N31, N33). A dead DEA comes back empty.
func (f *fleet) restart(d *dea) error {
	if d.status == restarting || d.status == stopping {
		return stands(d, "restarted")
	}
	if d.status != gone {
		d.lane.quit(d)
		delete(f.byID, d.id)
	}
	f.pool.remove(&d.seat)
	d.status, d.paused = restarting, false
	f.touchAll(d)
	f.timeline.after(f.opts.RestartDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d.status != restarting {
			return
		}
		d.id, d.status, d.stale = f.mint.dea(), serving, true
		d.due = time.Now().Add(f.opts.HeartbeatPeriod)
		f.byID[d.id] = d
		f.touchAll(d)
		d.lane.enter(d)
		for _, in := range slices.Clone(d.instances) {
			switch in.state {
			case actual.Starting:
				f.crash(in, "was starting when the DEA restarted")
			case actual.Evacuating:
				f.evict(in)
			case actual.Crashed:
				f.turn(in, actual.Crashed)
				d.lane.announce(in, actual.ExitCrashed, "app instance exited")
			}
		}
		d.lane.wantBeat(d) // N04
	})
	return nil
}

func (f *fleet) evacuate(d *dea) error {
	if d.status != serving || d.paused {
		return stands(d, "evacuated")
	}
	now := time.Now()
	d.status, d.bailAt = evacuating, now.Add(f.opts.EvacuationBailOut)
	f.pool.remove(&d.seat)
	d.lane.announceShutdown(d)
	for _, in := range d.instances {
		if !in.state.Live() {
			continue
		}
		f.turn(in, actual.Evacuating)
		if f.opts.Exits >= ExitsEvacuations {
			d.lane.announce(in, actual.ExitEvacuation, "evacuating")
		}
	}
	d.lane.setDue(d, now.Add(f.opts.HeartbeatPeriod/2))
	d.lane.wantBeat(d)
	return nil
}

// shutDown ends a DEA as a deploy does: everything stops at once, unannounced but for the oldest DEAs, and the
// process exits a little later.
func (f *fleet) shutDown(d *dea) error {
	if !d.speaks() || d.status == stopping {
		return stands(d, "shut down")
	}
	d.status = stopping
	f.pool.remove(&d.seat)
	d.lane.announceShutdown(d)
	for _, in := range slices.Clone(d.instances) {
		if f.opts.Exits >= ExitsAll && in.state != actual.Crashed {
			d.lane.announce(in, actual.ExitShutdown, "DEA is shutting down")
		}
		f.evict(in)
	}
	d.lane.wantBeat(d)
	f.timeline.after(f.opts.RestartDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d.status == stopping {
			f.leave(d)
		}
	})
	return nil
}

// touchAll has everything on a DEA counted anew.
func (f *fleet) touchAll(d *dea) {
	for _, in := range d.instances {
		f.touch(in.app)
	}
}

func stands(d *dea, what string) error {
	status := d.status.String()
	if d.paused {
		status = "paused"
	}
	return fmt.Errorf("%w: DEA %s is %s and cannot be %s", ErrConflict, d.id, status, what)
}
