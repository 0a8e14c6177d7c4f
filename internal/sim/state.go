package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
)

// State is how desired and actual stand to each other, as the simulation knows it. Instances on DEAs that are
// paused or restarting count as cut off and as nothing else: nobody can hear of them or stop them.
type State struct {
	At time.Time `json:"at"`
	// Converged: every index of every STARTED and STAGED app has exactly one live instance, RUNNING, and none
	// evacuating, and nothing runs that is not wanted.
	Converged bool `json:"converged"`

	Connections int `json:"connections"` // to NATS, of the DEAs and the CC
	Connected   int `json:"connected"`   // of these, those that are up

	DEAs           int `json:"deas"` // that speak
	DEAsPaused     int `json:"deas_paused"`
	DEAsEvacuating int `json:"deas_evacuating"` // part of DEAs
	DEAsRestarting int `json:"deas_restarting"`
	DEAsGone       int `json:"deas_gone"`

	Apps       int `json:"apps"`
	AppsWanted int `json:"apps_wanted"` // STARTED, and STAGED or PENDING
	Desired    int `json:"desired"`     // indices that should run
	Settled    int `json:"settled"`     // of these, those that are as they should be
	Missing    int `json:"missing"`     // of these, those with neither a live nor an evacuating instance
	Duplicate  int `json:"duplicate"`   // live instances beyond the first at an index
	Undesired  int `json:"undesired"`   // instances that run unwanted
	Starting   int `json:"starting"`
	Running    int `json:"running"`
	Crashed    int `json:"crashed"`
	Evacuating int `json:"evacuating"`
	CutOff     int `json:"cut_off"`

	Heartbeats uint64 `json:"heartbeats"` // published
	Exits      uint64 `json:"exits"`      // droplet.exited and dea.shutdown published
	Lost       uint64 `json:"lost"`       // messages that NATS was not there for

	Commands Counts `json:"commands"`
}

// State gives the present state. It costs time in proportion to the apps that changed since the last call.
func (s *Sim) State() State {
	c, f := s.controller, s.fleet
	c.mu.Lock()
	f.mu.Lock()
	t := f.recount(c.apps.get)
	st := State{At: time.Now(), Apps: t.apps, AppsWanted: t.wanted, Desired: t.desired, Settled: t.settled, Missing: t.missing,
		Duplicate: t.duplicate, Undesired: t.undesired, Starting: t.starting, Running: t.running, Crashed: t.crashed,
		Evacuating: t.evacuating, CutOff: t.cutOff, Commands: c.history.total()}
	st.Converged = t.settled == t.desired && t.undesired == 0
	for _, d := range f.deas {
		switch {
		case d.paused:
			st.DEAsPaused++
		case d.status == gone:
			st.DEAsGone++
		case d.status == restarting:
			st.DEAsRestarting++
		default:
			st.DEAs++
			if d.status == evacuating {
				st.DEAsEvacuating++
			}
		}
	}
	f.mu.Unlock()
	c.mu.Unlock()

	s.mu.Lock()
	lanes := s.lanes
	s.mu.Unlock()
	up := func(nc *nats.Conn) {
		st.Connections++
		if nc.IsConnected() {
			st.Connected++
		}
	}
	for _, l := range lanes {
		up(l.nc)
		st.Heartbeats += l.beats.Load()
		st.Exits += l.exits.Load()
		st.Lost += l.lost.Load()
	}
	up(c.nc)
	st.Lost += c.lost.Load()
	return st
}

// Await waits until reached holds of the state, and gives the state that it held of, or the last one with the
// context's error.
func (s *Sim) Await(ctx context.Context, reached func(State) bool) (State, error) {
	tick := time.NewTicker(min(s.opts.HeartbeatPeriod, 10*time.Millisecond))
	defer tick.Stop()
	for {
		st := s.State()
		if reached(st) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("the simulation did not get there: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// AppView is an app with what runs of it.
type AppView struct {
	ID           int64          `json:"id"` // the row's
	GUID         app.GUID       `json:"guid"`
	Version      app.GUID       `json:"version"`
	Instances    int            `json:"instances"`
	State        string         `json:"state"`
	PackageState string         `json:"package_state"`
	Diego        bool           `json:"diego,omitempty"`
	UpdatedAt    time.Time      `json:"updated_at"`
	Settled      bool           `json:"settled"`
	Running      []InstanceView `json:"running"` // every instance on any DEA, in any state, by index and guid
}

// InstanceView is an instance on a DEA.
type InstanceView struct {
	App     app.GUID  `json:"app"`
	Version app.GUID  `json:"version"`
	Index   uint32    `json:"index"`
	GUID    app.GUID  `json:"instance"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	DEA     string    `json:"dea"`
	CutOff  bool      `json:"cut_off,omitempty"` // its DEA cannot speak
}

func viewInstance(in *instance) InstanceView {
	return InstanceView{App: in.app.droplet, Version: in.version, Index: in.index, GUID: in.guid, State: in.state.String(),
		Since: time.UnixMicro(in.since).UTC(), DEA: in.dea.id, CutOff: !in.dea.speaks()}
}

// App gives one app.
func (s *Sim) App(guid app.GUID) (AppView, error) {
	c := s.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	row, ok := c.apps.get(guid)
	if !ok {
		return AppView{}, noApp(guid)
	}
	return s.viewApp(row), nil
}

// Apps gives at most n apps whose row id is above after, in ascending order.
func (s *Sim) Apps(after int64, n int) []AppView {
	c := s.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	rows := c.apps.after(after, n, func(Row) bool { return true })
	views := make([]AppView, len(rows))
	for i, r := range rows {
		views[i] = s.viewApp(r)
	}
	return views
}

// viewApp is called with controller.mu held.
func (s *Sim) viewApp(r Row) AppView {
	v := AppView{ID: r.ID, GUID: r.GUID, Version: r.Version, Instances: r.Instances, State: r.State.String(), PackageState: r.Package.String(),
		Diego: r.Diego, UpdatedAt: r.UpdatedAt.UTC(), Running: []InstanceView{}}
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	p := s.fleet.apps[r.GUID]
	if p == nil {
		return v
	}
	for _, in := range p.instances {
		v.Running = append(v.Running, viewInstance(in))
	}
	slices.SortFunc(v.Running, func(a, b InstanceView) int {
		if a.Index != b.Index {
			return int(a.Index) - int(b.Index)
		}
		return a.GUID.Compare(b.GUID)
	})
	var scratch []at
	t := count(r, true, p.instances, &scratch)
	v.Settled = t.settled == t.desired && t.undesired == 0
	return v
}

// Instances gives everything that DEAs hold of a droplet, known to the Cloud Controller or not, in no order.
func (s *Sim) Instances(droplet app.GUID) []InstanceView {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	views := []InstanceView{}
	if p := s.fleet.apps[droplet]; p != nil {
		for _, in := range p.instances {
			views = append(views, viewInstance(in))
		}
	}
	return views
}

// DEAView is a DEA.
type DEAView struct {
	Number     int    `json:"number"` // from 0, in order of creation; stays when a restart changes the id
	ID         string `json:"id"`
	Status     string `json:"status"` // serving, evacuating, stopping, restarting, gone
	Paused     bool   `json:"paused"`
	Live       int    `json:"live"` // instances that are not crashed
	Crashed    int    `json:"crashed"`
	Connection bool   `json:"connection"` // to NATS
}

// DEAs gives at most n DEAs numbered from the given number on, dead ones too.
func (s *Sim) DEAs(from, n int) []DEAView {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	all := s.fleet.deas
	from = min(max(from, 0), len(all))
	all = all[from:min(len(all), from+max(n, 0))]
	views := make([]DEAView, len(all))
	for i, d := range all {
		views[i] = viewDEA(d)
	}
	return views
}

// DEA gives one DEA by its present id.
func (s *Sim) DEA(id string) (DEAView, error) {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	d := s.fleet.find(id)
	if d == nil {
		return DEAView{}, noDEA(id)
	}
	return viewDEA(d), nil
}

func viewDEA(d *dea) DEAView {
	return DEAView{Number: d.seat.order, ID: d.id, Status: d.status.String(), Paused: d.paused, Live: d.seat.instances, Crashed: d.crashes,
		Connection: d.lane.nc.IsConnected()}
}

// Commands gives at most n kept commands with a Seq above the given one, oldest first.
func (s *Sim) Commands(since uint64, n int) []Command {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	return s.controller.history.since(since, n)
}
