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

// Guard is the limits beyond which hm holds all commands instead of acting. 0 turns a guard off.
type Guard struct {
	DesiredShrink float64 // share of the wanted droplets that one read may drop
	MinApps       int     // with fewer wanted droplets only an empty read holds
	ConfirmReads  int     // further reads that agree, after which the hold ends by itself
	// MassLoss is the share of live instances that may be lost within one time to live, and of desired ones that may be
	// missing at first.
	MassLoss     float64
	MinDEAs      int // with fewer DEAs that run anything there is no mass loss
	MassLossHold time.Duration
	// Ways says that the DEAs' heartbeats come in more than one way. Then the share counts for the DEAs of each way, too.
	Ways bool
}

// Shrinks says why hm must not act on a complete read before a person or further reads confirm it
// (W04, W36); empty if it may. recorded yields the recorded desired apps.
func (g Guard) Shrinks(recorded func(yield func(desired.App) bool), read desired.Read) string {
	if g.DesiredShrink <= 0 {
		return ""
	}
	before, kept, same := 0, 0, 0                    // droplets: wanted so far, still wanted, still in the same version
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

// few reports whether a read changes so few rows that Shrinks would be empty, whatever they are. meta is
// what was recorded before.
func (g Guard) few(changes desired.Changes, find func(app.Key) (int, desired.App, bool), meta raftfsm.DesiredMeta) bool {
	if changes.Empty() {
		return true
	}
	rows := len(changes.Upserts) + len(changes.Removes)
	if rows >= meta.Apps || float64(rows) > g.DesiredShrink*float64(meta.Apps) {
		return false
	}
	instances := uint64(0) // of the rows that change
	add := func(k app.Key) {
		if _, row, ok := find(k); ok && row.Wanted() {
			instances += uint64(row.Instances)
		}
	}
	for _, a := range changes.Upserts {
		add(a.Key)
	}
	for _, k := range changes.Removes {
		add(k)
	}
	return float64(instances) <= g.DesiredShrink*float64(meta.Instances)
}

// FirstRead says why a cluster that has never stopped an instance must not start to do so: most of
// what runs is not desired, as with a wrong or empty database (W04); empty if it may.
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
		alone := !a.HasDesired && mayBeForeign(view, a.Key.Droplet, view.DesiredVersion(a.Key.Droplet))
		for _, inst := range view.Instances(nil, a.Key) {
			switch {
			case !inst.State.Live():
			case alone: // another cell may have it: nothing follows from it, and nothing is done about it
				live--
			default:
				undesired++
			}
		}
	}
	if undesired == 0 {
		return ""
	}
	if undesired == live || live >= g.MinApps && float64(undesired) > g.DesiredShrink*float64(live) {
		return fmt.Sprintf("%d of %d running instances are not desired, and nothing was ever stopped: is it the right Cloud Controller?",
			undesired, live)
	}
	return ""
}

// loss is what was lost within one time to live.
type loss struct {
	lost      []lostPlace
	live      int                  // desired places with a live copy, before the loss
	suspects  map[string]bool      // DEAs of which some had what was lost on an unknownDEA
	deas      map[string]bool      // that had what was lost; nil: fromDEAs has not been called yet
	records   []raftfsm.Record     // that are about to record the loss; they may also bring instances
	inherited bool                 // earlier leaders recorded it
	wayOf     func(dea string) way // over which way a DEA was heard last; nil: it does not matter
}

// fromDEAs gives the DEAs that had what was lost.
func (l *loss) fromDEAs() map[string]bool {
	if l.deas == nil {
		l.deas = map[string]bool{}
		for i := range l.lost {
			if dea := l.lost[i].dea; dea != unknownDEA {
				l.deas[dea] = true
			} else if len(l.suspects) > 0 {
				maps.Copy(l.deas, l.suspects)
				l.suspects = nil // once is enough
			}
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

// summary names the apps and the DEAs that lost something.
func (l *loss) summary() string {
	apps := map[app.GUID]bool{}
	for i := range l.lost {
		apps[l.lost[i].App.Droplet] = true
	}
	return listedApps(apps) + ", on " + listed(l.fromDEAs(), "DEA")
}

// addition describes a loss that follows another.
func (l *loss) addition() string { return fmt.Sprintf("%d more: %s", len(l.lost), l.summary()) }

// Loses says why hm must not act on a loss of instances at once (W03, W38); empty if it may. It
// counts desired instances without another live copy, not DEAs. The loss of a single DEA is no mass
// loss, nor is any loss of a fleet in which only a few DEAs run anything.
func (g Guard) Loses(view *raftfsm.State, l loss) string {
	if !g.much(len(l.lost), l.live) {
		return g.losesWay(view, l)
	}
	deas := l.fromDEAs()
	run := len(deas) // DEAs that run anything, or did before the loss
	for d := range view.DEAs() {
		if d.GoneAt == 0 && d.Len > 0 && !deas[d.ID] {
			run++
		}
	}
	for _, r := range l.records { // DEAs that return in the same records count, too
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

// Unheard says why a node must not start the places that it has heard nothing of: they are too
// large a share of what is desired, and are not recorded as lost, as when most heartbeats do not
// reach the node; empty if it may.
func (g Guard) Unheard(view *raftfsm.State, unheard []raftfsm.Place) string {
	counts := view.Counts()
	desired := counts.DesiredInstances
	// With fewer desired instances than min_deas, fewer DEAs than that run anything.
	if !g.much(len(unheard), desired) || desired < g.MinDEAs {
		return ""
	}
	// The instances of DEAs that are gone are not recorded any more: they may be what is missing.
	if g.much(counts.GoneDEAs, counts.GoneDEAs+counts.DEAs) {
		return ""
	}
	apps := map[app.GUID]bool{}
	for i := range unheard {
		apps[unheard[i].App.Droplet] = true
	}
	return fmt.Sprintf(
		"%d of %d desired instances were not heard of in a whole freshness window, and are not recorded as lost: %s; %d DEAs are heard",
		len(unheard), desired, listedApps(apps), counts.DEAs)
}

// much reports whether n is a larger share of `of` than may be lost.
func (g Guard) much(n, of int) bool { return g.MassLoss > 0 && float64(n) > g.MassLoss*float64(of) }

// losers is how many DEAs at least lose something in a mass loss.
func (g Guard) losers() int { return min(2, g.MinDEAs) }

// maxListed is how many names of a kind a reason lists.
const maxListed = 3

// listed gives the number of names and the first few.
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
	var first []T // kept sorted: there may be hundreds of thousands of names
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
