package reconcile

import (
	"slices"

	"hm/actual"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// Knowledge is the part of a decision's input that is not recorded: what the deciding node itself knows.
type Knowledge struct {
	Reads diff.Reads
	Held  []string // the gate's reasons
	// Quiet reports whether an instance may have gone, though it is recorded (actual.Located.Quiet). nil: not known, none
	// has.
	Quiet func(dea string, instance app.GUID) bool
	// Unplaced gives when each entry of an app was first heard that names no index which can be read, sorted, in hm time.
	// nil: not known, there are none.
	Unplaced func(app.Key) []app.Time
}

// Gather collects everything that is known of one app. It reuses in's slices.
func Gather(in *diff.Input, view *raftfsm.State, k app.Key, know Knowledge) {
	*in = diff.Input{
		Key: k, Read: know.Reads, Held: know.Held,
		Instances: view.Instances(in.Instances[:0], k), Outstanding: in.Outstanding[:0], Crashes: view.Crashes(k),
	}
	know.quiet(in.Instances)
	if know.Unplaced != nil {
		in.Unplaced = know.Unplaced(k)
	}
	in.OtherGrewAt = view.OthersGrewAt(k)
	if a, ok := view.App(k); ok {
		in.GrewAt = a.GrewAt
		if a.HasDesired {
			in.Desired = &a.Desired
		}
	}
	if in.Desired == nil {
		in.DesiredVersion = view.DesiredVersion(k.Droplet)
		if !in.DesiredVersion.IsZero() {
			in.Elsewhere = served(view, app.Key{Droplet: k.Droplet, Version: in.DesiredVersion}, know)
		}
	}
	for _, c := range view.Commands(k) {
		in.Outstanding = append(in.Outstanding, c.Outstanding())
	}
}

// served says how an app that is wanted is served.
func served(view *raftfsm.State, k app.Key, know Knowledge) diff.Served {
	a, known := view.App(k)
	if !known || !a.HasDesired || !a.Desired.Wanted() {
		return diff.Served{}
	}
	instances := view.Instances(nil, k)
	know.quiet(instances)
	return diff.ServedBy(a.Desired.Instances, instances)
}

// quiet notes which instances may have gone.
func (know Knowledge) quiet(instances []actual.Located) {
	if know.Quiet == nil {
		return
	}
	for i := range instances {
		instances[i].Quiet = know.Quiet(instances[i].DEA, instances[i].GUID)
	}
}

// Settled reports whether diff.App would keep every instance of an app and miss none, at a fraction of the price of
// asking it. It may say no when that is so, as diff.Tally does. Outstanding commands are not part of it.
func Settled(view *raftfsm.State, k app.Key) bool {
	var t diff.Tally
	if a, _ := view.EachInstanceOf(k, t.Add); a.HasDesired {
		return t.Settled(a.Desired)
	}
	return t.SettledUndesired()
}

// Pass finds the apps of a whole fleet that are worth a look. It keeps its buffers between passes and is not
// safe for concurrent use.
type Pass struct {
	tallies []diff.Tally
	desired []bool
	known   []bool // by index of one app
}

// Unsettled gives the keys of all apps that diff.App may find something about or that have outstanding commands,
// sorted. It reads every instance once (I9: the anti-entropy pass).
func (p *Pass) Unsettled(view *raftfsm.State) []app.Key {
	p.tally(view)
	p.desired = slices.Grow(p.desired[:0], len(p.tallies))[:len(p.tallies)]
	clear(p.desired)
	var keys []app.Key
	add := func(h raftfsm.Handle) {
		if k, ok := view.KeyOf(h); ok {
			keys = append(keys, k)
		}
	}
	view.EachDesired(func(h raftfsm.Handle, d desired.App) bool {
		p.desired[h] = true
		if !p.tallies[h].Settled(d) {
			add(h)
		}
		return true
	})
	for h := range p.tallies {
		if !p.desired[h] && !p.tallies[h].SettledUndesired() {
			add(raftfsm.Handle(h))
		}
	}
	for c := range view.AllCommands() {
		keys = append(keys, c.App)
	}
	slices.SortFunc(keys, app.Key.Compare)
	return slices.Compact(keys)
}

// tally sums up the recorded instances of each app.
func (p *Pass) tally(view *raftfsm.State) {
	n := view.Handles()
	p.tallies = slices.Grow(p.tallies[:0], n)[:n]
	clear(p.tallies)
	view.EachInstance(func(h raftfsm.Handle, index uint32, s actual.State) { p.tallies[h].Add(index, s) })
}

// forget has known say nothing of so many indices.
func (p *Pass) forget(indices uint32) {
	p.known = slices.Grow(p.known[:0], int(indices))[:indices]
	clear(p.known)
}

// AppDrift is one app's findings other than Keep.
type AppDrift struct {
	Key      app.Key
	Findings []diff.Finding
}

// Drift finds all drift of the recorded state, sorted by app: the same functions that the leader decides with.
// visit returns false to stop early.
func (p *Pass) Drift(view *raftfsm.State, know Knowledge, now app.Time, policy diff.Policy, visit func(AppDrift) bool) {
	var in diff.Input
	var findings []diff.Finding
	for _, k := range p.Unsettled(view) {
		Gather(&in, view, k, know)
		findings = diff.App(findings[:0], &in, now, policy)
		drift := AppDrift{Key: k}
		for _, f := range findings {
			if f.Kind != diff.KindNone {
				drift.Findings = append(drift.Findings, f)
			}
		}
		if len(drift.Findings) > 0 && !visit(drift) {
			return
		}
	}
}
