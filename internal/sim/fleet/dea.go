package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// deaStatus is the state of a DEA's process.
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

// dea is one DEA. Its fields are guarded by Fleet.mu.
type dea struct {
	id     string // new at each start of its process
	conn   *connection
	status deaStatus
	paused bool      // cut off: sends and receives nothing, its instances run on
	bailAt time.Time // when an evacuating DEA leaves, whatever still runs

	instances []*instance // in the order of their start
	crashes   int         // how many of them are CRASHED
	inPool    poolEntry

	due     time.Time // when the timer sends the next heartbeat
	dueAt   int       // position in the connection's heap, -1 if it has no timer
	wanted  bool      // a heartbeat without the timer was asked for
	stale   bool      // payload is out of date
	payload []byte    // the encoded heartbeat; written and read by the connection's goroutine only
	encoded uint64    // the connection's batch for which payload was encoded
	poster  *poster   // nil: the DEA sends its heartbeats over NATS alone
}

// connected reports whether the DEA sends and receives.
func (d *dea) connected() bool {
	return !d.paused && (d.status == serving || d.status == evacuating || d.status == stopping)
}

// addDEA makes a DEA with its own id on a connection. Its first heartbeat is at due.
func (f *Fleet) addDEA(c *connection, due time.Time) *dea {
	d := &dea{id: f.ids.DEA(), conn: c, due: due, dueAt: -1, stale: true}
	if f.opts.Post.posts(len(f.deas)) {
		d.poster = newPoster(c)
	}
	d.inPool = poolEntry{dea: d, order: len(f.deas), at: -1}
	f.deas = append(f.deas, d)
	f.byID[d.id] = d
	d.conn.join(d)
	return d
}

// tick does what a DEA does when its timer fires, and reports whether it sends a heartbeat.
func (f *Fleet) tick(d *dea, now time.Time) bool {
	if d.status == evacuating && !d.paused {
		switch {
		case !d.conn.nc.IsConnected():
			// Without NATS nobody can start its instances elsewhere. It waits, and for the whole time once NATS is back.
			d.bailAt = now.Add(f.opts.EvacuationBailOut)
		case d.inPool.instances == 0 || !now.Before(d.bailAt):
			f.leave(d)
			return false
		}
	}
	if f.unrest != (Unrest{}) && d.connected() {
		f.stir(d)
	}
	if d.crashes > 0 {
		f.reap(d, now)
	}
	if d.connected() && d.inPool.placed > 0 { // its advertisement reports what it really runs
		d.inPool.placed = 0
		f.pool.moved(&d.inPool)
	}
	return d.connected()
}

// reap drops crashed entries: all but the newest of an app, and those past their lifetime (N34).
func (f *Fleet) reap(d *dea, now time.Time) {
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
		f.remove(in)
	}
}

// leave ends a DEA for good, with all that it runs.
func (f *Fleet) leave(d *dea) {
	for _, in := range slices.Clone(d.instances) {
		f.remove(in)
	}
	d.status, d.paused = gone, false
	d.conn.quit(d)
	delete(f.byID, d.id)
}

// die breaks off everything that a DEA runs: its routers are not told.
func (f *Fleet) die(d *dea) {
	for _, in := range d.instances {
		f.hangUp(in, false)
	}
}

// kill is the sudden death of a DEA's machine. The Cloud Controller places on it until its last
// advertisement expires.
func (f *Fleet) kill(d *dea) error {
	if d.status == gone {
		return cannotBe(d, "killed")
	}
	ran := d.inPool.instances
	f.die(d)
	f.leave(d)
	d.inPool.expires, d.inPool.held = time.Now().Add(f.opts.AdvertiseTTL), ran
	f.pool.moved(&d.inPool)
	return nil
}

func (f *Fleet) pause(d *dea) error {
	if !d.connected() {
		return cannotBe(d, "paused")
	}
	d.paused = true
	d.inPool.expires = time.Now().Add(f.opts.AdvertiseTTL)
	f.touchAll(d)
	return nil
}

func (f *Fleet) resume(d *dea) error {
	if !d.paused {
		return cannotBe(d, "resumed")
	}
	d.paused = false
	switch d.status {
	case serving:
		f.pool.add(&d.inPool)
	case evacuating: // while it was cut off, nobody could start its instances elsewhere
		d.bailAt = time.Now().Add(f.opts.EvacuationBailOut)
	}
	f.touchAll(d)
	d.conn.heartbeatNow(d)
	return nil
}

// restart ends the DEA's process and brings it back under a new id. Running instances run on and keep their guids;
// starting ones have crashed, evacuating ones are not in the snapshot, and old crashes are announced again (N12, N31,
// N33). A dead DEA comes back empty.
func (f *Fleet) restart(d *dea) error {
	if d.status == restarting || d.status == stopping {
		return cannotBe(d, "restarted")
	}
	if d.status != gone {
		d.conn.quit(d)
		delete(f.byID, d.id)
	}
	f.pool.remove(&d.inPool)
	d.status, d.paused = restarting, false
	f.touchAll(d)
	f.opts.After(f.opts.RestartDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d.status != restarting {
			return
		}
		d.id, d.status, d.stale = f.ids.DEA(), serving, true
		d.due = time.Now().Add(f.opts.HeartbeatPeriod)
		f.byID[d.id] = d
		f.touchAll(d)
		d.conn.join(d)
		for _, in := range slices.Clone(d.instances) {
			switch in.state {
			case actual.Starting:
				f.crash(in, "was starting when the DEA restarted")
			case actual.Evacuating:
				f.hangUp(in, false)
				f.remove(in)
			case actual.Crashed:
				f.setState(in, actual.Crashed)
				d.conn.announceExit(in, actual.ExitCrashed, "app instance exited")
			default:
				d.conn.register(in)
			}
		}
		d.conn.heartbeatNow(d) // N04
	})
	return nil
}

func (f *Fleet) evacuate(d *dea) error {
	if d.status != serving || d.paused {
		return cannotBe(d, "evacuated")
	}
	now := time.Now()
	d.status, d.bailAt = evacuating, now.Add(f.opts.EvacuationBailOut)
	f.pool.remove(&d.inPool)
	d.conn.announceShutdown(d)
	for _, in := range d.instances {
		if !in.state.Live() {
			continue
		}
		f.setState(in, actual.Evacuating)
		if f.opts.Exits >= ExitsEvacuations {
			d.conn.announceExit(in, actual.ExitEvacuation, "evacuating")
		}
	}
	d.conn.setDue(d, now.Add(f.opts.HeartbeatPeriod/2))
	d.conn.heartbeatNow(d)
	return nil
}

// shutDown ends a DEA as a deploy does: everything stops at once, which only the oldest DEAs announce, and the process
// exits a little later.
func (f *Fleet) shutDown(d *dea) error {
	if !d.connected() || d.status == stopping {
		return cannotBe(d, "shut down")
	}
	d.status = stopping
	f.pool.remove(&d.inPool)
	d.conn.announceShutdown(d)
	for _, in := range slices.Clone(d.instances) {
		if f.opts.Exits >= ExitsAll && in.state != actual.Crashed {
			d.conn.announceExit(in, actual.ExitShutdown, "DEA is shutting down")
		}
		f.remove(in)
	}
	d.conn.heartbeatNow(d)
	f.opts.After(f.opts.RestartDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d.status == stopping {
			f.leave(d)
		}
	})
	return nil
}

func cannotBe(d *dea, what string) error {
	status := d.status.String()
	if d.paused {
		status = "paused"
	}
	return fmt.Errorf("%w: DEA %s is %s and cannot be %s", wire.ErrConflict, d.id, status, what)
}
