package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
	MassLoss      float64 // share of the live instances that may be lost within one time to live, and of the desired ones that may be unheard of at first
	MinDEAs       int     // below so many DEAs that run anything there is no mass loss
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

// FirstRead says why a cluster that has never stopped anything must not begin to: most of what runs is not desired, as
// it is when hm is pointed at a wrong or an empty database (W04); empty if it may.
func (g Guard) FirstRead(view *raftfsm.State) string {
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

// loss is what was lost within one time to live.
type loss struct {
	lost      []lostPlace
	live      int              // instances before it
	deas      map[string]bool  // which had what was lost; nil: lost says
	records   []raftfsm.Record // which are about to take it away, and may bring others
	inherited bool             // recorded by earlier leaders
}

// from gives the DEAs that had what was lost.
func (l *loss) fromDEAs() map[string]bool {
	if l.deas == nil {
		l.deas = map[string]bool{}
		for i := range l.lost {
			l.deas[l.lost[i].dea] = true
		}
	}
	return l.deas
}

func (l *loss) places() raftfsm.Places {
	places := make([]raftfsm.Place, len(l.lost))
	for i := range l.lost {
		places[i] = l.lost[i].Place
	}
	return raftfsm.NewPlaces(places)
}

// whose gives the apps and the DEAs that lost something.
func (l *loss) summary() string {
	apps := map[app.GUID]bool{}
	for i := range l.lost {
		apps[l.lost[i].App.Droplet] = true
	}
	return listedApps(apps) + ", on " + listed(l.fromDEAs(), "DEA")
}

// more tells of a loss that came after another.
func (l *loss) addition() string { return fmt.Sprintf("%d more: %s", len(l.lost), l.summary()) }

// Loses says why a loss of instances must not be acted on at once (W03, W38); empty if it may be. What counts is the
// harm: instances that are to run and have no other live copy, not DEAs. But what a single DEA can lose is no mass
// loss, and neither is what a fleet loses in which only a few run anything.
func (g Guard) Loses(view *raftfsm.State, l loss) string {
	if !g.much(len(l.lost), l.live) {
		return ""
	}
	deas := l.fromDEAs()
	run := len(deas) // DEAs that run anything, but for the loss
	for d := range view.DEAs() {
		if d.GoneAt == 0 && d.Len > 0 && !deas[d.ID] {
			run++
		}
	}
	for _, r := range l.records { // DEAs that return at the same moment run something too
		if r, ok := r.(raftfsm.DEAChanges); ok && len(r.Upserts) > 0 && !deas[r.DEA] {
			if d, known := view.DEA(r.DEA); !known || d.GoneAt != 0 || d.Len == 0 {
				run++
			}
		}
	}
	if len(deas) < g.losers() || run < g.MinDEAs {
		return ""
	}
	lost := fmt.Sprintf("%d of %d live instances were lost without a successor within one time to live", len(l.lost), l.live)
	if l.inherited {
		lost = fmt.Sprintf("%d of %d live instances were lost of late, as a new leader finds", len(l.lost), l.live)
	}
	return lost + ": " + l.summary()
}

// Unheard says why a node must not begin to start what it has not heard of: it is too much of what is desired, and
// nothing of it is recorded as lost, as when most heartbeats do not reach the node; empty if it may.
func (g Guard) Unheard(view *raftfsm.State, unheard []raftfsm.Place) string {
	counts := view.Counts()
	desired := counts.DesiredInstances
	// As many DEAs as min_deas may run what is desired, if it is that many instances.
	if !g.much(len(unheard), desired) || desired < g.MinDEAs {
		return ""
	}
	// What DEAs that are gone had the record does not say any more.
	if g.much(counts.GoneDEAs, counts.GoneDEAs+counts.DEAs) {
		return ""
	}
	apps := map[app.GUID]bool{}
	for i := range unheard {
		apps[unheard[i].App.Droplet] = true
	}
	return fmt.Sprintf("%d of %d desired instances were not heard of in a whole freshness window, and are not recorded as lost: %s; %d DEAs are heard",
		len(unheard), desired, listedApps(apps), counts.DEAs)
}

// much reports whether n is more than the share of so many that a loss may have.
func (g Guard) much(n, of int) bool { return g.MassLoss > 0 && float64(n) > g.MassLoss*float64(of) }

// losers is how many DEAs must have lost something for it to be a mass loss.
func (g Guard) losers() int { return min(2, g.MinDEAs) }

// maxListed is how many names of a kind a reason gives.
const maxListed = 3

// listed gives the number of names, and the first of them.
func listed(names map[string]bool, kind string) string {
	return list(slices.Collect(maps.Keys(names)), kind, strings.Compare)
}

func listedApps(apps map[app.GUID]bool) string {
	return list(slices.Collect(maps.Keys(apps)), "app", app.GUID.Compare)
}

func list[T any](names []T, kind string, compare func(a, b T) int) string {
	n := len(names)
	if n != 1 {
		kind += "s"
	}
	var first []T // found one by one: there may be hundreds of thousands
	for _, name := range names {
		at, _ := slices.BinarySearchFunc(first, name, compare)
		if at < maxListed {
			first = slices.Insert(first, at, name)
			first = first[:min(len(first), maxListed)]
		}
	}
	text := make([]string, len(first))
	for i := range first {
		text[i] = fmt.Sprint(first[i])
	}
	more := ""
	if n > maxListed {
		more = fmt.Sprintf(" and %d more", n-maxListed)
	}
	return fmt.Sprintf("%d %s (%s%s)", n, kind, strings.Join(text, ", "), more)
}
