package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// A loss is judged before it is recorded: the entry that holds all commands comes before the entries that take the
// instances out of the record, so that no leader ever finds the loss without its hold.

// lostPlace is an index that is to run and has lost its last live copy.
type lostPlace struct {
	raftfsm.Place
	dea   string // which had the copy; empty if that is not known
	at    app.Time
	batch uint64 // of records that take the copy away
}

// losses are the indices that lost their last live copy within one time to live.
type losses struct {
	of    map[raftfsm.Place]lostPlace
	batch uint64 // counts the batches of records that took live copies away
}

func (l *losses) add(lost []lostPlace) {
	if l.of == nil {
		l.of = map[raftfsm.Place]lostPlace{}
	}
	for _, p := range lost {
		l.of[p.Place] = p
	}
}

// prune drops what was lost before since.
func (l *losses) prune(since app.Time) {
	maps.DeleteFunc(l.of, func(_ raftfsm.Place, p lostPlace) bool { return p.at < since })
}

// guardLoss gives records, which are about to be recorded, with the hold before them that keeps their loss from being
// acted on, if there must be one. What that costs is in proportion to what the records take away.
func (c *Core) guardLoss(view *raftfsm.State, now app.Time, records []raftfsm.Record) (guarded []raftfsm.Record, held bool) {
	if c.opts.Guard.MassLoss <= 0 {
		return records, false
	}
	r := removal{records: records}
	lost := r.lost(view)
	if len(lost) == 0 {
		return records, false
	}
	c.losses.batch++
	for i := range lost {
		lost[i].at, lost[i].batch = now, c.losses.batch
	}
	c.losses.add(lost)
	counts := view.Counts()
	live := counts.Starting + counts.Running
	if !c.opts.Guard.much(len(c.losses.of), min(live, counts.DesiredInstances)) {
		return records, false
	}
	c.losses.prune(now.Add(-c.intake.live.TTL))
	all := r.without(view, slices.Collect(maps.Values(c.losses.of)))
	clear(c.losses.of)
	c.losses.add(all)
	earlier := 0 // which are not in view any more
	for _, p := range all {
		if p.batch != c.losses.batch {
			earlier++
		}
	}
	// Neither copies beside others nor instances that nobody wants make a loss smaller.
	return c.holdLoss(view, now, loss{lost: all, live: min(live+earlier, counts.DesiredInstances)}, records)
}

// inheritedLoss judges what earlier leaders recorded as lost within one time to live. Which instances these were the
// record does not say any more: it can only be what is wanted and not there, if there are DEAs that may have had it.
// What a hold names is judged already.
func (c *Core) inheritedLoss(view *raftfsm.State, now app.Time) (records []raftfsm.Record, held bool) {
	if c.opts.Guard.MassLoss <= 0 {
		return nil, false
	}
	since := now.Add(-c.intake.live.TTL)
	l := loss{inherited: true, deas: map[string]bool{}}
	for d := range view.DEAs() {
		gone := d.GoneAt != 0 && d.GoneAt >= since
		less := d.GoneAt == 0 && d.FirstSeen < since && d.ChangedAt >= since
		if gone || less {
			l.deas[d.ID] = true
		}
	}
	if len(l.deas) == 0 {
		return nil, false
	}
	judged := map[raftfsm.Place]bool{}
	for _, h := range massLosses(view) {
		n := 0
		for p := range h.Lost.All() {
			judged[p] = true
			n++
		}
		if n == raftfsm.MaxPlaces { // it names a sample only
			return nil, false
		}
	}
	older := func(cmd commands.Command) bool { return cmd.CreatedAt < since }
	for _, p := range c.pass.Unheard(view, c.pass.Unsettled(view), older) {
		if !judged[p] {
			l.lost = append(l.lost, lostPlace{Place: p, at: now})
		}
	}
	c.losses.add(l.lost)
	counts := view.Counts()
	l.live = min(counts.Starting+counts.Running+len(l.lost), counts.DesiredInstances)
	return c.holdLoss(view, now, l, nil)
}

// maxMassLosses is how many holds on losses there may be at one time. A further loss is added to the newest.
const maxMassLosses = 9

// holdLoss puts a hold before records if the loss asks for one. What is lost within one time to live belongs to one
// hold; what is lost later has its own, with its own time.
func (c *Core) holdLoss(view *raftfsm.State, now app.Time, l loss, records []raftfsm.Record) (guarded []raftfsm.Record, held bool) {
	why := c.opts.Guard.Loses(view, l)
	if why == "" {
		return records, false
	}
	places := make([]raftfsm.Place, len(l.lost))
	for i, p := range l.lost {
		places[i] = p.Place
	}
	hold := raftfsm.Hold{Reason: why, By: holdBy, SetAt: now, Until: now.Add(c.opts.Guard.MassLossHold), Lost: raftfsm.NewPlaces(places)}
	others := massLosses(view)
	if n := len(others); n > 0 && (now.Sub(others[n-1].SetAt) <= c.intake.live.TTL || n >= maxMassLosses) {
		newest := others[n-1]
		if hold.Lost = newest.Lost.With(hold.Lost); hold.Lost == newest.Lost {
			return records, true // it is held already
		}
		hold.SetAt, hold.Reason = newest.SetAt, newest.Reason+"; then "+why
		hold.Name = newest.Name
	} else {
		hold.Name = freeMassLoss(view)
	}
	c.logger.Warn("holding all commands: many instances were lost at once", "hold", hold.Name, "why", why, "until", hold.Until)
	c.reads.wanted = true // what is lost may not be wanted any more
	return append([]raftfsm.Record{raftfsm.HoldSet{Hold: hold}}, records...), true
}

// massLosses gives the holds on losses, in the order in which they were set. Only hm sets one that says what was lost.
func massLosses(view *raftfsm.State) []raftfsm.Hold {
	holds := slices.DeleteFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Lost == "" || !isMassLoss(h.Name) })
	slices.SortStableFunc(holds, func(a, b raftfsm.Hold) int { return cmp.Compare(a.SetAt, b.SetAt) })
	return holds
}

// isMassLoss reports whether a hold's name is that of a hold on a loss: mass-loss, mass-loss-2, mass-loss-3 and so on.
func isMassLoss(name string) bool {
	rest, ok := strings.CutPrefix(name, HoldMassLoss)
	if !ok || rest == "" {
		return ok
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "-"))
	return err == nil && n >= 2 && rest == "-"+strconv.Itoa(n)
}

// freeMassLoss gives the first name for a hold on a loss that no hold has.
func freeMassLoss(view *raftfsm.State) string {
	name := HoldMassLoss
	for n := 2; held(view, name); n++ {
		name = HoldMassLoss + "-" + strconv.Itoa(n)
	}
	return name
}

// removal is what records are about to take away.
type removal struct {
	records []raftfsm.Record
	silent  map[string]bool         // DEAs that are gone with all that they have
	gone    map[copyOn]bool         // other copies that are gone
	there   func(actual.State) bool // whether a copy in a state makes up for a lost one; nil: if it is live
	live    map[uint32]bool         // kept between calls
}

// copyOn is an instance on a DEA.
type copyOn struct {
	dea      string
	instance app.GUID
}

// lost gives the places whose last live copy the records take away.
func (r *removal) lost(view *raftfsm.State) []lostPlace {
	var lost []lostPlace
	take := func(dea string, i *actual.Instance) {
		if !i.State.Live() {
			return
		}
		if p, ok := placeOf(view, i); ok {
			lost = append(lost, lostPlace{Place: p, dea: dea})
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
			if len(record.Removes) == 0 {
				continue
			}
			if r.gone == nil {
				r.gone = map[copyOn]bool{}
			}
			for _, g := range record.Removes {
				r.gone[copyOn{record.DEA, g}] = true
			}
			list = view.DEAInstances(list[:0], record.DEA)
			for i := range list {
				if r.gone[copyOn{record.DEA, list[i].GUID}] {
					take(record.DEA, &list[i])
				}
			}
		}
	}
	return r.without(view, lost)
}

// without leaves of a list the places that are wanted and have no live copy once the records are recorded, each once,
// sorted. A copy of any version counts: what is desired is read later than it is changed.
func (r *removal) without(view *raftfsm.State, list []lostPlace) []lostPlace {
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b lostPlace) int {
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index), strings.Compare(a.dea, b.dea))
	})
	list = slices.CompactFunc(list, func(a, b lostPlace) bool { return a.Place == b.Place })
	if r.live == nil {
		r.live = map[uint32]bool{}
	}
	there := r.there
	if there == nil {
		there = actual.State.Live
	}
	come := r.bring(list)
	kept := list[:0]
	for i := 0; i < len(list); {
		droplet := list[i].App.Droplet
		clear(r.live)
		view.EachCopy(droplet, func(l actual.Located) {
			if there(l.State) && !r.silent[l.DEA] && !r.gone[copyOn{l.DEA, l.GUID}] {
				r.live[l.Index] = true
			}
		})
		for _, index := range come[droplet] {
			r.live[index] = true
		}
		for ; i < len(list) && list[i].App.Droplet == droplet; i++ {
			if !r.live[list[i].Index] && startable(view, list[i].Place) {
				kept = append(kept, list[i])
			}
		}
	}
	return kept
}

// bring gives, by droplet, the indices at which the records bring live copies, of the droplets in list.
func (r *removal) bring(list []lostPlace) map[app.GUID][]uint32 {
	come := map[app.GUID][]uint32{}
	for i := range list {
		come[list[i].App.Droplet] = nil
	}
	for _, record := range r.records {
		if changes, ok := record.(raftfsm.DEAChanges); ok {
			for i := range changes.Upserts {
				up := &changes.Upserts[i]
				if indices, asked := come[up.App.Droplet]; asked && up.State.Live() {
					come[up.App.Droplet] = append(indices, up.Index)
				}
			}
		}
	}
	return come
}

// placeOf gives the place that an instance makes up for, if there is one: an instance of a version that is not known to
// be desired runs in the place of one of the version that is.
func placeOf(view *raftfsm.State, i *actual.Instance) (raftfsm.Place, bool) {
	p := raftfsm.Place{App: i.App, Index: i.Index}
	if startable(view, p) {
		return p, true
	}
	p.App.Version = view.DesiredVersion(i.App.Droplet)
	return p, p.App != i.App && startable(view, p)
}

// startable reports whether hm would start a place if nothing ran there.
func startable(view *raftfsm.State, p raftfsm.Place) bool {
	a, ok := view.App(p.App)
	return ok && a.HasDesired && a.Desired.Startable() && p.Index < a.Desired.Instances
}
