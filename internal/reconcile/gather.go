package reconcile

import (
	"hm/actual"
	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// Knowledge is the part of a decision's input that is not in the recorded state: what the deciding
// node itself knows.
type Knowledge struct {
	Reads diff.Reads
	// AppRead gives when the newest read of an app began, complete or of the app alone. nil: Reads
	// says so for all apps.
	AppRead func(droplet app.GUID) app.Time
	Held    []string // the gate's reasons
	// Quiet reports whether a recorded instance may be gone (actual.Located.Quiet). nil: not known,
	// none is.
	Quiet func(dea string, instance app.GUID) bool
	// Unplaced gives when each unplaced entry of an app was first heard, sorted, in hm time. nil:
	// not known, there are none.
	Unplaced func(app.Key) []app.Time
}

// gather collects everything that is known of one app. It reuses in's slices.
func gather(in *diff.Input, view *raftfsm.State, k app.Key, know Knowledge) {
	*in = diff.Input{
		Key: k, Read: know.readsOf(k.Droplet), Held: know.Held,
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
		in.Foreign = mayBeForeign(view, k.Droplet, in.DesiredVersion)
	}
	for _, c := range view.Commands(k) {
		in.Outstanding = append(in.Outstanding, c.Outstanding())
	}
}

// readsOf is what is known about the reads of one app's desired state.
func (know Knowledge) readsOf(droplet app.GUID) diff.Reads {
	reads := know.Reads
	if know.AppRead != nil {
		reads.Began = max(reads.Began, know.AppRead(droplet))
	}
	return reads
}

// served says how well the wanted indices of an app are served.
func served(view *raftfsm.State, k app.Key, know Knowledge) diff.Served {
	a, known := view.App(k)
	if !known || !a.HasDesired || !a.Desired.Wanted() {
		return diff.Served{}
	}
	instances := view.Instances(nil, k)
	know.quiet(instances)
	return diff.ServedBy(a.Desired.Instances, instances)
}

// quiet marks the instances that may be gone.
func (know Knowledge) quiet(instances []actual.Located) {
	if know.Quiet == nil {
		return
	}
	for i := range instances {
		instances[i].Quiet = know.Quiet(instances[i].DEA, instances[i].GUID)
	}
}

// Settled reports, in a fraction of the time of an evaluation, that diff.App would keep every
// instance of an app and miss none, while no instance is STARTING for too long. Like diff.Tally it
// may say no where that is so. It does not look at outstanding commands.
func Settled(view *raftfsm.State, k app.Key) bool {
	var t diff.Tally
	return settled(view, k, &t)
}

// settled is Settled, and sums up the app's instances in t.
func settled(view *raftfsm.State, k app.Key, t *diff.Tally) bool {
	if a, _ := view.EachInstanceOf(k, t.Add); a.HasDesired {
		return t.Settled(a.Desired)
	}
	return t.SettledUndesired()
}
