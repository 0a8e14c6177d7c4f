package sim

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// fleet is all DEAs and everything that runs on them: the truth that heartbeats tell of.
type fleet struct {
	opts     Options
	log      *slog.Logger
	timeline *timeline

	mu           sync.Mutex
	mint         mint
	deas         []*dea // every DEA that ever was, in order of creation
	byID         map[string]*dea
	apps         map[app.GUID]*presence
	dirty        []*presence // whose tally is to be counted anew
	totals       tally
	pool         pool
	startFailure float64 // share of starting instances that crash instead of running
}

func newFleet(o Options, t *timeline) *fleet {
	return &fleet{opts: o, log: o.Logger, timeline: t, mint: newMint(o.Seed, "fleet"), byID: map[string]*dea{}, apps: map[app.GUID]*presence{}}
}

// instance is one instance on one DEA. Its fields are guarded by fleet.mu.
type instance struct {
	guid    app.GUID
	app     *presence
	version app.GUID
	index   uint32
	state   actual.State
	since   int64 // microseconds since the epoch
	dea     *dea  // nil once the DEA no longer lists it
	at      int   // place in app.instances
}

// presence is everything that the DEAs hold of one droplet, whatever its version and whether the CC knows it.
type presence struct {
	droplet   app.GUID
	instances []*instance // in no particular order

	crashLoop  bool // instances crash once they have run for crashAfter
	crashAfter time.Duration

	counted tally // this droplet's part of fleet.totals
	dirty   bool
}

// presence finds or makes what is held of a droplet.
func (f *fleet) presence(droplet app.GUID) *presence {
	p := f.apps[droplet]
	if p == nil {
		p = &presence{droplet: droplet}
		f.apps[droplet] = p
		f.touch(p)
	}
	return p
}

// touch marks a droplet to be counted anew.
func (f *fleet) touch(p *presence) {
	if !p.dirty {
		p.dirty = true
		f.dirty = append(f.dirty, p)
	}
}

// changed tells the fleet that the CC's row of a droplet is another now.
func (f *fleet) changed(droplet app.GUID) {
	f.mu.Lock()
	f.touch(f.presence(droplet))
	f.mu.Unlock()
}

// admit puts a new instance on a DEA.
func (f *fleet) admit(d *dea, key app.Key, index uint32, st actual.State) *instance {
	p := f.presence(key.Droplet)
	in := &instance{guid: f.mint.instance(), app: p, version: key.Version, index: index, state: st, since: time.Now().UnixMicro(), dea: d, at: len(p.instances)}
	p.instances = append(p.instances, in)
	d.instances = append(d.instances, in)
	d.stale = true
	d.seat.instances++
	d.seat.placed = max(0, d.seat.placed-1)
	f.pool.moved(&d.seat)
	f.touch(p)
	return in
}

// evict takes an instance off its DEA's list.
func (f *fleet) evict(in *instance) {
	d, p := in.dea, in.app
	d.instances = slices.DeleteFunc(d.instances, func(o *instance) bool { return o == in })
	f.forget(in)
	last := len(p.instances) - 1
	p.instances[in.at] = p.instances[last]
	p.instances[in.at].at = in.at
	p.instances[last] = nil
	p.instances = p.instances[:last]
}

// forget does the counting of evict, for one instance that leaves its DEA.
func (f *fleet) forget(in *instance) {
	d := in.dea
	if in.state == actual.Crashed {
		d.crashes--
	} else {
		d.seat.instances--
		f.pool.moved(&d.seat)
	}
	d.stale = true
	in.dea = nil
	f.touch(in.app)
}

// turn gives an instance another state.
func (f *fleet) turn(in *instance, st actual.State) {
	in.state, in.since = st, time.Now().UnixMicro()
	in.dea.stale = true
	f.touch(in.app)
}

// begin starts an instance on a DEA: STARTING now, RUNNING or crashed after the start delay.
func (f *fleet) begin(d *dea, key app.Key, index uint32) {
	in := f.admit(d, key, index, actual.Starting)
	delay := f.opts.StartDelay
	if f.opts.StartJitter > 0 {
		delay += time.Duration(f.mint.Int64N(int64(f.opts.StartJitter)))
	}
	fails := f.mint.hits(f.startFailure)
	f.timeline.after(delay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case in.dea == nil || in.state != actual.Starting:
		case fails:
			f.crash(in, "failed to start")
		default:
			f.turn(in, actual.Running)
			in.dea.lane.wantBeat(in.dea) // N04
			f.armCrash(in)
		}
	})
}

// armCrash lets a running instance of a crash-looping app crash when its time has come.
func (f *fleet) armCrash(in *instance) {
	p := in.app
	if !p.crashLoop {
		return
	}
	since := in.since
	f.timeline.after(p.crashAfter, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p.crashLoop && in.dea != nil && in.state == actual.Running && in.since == since {
			f.crash(in, "app instance exited")
		}
	})
}

// crash makes a starting or running instance crash, which its DEA announces but does not heartbeat at once (N04).
// The process of an evacuating one can die without anything being said (N31), so nothing changes for it.
func (f *fleet) crash(in *instance, why string) bool {
	if !in.state.Live() {
		return false
	}
	d := in.dea
	f.turn(in, actual.Crashed)
	d.crashes++
	d.seat.instances--
	f.pool.moved(&d.seat)
	d.lane.announce(in, actual.ExitCrashed, why)
	return true
}

// stopFilter is what a dea.stop asks for (N29). An empty filter does not filter.
type stopFilter struct {
	Droplet   app.GUID   `json:"droplet"`
	Version   app.GUID   `json:"version,omitzero"`
	Instances []app.GUID `json:"instances,omitempty"`
	Indices   []uint32   `json:"indices,omitempty"`
	States    []string   `json:"states,omitempty"`
}

func (s stopFilter) matches(in *instance) bool {
	return in.state != actual.Crashed &&
		(s.Version.IsZero() || s.Version == in.version) &&
		(len(s.Instances) == 0 || slices.Contains(s.Instances, in.guid)) &&
		(len(s.Indices) == 0 || slices.Contains(s.Indices, in.index)) &&
		(len(s.States) == 0 || slices.Contains(s.States, in.state.String()))
}

// stop stops what the filter names on the DEAs of one lane that can hear it.
func (f *fleet) stop(l *lane, s stopFilter) {
	p := f.apps[s.Droplet]
	if p == nil {
		return
	}
	for i := len(p.instances) - 1; i >= 0; i-- { // evict moves the last one into the gap
		in := p.instances[i]
		if in.dea.lane != l || !in.dea.speaks() || !s.matches(in) {
			continue
		}
		if f.opts.Exits >= ExitsAll {
			l.announce(in, actual.ExitStopped, "stopped")
		}
		f.evict(in)
	}
}

// liveAt counts the instances of an app that are live at an index on DEAs that speak, leaving one guid out.
func (f *fleet) liveAt(key app.Key, index uint32, without app.GUID) int {
	n := 0
	if p := f.apps[key.Droplet]; p != nil {
		for _, in := range p.instances {
			if in.version == key.Version && in.index == index && in.guid != without && in.state.Live() && in.dea.speaks() {
				n++
			}
		}
	}
	return n
}
