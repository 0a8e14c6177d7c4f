package reconcile

import (
	"math/rand/v2"
	"slices"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// recordedLosses are the instances that the entries of the log removed. They are counted without
// asking a leader.
type recordedLosses struct {
	of   map[raftfsm.Place]lostPlace
	live []liveCount // within one time to live

	// rest are further entries of the proposal that is being committed: what they bring is no loss
	// unless they never come.
	rest  [][]raftfsm.Record
	moved map[raftfsm.Place]lostPlace // what its entries have taken, and rest is to bring again
}

type liveCount struct {
	at app.Time
	n  int
}

// lossTTL is the time to live of the simulation.
const lossTTL = 3 * hb

// zone does something to some of the DEAs at once, or undoes it for all.
func (cf *simCF) zone(rnd *rand.Rand, do, undo func(*simDEA)) {
	share := 0.4 + rnd.Float64()/2
	back := rnd.IntN(3) == 0
	for n := range cf.nextDEA {
		d := cf.dea(n)
		switch {
		case d == nil:
		case back:
			undo(d)
		case rnd.Float64() < share:
			do(d)
		}
	}
}

// watchLosses looks at entries that remove instances, or that set a hold which names a loss. The
// caller must call the result after the entry is applied. It requires that every recorded mass loss
// has a hold for its whole time, that no hold is set without such a loss, and that hm releases no
// hold before most of what it names is back.
func (cf *simCF) watchLosses(entry raftfsm.Entry) func() {
	concerned := false
	for _, r := range entry.Records {
		switch r := r.(type) {
		case raftfsm.DEAsGone:
			concerned = true
		case raftfsm.DEAChanges:
			concerned = concerned || len(r.Removes) > 0
		case raftfsm.HoldSet:
			isNew := !slices.ContainsFunc(cf.View().Holds(), func(h raftfsm.Hold) bool { return h.Name == r.Hold.Name && h.SetAt == r.Hold.SetAt })
			if isNew && r.Hold.Lost != "" && isMassLoss(r.Hold.Name) && !cf.opts.Guard.Ways {
				cf.checkLossHold(r.Hold)
			}
		case raftfsm.HoldReleased:
			if cf.faults != nil && !cf.released {
				cf.checkLossRelease(r.Name, max(cf.state.Time(), entry.At))
			}
		}
	}
	if cf.faults == nil || !concerned {
		return func() {}
	}
	before := cf.View()
	return func() { cf.lossRecorded(before, cf.View()) }
}

// livePlaces gives the desired places that have a live instance, or one in any state, each with the
// DEA of one.
func livePlaces(view *raftfsm.State, any bool) map[raftfsm.Place]string {
	live := map[raftfsm.Place]string{}
	for a := range view.Apps() {
		if !a.HasDesired || !a.Desired.Startable() {
			continue
		}
		view.EachCopy(a.Key.Droplet, func(string) bool { return true }, func(dea string, i *actual.Instance) {
			if (any || i.State.Live()) && i.Index < a.Desired.Instances {
				live[raftfsm.Place{App: a.Key, Index: i.Index}] = dea
			}
		})
	}
	return live
}

// proposed notes that a proposal has no further entries: what its entries removed and did not add
// again is lost.
func (cf *simCF) proposed() {
	l := &cf.losses
	if len(l.moved) > 0 {
		live := livePlaces(cf.View(), false)
		for p, lost := range l.moved {
			if _, is := live[p]; !is {
				l.of[p] = lost
			}
		}
	}
	l.rest, l.moved = nil, nil
}

func (cf *simCF) lossRecorded(before, after *raftfsm.State) {
	cf.t.Helper()
	l := &cf.losses
	if l.of == nil {
		l.of = map[raftfsm.Place]lostPlace{}
	}
	if l.moved == nil {
		l.moved = map[raftfsm.Place]lostPlace{}
	}
	had, has, there := livePlaces(before, false), livePlaces(after, false), livePlaces(after, true)
	if n := new(fleetPass).live(after); n != len(has) {
		cf.t.Fatalf("%d places that are to run have a live copy, and the count is %d", len(has), n)
	}
	rest := removal{records: slices.Concat(l.rest...)}
	for p, dea := range had {
		if _, still := there[p]; still { // it crashed, or is evacuated
			continue
		}
		lost := lostPlace{Place: p, dea: dea, at: after.Time()}
		if slices.Contains(rest.brought([]lostPlace{lost})[p.App.Droplet], p.Index) {
			l.moved[p] = lost
		} else {
			l.of[p] = lost
		}
	}
	since := after.Time().Add(-lossTTL)
	deas := map[string]bool{}
	for p, lost := range l.of {
		if _, back := has[p]; back || lost.at < since || !wantedPlace(after, p) {
			delete(l.of, p)
			continue
		}
		deas[lost.dea] = true
	}
	counts := before.Counts()
	l.live = append(l.live, liveCount{after.Time(), counts.Starting + counts.Running})
	for l.live[0].at < since {
		l.live = l.live[1:]
	}
	most := len(has) + len(l.of)
	for _, c := range l.live {
		most = max(most, c.n)
	}
	run := len(deas)
	for d := range after.DEAs() {
		if d.GoneAt == 0 && d.Len > 0 && !deas[d.ID] {
			run++
		}
	}
	if float64(len(l.of)) <= 0.5*float64(most) || len(deas) < 2 || run < cf.opts.Guard.MinDEAs {
		return
	}
	cf.faults.count("mass losses recorded")
	until := app.Time(0)
	for _, h := range massLosses(after) {
		until = max(until, h.Until)
	}
	if until < since.Add(cf.opts.Guard.MassLossHold) {
		cf.t.Fatalf("%d of %d live instances were recorded as lost by %d DEAs within one time to live, and the holds are %+v", len(l.of), most, len(deas), after.Holds())
	}
}

// checkLossHold requires that what a hold names was lost recently, or is about to be, and is a mass
// loss.
func (cf *simCF) checkLossHold(h raftfsm.Hold) {
	cf.t.Helper()
	if cf.faults != nil {
		cf.faults.count("holds on a loss")
	}
	live := livePlaces(cf.View(), false)
	n := 0
	for p := range h.Lost.All() {
		if n++; !wantedPlace(cf.View(), p) {
			cf.t.Fatalf("the hold %s names %s/%d, which is not wanted", h.Name, p.App.Droplet, p.Index)
		}
		if _, is := live[p]; !is {
			live[p] = ""
		}
	}
	if 2*n <= len(live) {
		cf.t.Fatalf("the hold %s names %d of %d instances as lost", h.Name, n, len(live))
	}
}

// checkLossRelease requires that a hold which hm releases early names little or nothing that is
// missing.
func (cf *simCF) checkLossRelease(name string, at app.Time) {
	cf.t.Helper()
	for _, h := range cf.View().Holds() {
		if h.Name != name || h.Lost == "" || !h.InForce(at) {
			continue
		}
		live := livePlaces(cf.View(), false)
		missing := 0
		for p := range h.Lost.All() {
			if _, is := live[p]; !is && wantedPlace(cf.View(), p) && isMassLoss(name) {
				missing++
			}
		}
		if 2*missing > h.Lost.Len() {
			cf.t.Fatalf("the hold %s was released though %d of the %d instances that it names are missing", name, missing, h.Lost.Len())
		}
	}
}

func wantedPlace(view *raftfsm.State, p raftfsm.Place) bool {
	a, _ := view.App(p.App)
	return a.Desired.Startable() && p.Index < a.Desired.Instances
}
