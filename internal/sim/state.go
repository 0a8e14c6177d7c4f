package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

// State compares desired and actual, as the simulation knows them. Instances on DEAs that are paused or restarting
// count as cut off and as nothing else: no health manager can know of them or stop them.
type State struct {
	At time.Time `json:"at"`
	// Converged: every index of every STARTED and STAGED app has exactly one live instance, RUNNING, and none
	// evacuating, and nothing runs that is not wanted.
	Converged bool `json:"converged"`

	Connections int `json:"connections"` // to NATS, of the DEAs and the CC
	Connected   int `json:"connected"`   // of these, those that are up

	DEAs           int `json:"deas"` // that send and receive
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
	Lost       uint64 `json:"lost"`       // messages not published, mostly because NATS was away

	Routes   int      `json:"routes,omitempty"`  // endpoints that the router knows
	Requests Requests `json:"requests,omitzero"` // of the users

	Commands cc.Counts `json:"commands"`
}

// State gives the present state. It costs time in proportion to the apps that changed since the last call.
func (s *Sim) State() State {
	var st State
	s.CC.Read(func(v cc.View) {
		t, deas := s.totals.recount(s.Fleet, v)
		st = State{
			At: time.Now(), Converged: t.converged(),
			DEAs: deas.Connected, DEAsPaused: deas.Paused, DEAsEvacuating: deas.Evacuating,
			DEAsRestarting: deas.Restarting, DEAsGone: deas.Gone,
			Apps: t.apps, AppsWanted: t.wanted, Desired: t.desired, Settled: t.settled, Missing: t.missing,
			Duplicate: t.duplicate, Undesired: t.undesired,
			Starting: t.starting, Running: t.running, Crashed: t.crashed, Evacuating: t.evacuating, CutOff: t.cutOff,
			Commands: v.Counts(),
		}
	})
	traffic := s.Fleet.Traffic()
	st.Connections, st.Connected = traffic.Connections+1, traffic.Connected
	if s.Router != nil {
		r := s.Router.Status()
		st.Routes, st.Requests = r.Endpoints, s.users.counts()
		st.Connections++
		if r.NATS {
			st.Connected++
		}
	}
	st.Heartbeats, st.Exits = traffic.Heartbeats, traffic.Exits
	up, lost := s.CC.Connected()
	if up {
		st.Connected++
	}
	st.Lost = traffic.Lost + lost
	return st
}

// Await waits until reached returns true for the state, and returns that state, or the last one with the context's
// error.
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
			return st, fmt.Errorf("the simulation did not reach the state: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// AppView is an app with its instances.
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
	CutOff  bool      `json:"cut_off,omitempty"` // its DEA neither sends nor receives
	Address string    `json:"address,omitempty"` // where it serves HTTP
}

func viewInstance(in fleet.Instance) InstanceView {
	return InstanceView{
		App: in.App.Droplet, Version: in.App.Version, Index: in.Index, GUID: in.GUID, State: in.State.String(),
		Since: in.Since, DEA: in.DEA, CutOff: in.CutOff, Address: in.Address,
	}
}

// App gives one app.
func (s *Sim) App(guid app.GUID) (view AppView, err error) {
	s.CC.Read(func(v cc.View) {
		row, ok := v.App(guid)
		if !ok {
			err = wire.NoApp(guid)
			return
		}
		view = s.viewApp(row)
	})
	return view, err
}

// Apps gives at most n apps whose row id is above after, in ascending order.
func (s *Sim) Apps(after int64, n int) (views []AppView) {
	s.CC.Read(func(v cc.View) {
		rows := v.Apps(after, n)
		views = make([]AppView, len(rows))
		for i, r := range rows {
			views[i] = s.viewApp(r)
		}
	})
	return views
}

func (s *Sim) viewApp(r cc.Row) AppView {
	v := AppView{
		ID: r.ID, GUID: r.GUID, Version: r.Version, Instances: r.Instances, State: r.State.String(),
		PackageState: r.Package.String(), Diego: r.Diego, UpdatedAt: r.UpdatedAt.UTC(), Running: []InstanceView{},
	}
	instances := s.Fleet.Instances(r.GUID)
	for _, in := range instances {
		v.Running = append(v.Running, viewInstance(in))
	}
	slices.SortFunc(v.Running, func(a, b InstanceView) int {
		if a.Index != b.Index {
			return int(a.Index) - int(b.Index)
		}
		return a.GUID.Compare(b.GUID)
	})
	var scratch []indexTally
	t := count(r, true, slices.Values(instances), &scratch)
	v.Settled = t.converged()
	return v
}
