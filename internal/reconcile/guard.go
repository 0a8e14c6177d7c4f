package reconcile

import (
	"fmt"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Guard holds the limits beyond which hm holds instead of acting. 0 turns a guard off.
type Guard struct {
	DesiredShrink float64 // share of the wanted droplets that one read may drop
	MinApps       int     // below so many wanted droplets only an empty read holds
	ConfirmReads  int     // further reads that agree, after which the hold ends by itself
	MassLoss      float64 // share of the DEAs that may fall silent within one time to live
	MinDEAs       int     // below so many DEAs there is no mass loss
	MassLossHold  time.Duration
}

// Shrinks says why a complete read must not be acted on before somebody, or further reads, confirm it (W04, W36);
// empty if it may be. wantedBefore yields the recorded apps that are wanted.
func (g Guard) Shrinks(recorded func(yield func(desired.App) bool), read desired.Read) string {
	if g.DesiredShrink <= 0 {
		return ""
	}
	before, kept, same := 0, 0, 0                    // droplets: wanted so far, still wanted, in the same version
	instances, keptInstances := uint64(0), uint64(0) // of the wanted droplets
	for a := range recorded {
		if !a.Wanted() {
			continue
		}
		before++
		instances += uint64(a.Instances)
		d := a.Key.Droplet
		n, found := slices.BinarySearchFunc(read.Apps, d, func(a desired.App, d app.GUID) int { return a.Key.Droplet.Compare(d) })
		_, unreadable := slices.BinarySearchFunc(read.Unreadable, d, app.GUID.Compare)
		switch {
		case unreadable:
			kept, same, keptInstances = kept+1, same+1, keptInstances+uint64(a.Instances)
		case found && read.Apps[n].Wanted():
			kept++
			keptInstances += uint64(min(a.Instances, read.Apps[n].Instances))
			if read.Apps[n].Key == a.Key {
				same++
			}
		}
	}
	much := func(lost, of float64) bool { return before >= g.MinApps && lost > g.DesiredShrink*of }
	dropped := before - kept
	after, _ := read.Wanted()
	switch {
	case before > 0 && after == 0 && kept == 0:
		return fmt.Sprintf("a read turned %d desired apps into none", before)
	case much(float64(dropped), float64(before)):
		return fmt.Sprintf("a read dropped %d of %d desired apps", dropped, before)
	case much(float64(before-same), float64(before)):
		return fmt.Sprintf("a read has other versions of %d of %d desired apps", before-same, before)
	case much(float64(instances-keptInstances), float64(instances)):
		return fmt.Sprintf("a read dropped %d of %d desired instances", instances-keptInstances, instances)
	}
	return ""
}

// Doubts says why a cluster that has never stopped anything must not begin to: most of what runs is not desired, as
// it is when hm is pointed at a wrong or an empty database (W04); empty if it may.
func (g Guard) Doubts(view *raftfsm.State) string {
	counts := view.Counts()
	live := counts.Starting + counts.Running
	if g.DesiredShrink <= 0 || counts.SentStops > 0 || live == 0 {
		return ""
	}
	undesired := 0
	for a := range view.Apps() {
		if a.HasDesired && a.Desired.Wanted() {
			continue
		}
		for _, inst := range view.Instances(nil, a.Key) {
			if inst.State.Live() {
				undesired++
			}
		}
	}
	if undesired == live || live >= g.MinApps && float64(undesired) > g.DesiredShrink*float64(live) {
		return fmt.Sprintf("%d of %d running instances are not desired, and nothing was ever stopped: is it the right Cloud Controller?", undesired, live)
	}
	return ""
}

// Loses says why a loss of DEAs must not be acted on at once (W03, W38); empty if it may be. present counts the
// DEAs that still speak, lost those that fell silent within one time to live.
func (g Guard) Loses(present, lost int) string {
	total := present + lost
	if g.MassLoss <= 0 || total < g.MinDEAs || float64(lost) <= g.MassLoss*float64(total) {
		return ""
	}
	return fmt.Sprintf("%d of %d DEAs fell silent within one time to live", lost, total)
}

// lostSince counts the DEAs that are present, and those that are gone since a time and have not come back.
func lostSince(view *raftfsm.State, since app.Time) (present, lost int) {
	for d := range view.DEAs() {
		switch {
		case d.GoneAt == 0:
			present++
		case d.GoneAt >= since:
			lost++
		}
	}
	return present, lost
}
