package fleet

import (
	"iter"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// instance is one instance on one DEA. Its fields are guarded by Fleet.mu.
type instance struct {
	guid    app.GUID
	app     *presence
	version app.GUID
	index   uint32
	state   actual.State
	since   int64 // microseconds since the epoch
	dea     *dea  // nil once the DEA no longer lists it
	at      int   // position in app.instances

	changing bool // it is STARTING because of the unrest

	endpoint *endpoint // where it serves HTTP; nil if it does not
}

// presence is everything that the DEAs list of one droplet, whatever its version and whether the Cloud Controller
// knows it.
type presence struct {
	droplet   app.GUID
	instances []*instance // in no particular order
	changed   bool        // in Fleet.changed
	uris      []string    // by which users reach its instances

	crashLoop  bool // instances crash once they have run for crashAfter
	crashAfter time.Duration
}

// all gives the instances as they are shown.
func (p *presence) all() iter.Seq[Instance] {
	return func(yield func(Instance) bool) {
		for _, in := range p.instances {
			view := Instance{
				App: app.Key{Droplet: p.droplet, Version: in.version}, Index: in.index, GUID: in.guid, State: in.state,
				Since: time.UnixMicro(in.since).UTC(), DEA: in.dea.id, CutOff: !in.dea.connected(),
			}
			if in.endpoint != nil {
				view.Address = in.endpoint.address()
			}
			if !yield(view) {
				return
			}
		}
	}
}

// presence finds or makes the presence of a droplet.
func (f *Fleet) presence(droplet app.GUID) *presence {
	p := f.apps[droplet]
	if p == nil {
		p = &presence{droplet: droplet}
		f.apps[droplet] = p
		f.touch(p)
	}
	return p
}

// setURIs sets the names by which users reach an app. Only a fleet that serves keeps them.
func (p *presence) setURIs(f *Fleet, uris []string) {
	if f.opts.Serve && !slices.Equal(p.uris, uris) && len(uris) <= wire.MaxRouteURIs {
		p.uris = uris
	}
}

// touch marks a droplet to be counted again.
func (f *Fleet) touch(p *presence) {
	if !p.changed {
		p.changed = true
		f.changed = append(f.changed, p)
	}
}

// touchAll marks all droplets on a DEA to be counted again.
func (f *Fleet) touchAll(d *dea) {
	for _, in := range d.instances {
		f.touch(in.app)
	}
}

// add puts a new instance on a DEA.
func (f *Fleet) add(d *dea, key app.Key, index uint32, st actual.State) *instance {
	p := f.presence(key.Droplet)
	in := &instance{guid: f.ids.Instance(), app: p, version: key.Version, index: index, state: st,
		since: time.Now().UnixMicro(), dea: d, at: len(p.instances)}
	p.instances = append(p.instances, in)
	d.instances = append(d.instances, in)
	d.stale = true
	d.inPool.instances++
	d.inPool.placed = max(0, d.inPool.placed-1)
	f.pool.moved(&d.inPool)
	f.touch(p)
	return in
}

// remove takes an instance that was stopped off its DEA's list.
func (f *Fleet) remove(in *instance) {
	d, p := in.dea, in.app
	d.conn.unregister(in)
	f.hangUp(in, true)
	d.instances = slices.DeleteFunc(d.instances, func(o *instance) bool { return o == in })
	if in.state == actual.Crashed {
		d.crashes--
	} else {
		d.inPool.instances--
		f.pool.moved(&d.inPool)
	}
	d.stale = true
	in.dea = nil
	f.touch(p)
	last := len(p.instances) - 1
	p.instances[in.at] = p.instances[last]
	p.instances[in.at].at = in.at
	p.instances[last] = nil
	p.instances = p.instances[:last]
}

func (f *Fleet) setState(in *instance, st actual.State) {
	in.state, in.since = st, time.Now().UnixMicro()
	in.dea.stale = true
	f.touch(in.app)
}

// start starts an instance on a DEA: STARTING now, RUNNING or crashed after the start delay.
func (f *Fleet) start(d *dea, key app.Key, index uint32, uris []string) {
	f.presence(key.Droplet).setURIs(f, uris)
	in := f.add(d, key, index, actual.Starting)
	delay := f.opts.StartDelay
	if f.opts.StartJitter > 0 {
		delay += time.Duration(f.ids.Int64N(int64(f.opts.StartJitter)))
	}
	fails := f.ids.Chance(f.startFailure)
	f.opts.After(delay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case in.dea == nil || in.state != actual.Starting:
		case fails:
			f.crash(in, "failed to start")
		default:
			f.setState(in, actual.Running)
			f.serve(in)
			in.dea.conn.register(in)
			in.dea.conn.heartbeatNow(in.dea) // N04
			f.scheduleCrash(in)
		}
	})
}

// scheduleCrash has a running instance of a crash-looping app crash after crashAfter.
func (f *Fleet) scheduleCrash(in *instance) {
	p := in.app
	if !p.crashLoop {
		return
	}
	since := in.since
	f.opts.After(p.crashAfter, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p.crashLoop && in.dea != nil && in.state == actual.Running && in.since == since {
			f.crash(in, "app instance exited")
		}
	})
}

// crash makes a starting or running instance crash. Its DEA announces the exit, but sends no heartbeat for it (N04).
// The process of an evacuating instance dies unannounced (N31), so nothing changes for it.
func (f *Fleet) crash(in *instance, why string) bool {
	if !in.state.Live() {
		return false
	}
	d := in.dea
	d.conn.unregister(in)
	f.hangUp(in, false)
	f.setState(in, actual.Crashed)
	d.crashes++
	d.inPool.instances--
	f.pool.moved(&d.inPool)
	d.conn.announceExit(in, actual.ExitCrashed, why)
	return true
}

// stop stops what the filter names on those DEAs of one connection that can receive it.
func (f *Fleet) stop(c *connection, filter wire.Stop) {
	p := f.apps[filter.Droplet]
	if p == nil {
		return
	}
	for i := len(p.instances) - 1; i >= 0; i-- { // remove moves the last one into the gap
		in := p.instances[i]
		if in.dea.conn != c || !in.dea.connected() || !matches(filter, in) {
			continue
		}
		if f.opts.Exits >= ExitsAll {
			c.announceExit(in, actual.ExitStopped, "stopped")
		}
		f.remove(in)
	}
}

func matches(s wire.Stop, in *instance) bool {
	return in.state != actual.Crashed &&
		(s.Version.IsZero() || s.Version == in.version) &&
		(len(s.Instances) == 0 || slices.Contains(s.Instances, in.guid)) &&
		(len(s.Indices) == 0 || slices.Contains(s.Indices, in.index)) &&
		(len(s.States) == 0 || slices.Contains(s.States, in.state.String()))
}
