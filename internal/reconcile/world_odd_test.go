package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// oddEntry is how a DEA tells of an instance that it does not tell of as it should.
type oddEntry struct {
	kind  oddKind
	since app.Time
}

type oddKind int

const (
	oddWord     oddKind = iota // in a state that hm does not know
	oddIndex                   // without an index
	oddNameless                // without an index, and without its guid
)

// distort has a heartbeat tell of odd instances in their way.
func (w *world) distort(hb *actual.Heartbeat) {
	if w.junk {
		hb.Rejected += 2
		hb.Unreadable = append(hb.Unreadable, app.MustGUID(fmt.Sprint("junk-", hb.DEA)))
	}
	if len(w.odd) == 0 {
		return
	}
	hb.Instances = slices.DeleteFunc(hb.Instances, func(i actual.Instance) bool {
		odd, is := w.odd[i.GUID]
		if !is || odd.kind == oddWord {
			return false
		}
		hb.Rejected++
		u := actual.Unplaced{App: i.App, GUID: i.GUID}
		if odd.kind == oddNameless {
			u.GUID = app.GUID{}
		} else {
			hb.Unreadable = append(hb.Unreadable, i.GUID)
		}
		if i.State != actual.Crashed {
			hb.Unplaced = append(hb.Unplaced, u)
		}
		return true
	})
	for n := range hb.Instances {
		if _, is := w.odd[hb.Instances[n].GUID]; is {
			hb.Instances[n].State = actual.Unknown
			hb.UnknownStates++
		}
	}
}

// makeOdd has a DEA tell of an instance in an odd way from now on, or no more.
func (w *world) makeOdd(g app.GUID, kind oddKind) {
	if w.odd == nil {
		w.odd = map[app.GUID]oddEntry{}
	}
	if _, is := w.odd[g]; is {
		w.plainAgain(g)
		return
	}
	w.odd[g] = oddEntry{kind, w.now}
}

// plainAgain has instances told of as they should be.
func (w *world) plainAgain(list ...app.GUID) {
	for _, g := range list {
		if l := w.truth.lives[g]; l != nil {
			l.oddUntil = w.now
		}
		if delete(w.odd, g); w.garbled == g {
			w.garbled = app.GUID{}
		}
	}
}

// garble has a DEA, and who shares its id, send what cannot be decoded, or no more.
func (w *world) garble(d *simDEA) {
	d.garbles = !d.garbles
	for _, o := range w.sharers(d) {
		o.garbles = d.garbles
	}
	if d.garbles {
		return
	}
	for _, o := range append(w.sharers(d), d) {
		o.disturbed = w.now
	}
}

// sharers are the other DEAs that use a DEA's id.
func (w *world) sharers(d *simDEA) (others []*simDEA) {
	for _, o := range w.deas {
		if o != d && o.id == d.id {
			others = append(others, o)
		}
	}
	return others
}

// noteSteady takes note of how long a DEA has been heard as it is now, just before it beats.
func (w *world) noteSteady(d *simDEA) {
	switch {
	case d.quiet || d.hides > 0 || !w.linkUp || w.now < w.hush:
		d.steady = 0
		for _, o := range w.sharers(d) {
			o.disturbed = w.now
		}
	case d.steady == 0:
		d.steady = w.now
		for _, o := range w.sharers(d) {
			o.disturbed = w.now
		}
	}
}

// share has another DEA use a DEA's id too, or has it use one of its own again.
func (w *world) share(rnd *rand.Rand, d *simDEA) {
	if d.garbles {
		return // nobody would know who it is
	}
	if others := w.sharers(d); len(others) > 0 {
		for _, o := range append(others, d) {
			o.disturbed = w.now
		}
		d.id = fmt.Sprintf("dea-%03d", w.nextDEA)
		w.nextDEA++
		return
	}
	var alone []*simDEA
	for _, id := range w.deaKeys() {
		if o := w.deas[id]; o != d && !o.garbles && len(w.sharers(o)) == 0 {
			alone = append(alone, o)
		}
	}
	if len(alone) == 0 {
		return
	}
	o := alone[rnd.IntN(len(alone))]
	o.id = d.id
	o.disturbed, d.disturbed = w.now, w.now
}

// flips reports whether a copy at a start's index may be there in the eyes of hm and then not: its DEA has only just
// begun, or ceased, to share its id or to send what cannot be decoded.
func (w *world) flips(c commands.Command) bool {
	for _, d := range w.deas {
		if w.now.Sub(d.disturbed) < steadyAfter && slices.ContainsFunc(d.list, func(i actual.Instance) bool { return i.App == c.App && i.Index == c.Index }) {
			return true
		}
	}
	return false
}

// steadyAfter is after how long of being heard as it is what a DEA lists must be known.
const steadyAfter = 10 * hb

// checkKnown holds a published start against what the DEAs tell: none is needed for what they have told of all along,
// in whatever way it can be understood.
func (w *world) checkKnown(c commands.Command) {
	w.t.Helper()
	for _, d := range w.deas {
		if d.quiet || d.steady == 0 || w.now.Sub(max(d.steady, d.disturbed)) < steadyAfter || w.now.Sub(w.linkSince) < steadyAfter {
			continue
		}
		for _, i := range d.list {
			l := w.truth.lives[i.GUID]
			if i.App != c.App || i.Index != c.Index || !i.State.Live() || l == nil || w.now.Sub(max(l.born, l.oddUntil)) < steadyAfter {
				continue
			}
			w.checkKnownOf(c, d, i)
		}
	}
}

func (w *world) checkKnownOf(c commands.Command, d *simDEA, i actual.Instance) {
	w.t.Helper()
	odd, isOdd := w.odd[i.GUID]
	ttl := w.intake.live.TTL
	needless := func(what string, since app.Time) {
		w.t.Fatalf("start %v of %s/%d: %s runs on %s, %s for %v, steady for %v, born %v ago; recorded are %+v",
			c.Reason, c.App.Droplet, c.Index, i.GUID, d.id, what, w.now.Sub(since), w.now.Sub(d.steady), w.now.Sub(w.truth.lives[i.GUID].born), w.View().Instances(nil, c.App))
	}
	switch {
	case d.garbles:
		l := w.truth.lives[i.GUID]
		heard := max(l.born, l.oddUntil, d.disturbed, d.steady) <= d.plain.Add(-6*hb) // and the DEA since
		if heard && w.now.Sub(d.plain) < (garbledTTLs-1)*ttl && (!isOdd || odd.since > d.plain) && i.GUID != w.garbled {
			needless("which sends what cannot be decoded", d.plain)
		}
	case i.GUID == w.garbled: // for how long nobody knows
	case w.recordedUnderAnother(d, i): // which counts until that id is gone (W10)
	case !isOdd:
		needless("which lists it", d.steady)
	case w.now.Sub(odd.since) < 4*hb: // its oddness may not have been heard yet
	case odd.kind == oddWord:
		if !slices.ContainsFunc(w.View().Instances(nil, c.App), func(r actual.Located) bool { return r.GUID == i.GUID && r.State == actual.Unknown }) {
			needless("which lists it in an unknown state that is not recorded", odd.since)
		}
	case w.now.Sub(d.unheard) < 2*hb: // the leader's peers keep it on record, and do not tell what it says
	case len(w.intake.Unplaced(c.App, w.now)) == 0:
		needless("which lists it without an index, which is not known", odd.since)
	}
	if isOdd && odd.kind == oddIndex && !d.garbles && c.Reason == commands.ReasonMissing && w.now.Sub(odd.since) < ttl+w.opts.Policy.Grace {
		needless("which names it", odd.since)
	}
}

// recordedUnderAnother reports whether what counts of an instance is what is recorded under an id that its DEA used
// before.
func (w *world) recordedUnderAnother(d *simDEA, i actual.Instance) bool {
	return slices.ContainsFunc(w.View().Instances(nil, i.App), func(r actual.Located) bool { return r.GUID == i.GUID && r.DEA != d.id })
}
