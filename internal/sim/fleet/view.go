package fleet

import (
	"iter"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// Recount calls count for every app whose instances, or whose row at the Cloud Controller, changed since the last
// call. count reports whether the Cloud Controller knows the app; one that it does not know and of which nothing runs
// is forgotten. The totals of the DEAs are returned. The fleet is locked meanwhile.
func (f *Fleet) Recount(count func(droplet app.GUID, instances iter.Seq[Instance]) (known bool)) DEATotals {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.changed {
		p.changed = false
		if !count(p.droplet, p.all()) && len(p.instances) == 0 {
			delete(f.apps, p.droplet)
		}
	}
	clear(f.changed)
	f.changed = f.changed[:0]
	var t DEATotals
	for _, d := range f.deas {
		switch {
		case d.paused:
			t.Paused++
		case d.status == gone:
			t.Gone++
		case d.status == restarting:
			t.Restarting++
		default:
			t.Connected++
			if d.status == evacuating {
				t.Evacuating++
			}
		}
	}
	return t
}

// DEATotals counts the DEAs by status.
type DEATotals struct {
	Connected  int // that send and receive
	Evacuating int // part of Connected
	Paused     int
	Restarting int
	Gone       int
}

// Traffic is what the fleet's connections to NATS did so far.
type Traffic struct {
	Connections int    // open ones
	Connected   int    // of these, those that are up
	Heartbeats  uint64 // published
	Routes      uint64 // router.register and router.unregister published
	Exits       uint64 // droplet.exited and dea.shutdown published
	Lost        uint64 // not published because NATS was away or too many messages waited
}

// Traffic gives the counts so far.
func (f *Fleet) Traffic() Traffic {
	var t Traffic
	for _, c := range f.connectionsNow() {
		t.Connections++
		if c.nc.IsConnected() {
			t.Connected++
		}
		t.Heartbeats += c.heartbeats.Load()
		t.Exits += c.exits.Load()
		t.Routes += c.routes.Load()
		t.Lost += c.lost.Load()
	}
	return t
}

// Instance is an instance on a DEA.
type Instance struct {
	App    app.Key
	Index  uint32
	GUID   app.GUID
	State  actual.State
	Since  time.Time // when it got its state
	DEA    string
	CutOff bool // its DEA neither sends nor receives

	Address string // where it serves HTTP, host:port; empty: it does not
}

// Instances gives everything that DEAs list of a droplet, known to the Cloud Controller or not, in no order.
func (f *Fleet) Instances(droplet app.GUID) []Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.apps[droplet]
	if p == nil {
		return []Instance{}
	}
	return slices.AppendSeq(make([]Instance, 0, len(p.instances)), p.all())
}

// DEA is a DEA as it is shown.
type DEA struct {
	Number     int    `json:"number"` // from 0, in order of creation; stays when a restart changes the id
	ID         string `json:"id"`
	Status     string `json:"status"` // serving, evacuating, stopping, restarting, gone
	Paused     bool   `json:"paused"`
	Live       int    `json:"live"` // instances that are not crashed
	Crashed    int    `json:"crashed"`
	Connection bool   `json:"connection"` // to NATS
}

// DEAs gives at most n DEAs numbered from the given number on, dead ones included.
func (f *Fleet) DEAs(from, n int) []DEA {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.deas
	from = min(max(from, 0), len(all))
	all = all[from:min(len(all), from+max(n, 0))]
	list := make([]DEA, len(all))
	for i, d := range all {
		list[i] = d.view()
	}
	return list
}

// DEA gives one DEA by its present id. It returns wire.ErrNotFound if there is none.
func (f *Fleet) DEA(id string) (DEA, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.find(id)
	if err != nil {
		return DEA{}, err
	}
	return d.view(), nil
}

func (d *dea) view() DEA {
	return DEA{
		Number: d.inPool.order, ID: d.id, Status: d.status.String(), Paused: d.paused, Live: d.inPool.instances,
		Crashed: d.crashes, Connection: d.conn.nc.IsConnected(),
	}
}
