package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// A loss is judged before it is recorded: the entry that holds all commands comes before the
// entries that remove the instances, so that no leader ever finds the loss without its hold.

// lostPlace is a desired index that has lost its last live copy.
type lostPlace struct {
	raftfsm.Place
	dea string // that had the copy
	at  app.Time
	way way // over which that DEA was heard last; the intake forgets it
}

// unknownDEA stands for the DEA of a loss that an earlier leader recorded: it is one of losses.suspects.
const unknownDEA = "(not known)"

// losses are the places that lost their last live copy within one time to live and that no hold
// names. The leader keeps them in memory.
type losses struct {
	places   []lostPlace
	unsure   bool            // it is not known whether the newest were recorded
	suspects map[string]bool // DEAs that may have had what earlier leaders recorded as lost; nil: none
}

// recent drops the places that were lost before since, and gives the others.
func (l *losses) recent(since app.Time) []lostPlace {
	l.places = slices.DeleteFunc(l.places, func(p lostPlace) bool { return p.at < since })
	return l.places
}

// guardLoss takes records that are about to be proposed. If their loss must not be acted on, it
// puts a hold before them. Its time is in proportion to what the records remove. The caller must
// call recorded with the outcome of the proposal.
func (c *Core) guardLoss(
	view *raftfsm.State, now app.Time, records []raftfsm.Record,
) (guarded []raftfsm.Record, recorded func(error)) {
	nothing := func(error) {}
	if c.opts.Guard.MassLoss <= 0 {
		return records, nothing
	}
	r := removal{records: records}
	lost := r.lost(view)
	if len(lost) == 0 {
		return records, nothing
	}
	for i := range lost {
		lost[i].at, lost[i].way = now, c.intake.wayOf(lost[i].dea)
	}
	earlier := c.losses.places // which view does not have any more
	live := c.livePlaces(view, now, len(earlier)+len(lost))
	if c.losses.unsure || c.opts.Guard.Ways || c.opts.Guard.much(len(earlier)+len(lost), live) {
		earlier = r.except(r.missing(view, c.losses.recent(now.Add(-c.intake.live.TTL))), lost)
	}
	// Neither copies beside others nor undesired instances make a loss smaller.
	all := append(earlier, lost...)
	l := loss{
		lost: all, live: min(live+len(earlier), view.Counts().DesiredInstances), suspects: c.losses.suspects,
		records: records,
	}
	if c.opts.Guard.Ways {
		l.wayOf = c.intake.wayOf
	}
	hold, held := c.holdLoss(view, now, l)
	if hold != nil {
		records = append([]raftfsm.Record{hold}, records...)
	}
	return records, func(err error) {
		c.losses.places, c.losses.unsure = all, err != nil
		if held && err == nil {
			c.losses.places = nil
		}
	}
}

// inheritLosses judges, before a new leader records anything else, what earlier leaders recorded as
// lost.
func (c *Core) inheritLosses(ctx context.Context, now app.Time) error {
	if !c.inherited {
		return nil
	}
	hold, held := c.inheritedLoss(c.log.View(), now)
	if hold != nil {
		if err := c.propose(ctx, hold); err != nil {
			return fmt.Errorf("holding all commands for a loss that earlier leaders recorded: %w", err)
		}
	}
	if held {
		c.losses.places = nil
	}
	c.inherited = false
	return nil
}

// inheritedLoss judges what earlier leaders recorded as lost within one time to live. The record
// does not say which instances these were: they are among what is desired and missing, if there are
// DEAs that may have had it. What a hold names was judged before.
func (c *Core) inheritedLoss(view *raftfsm.State, now app.Time) (hold raftfsm.Record, held bool) {
	if c.opts.Guard.MassLoss <= 0 {
		return nil, false
	}
	since := now.Add(-c.intake.live.TTL)
	l := loss{inherited: true, suspects: map[string]bool{}}
	for d := range view.DEAs() {
		gone := d.GoneAt != 0 && d.GoneAt >= since
		// A DEA that was gone was first seen when it came back. It may have lost something since.
		less := d.GoneAt == 0 && d.FirstSeen < d.ChangedAt && d.ChangedAt >= since
		if gone || less {
			l.suspects[d.ID] = true
		}
	}
	if len(l.suspects) == 0 {
		return nil, false
	}
	judged := map[raftfsm.Place]bool{}
	for _, h := range massLosses(view) {
		n := 0
		for p := range h.Lost.All() {
			judged[p] = true
			n++
		}
		if n == raftfsm.MaxPlaces { // it names only a part
			return nil, false
		}
	}
	older := func(cmd commands.Command) bool { return cmd.CreatedAt < since }
	for _, p := range unheard(view, c.eval.Unsettled(view), older) {
		if !judged[p] {
			l.lost = append(l.lost, lostPlace{Place: p, dea: unknownDEA, at: now, way: unknownWay})
		}
	}
	c.losses.places, c.losses.suspects = l.lost, l.suspects
	l.live = min(c.livePlaces(view, now, len(l.lost))+len(l.lost), view.Counts().DesiredInstances)
	return c.holdLoss(view, now, l)
}

// maxMassLosses is how many holds on losses there may be at a time. A further loss is added to the
// newest.
const maxMassLosses = 9

// holdLoss gives the record that sets a hold if the loss needs one; nil if a hold names it already.
// held says that a hold names it then. What is lost within one time to live belongs to one hold; a
// later loss has a hold and an end of its own.
func (c *Core) holdLoss(view *raftfsm.State, now app.Time, l loss) (set raftfsm.Record, held bool) {
	why := c.opts.Guard.Loses(view, l)
	if why == "" {
		return nil, false
	}
	hold := raftfsm.Hold{Reason: why, By: holdBy, SetAt: now, Until: now.Add(c.opts.Guard.MassLossHold), Lost: l.places()}
	others := massLosses(view)
	if n := len(others); n > 0 && (now.Sub(others[n-1].SetAt) <= c.intake.live.TTL || n >= maxMassLosses) {
		newest := others[n-1]
		if hold.Lost = newest.Lost.With(hold.Lost); hold.Lost == newest.Lost {
			return nil, true
		}
		hold.Name, hold.SetAt, hold.Reason = newest.Name, newest.SetAt, newest.Reason+"; then "+why
	} else {
		hold.Name = freeMassLoss(view)
	}
	c.logger.Warn("holding all commands: many instances were lost at once", "hold", hold.Name, "why", why, "until", hold.Until)
	c.reads.wanted = true // what was lost may not be desired any more
	return raftfsm.HoldSet{Hold: hold}, true
}

// laterLoss gives the record that adds to the newest hold on a loss what was lost shortly after it
// was set: the DEAs of one loss fall silent one after another.
func (c *Core) laterLoss(view *raftfsm.State, now app.Time) (set raftfsm.Record, ok bool) {
	late := c.losses.recent(now.Add(-c.intake.live.TTL))
	others := massLosses(view)
	if len(late) == 0 || len(others) == 0 {
		return nil, false
	}
	hold := others[len(others)-1]
	if now.Sub(hold.SetAt) > c.intake.live.TTL {
		return nil, false
	}
	if late = (&removal{}).missing(view, late); len(late) == 0 {
		return nil, false
	}
	l := loss{lost: late, suspects: c.losses.suspects}
	lost := hold.Lost.With(l.places())
	if lost == hold.Lost {
		return nil, true
	}
	hold.Reason += "; then " + l.addition()
	hold.Lost, hold.Until = lost, now.Add(c.opts.Guard.MassLossHold)
	c.logger.Warn("more instances were lost: the hold lasts longer", "hold", hold.Name, "why", l.addition(), "until", hold.Until)
	return raftfsm.HoldSet{Hold: hold}, true
}

// removal is what records are about to remove.
type removal struct {
	records []raftfsm.Record
	silent  map[string]bool         // DEAs that go with all their instances
	gone    map[copyOn]bool         // other instances that go
	there   func(actual.State) bool // whether an instance in a state replaces a lost one; nil: if it is live
}

// copyOn is an instance on a DEA.
type copyOn struct {
	dea      string
	instance app.GUID
}

// lost gives the places whose last live copy the records remove.
func (r *removal) lost(view *raftfsm.State) []lostPlace {
	var lost []lostPlace
	take := func(dea string, i *actual.Instance) {
		if i.State.Live() {
			lost = append(lost, lostPlace{Place: raftfsm.Place{App: i.App, Index: i.Index}, dea: dea})
		}
	}
	var list []actual.Instance
	for _, record := range r.records {
		switch record := record.(type) {
		case raftfsm.DEAsGone:
			r.silent = make(map[string]bool, len(record.DEAs))
			for _, dea := range record.DEAs {
				r.silent[dea] = true
				list = view.DEAInstances(list[:0], dea)
				for i := range list {
					take(dea, &list[i])
				}
			}
		case raftfsm.DEAChanges:
			if r.gone == nil && len(record.Removes) > 0 {
				r.gone = map[copyOn]bool{}
			}
			for _, g := range record.Removes {
				r.gone[copyOn{record.DEA, g}] = true
			}
			few := len(record.Removes)*len(record.Upserts) <= fewPairs
			view.EachOn(record.DEA, record.Removes, func(i actual.Instance) {
				if !few || !inPlace(&i, record.Upserts) { // else its successor is there, as in most cases
					take(record.DEA, &i)
				}
			})
		}
	}
	return r.missing(view, lost)
}

// inPlace reports whether one of the others is live at the place of an instance.
func inPlace(i *actual.Instance, others []actual.Instance) bool {
	for n := range others {
		if o := &others[n]; o.Index == i.Index && o.App == i.App && o.State.Live() {
			return true
		}
	}
	return false
}

// missing gives the places of a list that are desired and have no live copy once the records are
// applied, each once. A copy of any version counts, since hm reads the desired state later than it
// changes.
func (r *removal) missing(view *raftfsm.State, list []lostPlace) []lostPlace {
	if len(list) == 0 {
		return nil
	}
	there := r.there
	if there == nil {
		there = actual.State.Live
	}
	come := r.brought(list)
	live := map[uint32]bool{}
	kept := make([]lostPlace, 0, len(list))
	on := func(dea string) bool { return !r.silent[dea] }
	for group := range byDroplet(list) {
		droplet := list[group[0].at].App.Droplet
		a, _ := view.App(app.Key{Droplet: droplet, Version: view.DesiredVersion(droplet)})
		if !a.HasDesired || !a.Desired.Startable() {
			continue
		}
		clear(live)
		view.EachCopy(droplet, on, func(dea string, i *actual.Instance) {
			if there(i.State) && !r.gone[copyOn{dea, i.GUID}] {
				live[i.Index] = true
			}
		})
		for _, index := range come[droplet] {
			live[index] = true
		}
		for _, g := range group {
			if p := list[g.at]; p.Index < a.Desired.Instances && !live[p.Index] {
				live[p.Index] = true // once is enough
				p.App = a.Key
				kept = append(kept, p)
			}
		}
	}
	return kept
}

// except gives the places of a list that are not among others.
func (r *removal) except(list, others []lostPlace) []lostPlace {
	if len(list) == 0 {
		return nil
	}
	among := make(map[raftfsm.Place]bool, len(others))
	for i := range others {
		among[others[i].Place] = true
	}
	return slices.DeleteFunc(list, func(p lostPlace) bool { return among[p.Place] })
}

// brought gives, for the droplets in a list, the indices at which the records add live copies.
func (r *removal) brought(list []lostPlace) map[app.GUID][]uint32 {
	changes := 0
	for _, record := range r.records {
		if c, ok := record.(raftfsm.DEAChanges); ok {
			changes += len(c.Upserts)
		}
	}
	if changes == 0 {
		return nil
	}
	come := map[app.GUID][]uint32{}
	for i := range list {
		come[list[i].App.Droplet] = nil
	}
	for _, record := range r.records {
		if c, ok := record.(raftfsm.DEAChanges); ok {
			for i := range c.Upserts {
				up := &c.Upserts[i]
				if indices, asked := come[up.App.Droplet]; asked && up.State.Live() {
					come[up.App.Droplet] = append(indices, up.Index)
				}
			}
		}
	}
	return come
}

// grouped refers to an element of a list of places.
type grouped struct {
	hash uint64 // of its droplet
	at   int    // in the list
}

var groupSeed = maphash.MakeSeed()

// byDroplet yields the elements of a list in groups, one for each droplet; each group is in the
// list's order.
func byDroplet(list []lostPlace) func(yield func([]grouped) bool) {
	order := make([]grouped, len(list))
	for i := range list {
		order[i] = grouped{maphash.Comparable(groupSeed, list[i].App.Droplet), i}
	}
	slices.SortFunc(order, func(a, b grouped) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return a.at - b.at
	})
	return func(yield func([]grouped) bool) {
		for from := 0; from < len(order); {
			to := from + 1
			for to < len(order) && list[order[to].at].App.Droplet == list[order[from].at].App.Droplet {
				to++
			}
			if !yield(order[from:to]) {
				return
			}
			from = to
		}
	}
}
