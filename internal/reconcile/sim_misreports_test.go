package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// misreport is how a DEA reports an instance wrongly.
type misreport struct {
	kind  misreportKind
	since app.Time
}

type misreportKind int

const (
	unknownState  misreportKind = iota // in a state that hm does not know
	noIndex                            // without an index
	noIndexNoGUID                      // without an index, and without its guid
)

// applyMisreports has a heartbeat report misreported instances wrongly.
func (cf *simCF) applyMisreports(hb *actual.Heartbeat) {
	if cf.junk {
		hb.Rejected += 2
		hb.Unreadable = append(hb.Unreadable, app.MustGUID(fmt.Sprint("junk-", hb.DEA)))
	}
	if len(cf.misreported) == 0 {
		return
	}
	hb.Instances = slices.DeleteFunc(hb.Instances, func(i actual.Instance) bool {
		misreport, is := cf.misreported[i.GUID]
		if !is || misreport.kind == unknownState {
			return false
		}
		hb.Rejected++
		u := actual.Unplaced{App: i.App, GUID: i.GUID}
		if misreport.kind == noIndexNoGUID {
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
		if _, is := cf.misreported[hb.Instances[n].GUID]; is {
			hb.Instances[n].State = actual.Unknown
			hb.UnknownStates++
		}
	}
}

// setMisreported has a DEA tell of an instance wrongly from now on, or correctly again.
func (cf *simCF) setMisreported(g app.GUID, kind misreportKind) {
	if cf.misreported == nil {
		cf.misreported = map[app.GUID]misreport{}
	}
	if _, is := cf.misreported[g]; is {
		cf.reportPlainly(g)
		return
	}
	cf.misreported[g] = misreport{kind, cf.now}
}

// reportPlainly makes DEAs report instances correctly again.
func (cf *simCF) reportPlainly(list ...app.GUID) {
	for _, g := range list {
		if l := cf.truth.lives[g]; l != nil {
			l.misreportedUntil, l.excused = cf.now, cf.now
		}
		if delete(cf.misreported, g); cf.unreadable == g {
			cf.unreadable = app.GUID{}
		}
	}
}

// garble makes a DEA, and those that share its id, send messages that cannot be decoded, or ends
// that.
func (cf *simCF) garble(d *simDEA) {
	d.garbles = !d.garbles
	for _, o := range cf.sharers(d) {
		o.garbles = d.garbles
	}
	if d.garbles {
		return
	}
	for _, o := range append(cf.sharers(d), d) {
		o.disturbed = cf.now
	}
}

// sharers gives the other DEAs that use a DEA's id.
func (cf *simCF) sharers(d *simDEA) (others []*simDEA) {
	if !cf.shared {
		return nil
	}
	for _, o := range cf.deas {
		if o != d && o.id == d.id {
			others = append(others, o)
		}
	}
	return others
}

// noteHeard notes since when a DEA has been heard without a change, just before its heartbeat.
func (cf *simCF) noteHeard(d *simDEA) {
	switch {
	case d.quiet || d.omits > 0 || !cf.linkUp || cf.now < cf.silentUntil:
		d.heardSince = 0
		for _, o := range cf.sharers(d) {
			o.disturbed = cf.now
		}
	case d.heardSince == 0:
		d.heardSince = cf.now
		for _, o := range cf.sharers(d) {
			o.disturbed = cf.now
		}
	}
}

// share makes another DEA use a DEA's id, or gives the DEA an id of its own again.
func (cf *simCF) share(rnd *rand.Rand, d *simDEA) {
	if d.garbles {
		return // nobody would know who it is
	}
	if others := cf.sharers(d); len(others) > 0 {
		for _, o := range append(others, d) {
			o.disturbed, o.jitter = cf.now, false
		}
		d.id = fmt.Sprintf("dea-%03d", cf.nextDEA)
		cf.nextDEA++
		return
	}
	var alone []*simDEA
	for _, id := range cf.deaKeys() {
		if o := cf.deas[id]; o != d && !o.garbles && len(cf.sharers(o)) == 0 {
			alone = append(alone, o)
		}
	}
	if len(alone) == 0 {
		return
	}
	o := alone[rnd.IntN(len(alone))]
	o.id, cf.shared = d.id, true
	d.jitter = rnd.IntN(2) == 0
	o.jitter = d.jitter
	o.disturbed, d.disturbed = cf.now, cf.now
}

// flips reports whether hm may rightly change its mind about an instance at a start's index: its
// DEA has recently begun or ceased to share its id, or to send messages that cannot be decoded.
func (cf *simCF) flips(c commands.Command) bool {
	if c.Reason == commands.ReasonMissing {
		return false
	}
	for _, d := range cf.deas {
		if cf.now.Sub(d.disturbed) < steadyAfter && slices.ContainsFunc(d.list, func(i actual.Instance) bool { return i.App == c.App && i.Index == c.Index }) {
			return true
		}
	}
	return false
}

// steadyAfter is after how long hm must know what a DEA lists that is heard without a change.
const steadyAfter = 10 * hb

// checkKnown requires that a start is not needless: no DEA has listed a live instance at its index
// for long, in any way that hm can understand.
func (cf *simCF) checkKnown(n *simNode, c commands.Command) {
	cf.t.Helper()
	for _, d := range cf.deas {
		if d.quiet || d.heardSince == 0 || cf.now.Sub(max(d.heardSince, d.disturbed)) < steadyAfter || cf.now.Sub(max(cf.linkSince, n.linkSince)) < steadyAfter {
			continue
		}
		for _, i := range d.list {
			l := cf.truth.lives[i.GUID]
			if i.App != c.App || i.Index != c.Index || !i.State.Live() || l == nil || cf.now.Sub(max(l.born, l.misreportedUntil)) < steadyAfter {
				continue
			}
			cf.checkKnownOf(n, c, d, i)
		}
	}
}

func (cf *simCF) checkKnownOf(n *simNode, c commands.Command, d *simDEA, i actual.Instance) {
	cf.t.Helper()
	misreport, is := cf.misreported[i.GUID]
	ttl := n.intake.live.TTL
	needless := func(what string, since app.Time) {
		cf.t.Fatalf("start %v of %s/%d: %s runs on %s, %s for %v, steady for %v, born %v ago; recorded are %+v",
			c.Reason, c.App.Droplet, c.Index, i.GUID, d.id, what, cf.now.Sub(since), cf.now.Sub(d.heardSince), cf.now.Sub(cf.truth.lives[i.GUID].born), cf.View().Instances(nil, c.App))
	}
	switch {
	case d.garbles:
		l := cf.truth.lives[i.GUID]
		told := max(l.born, l.misreportedUntil, d.disturbed, d.heardSince)
		heard := told <= d.decodedAt.Add(-6*hb) // and the DEA since
		if n.begun > d.decodedAt {              // then it knows only what could be recorded before
			heard = heard && cf.recordedFor(told, n.begun) >= 6*hb
		}
		if heard && cf.now.Sub(d.decodedAt) < (garbledTTLs-1)*ttl && (!is || misreport.since > d.decodedAt) && i.GUID != cf.unreadable {
			needless("which sends what cannot be decoded", d.decodedAt)
		}
	case i.GUID == cf.unreadable: // for how long nobody knows
	case cf.recordedUnderAnother(d, i): // which counts until that id is gone (W10)
	case !is:
		needless("which lists it", d.heardSince)
	case cf.now.Sub(misreport.since) < 4*hb: // the misreport may not have been heard yet
	case misreport.kind == unknownState:
		if !slices.ContainsFunc(cf.View().Instances(nil, c.App), func(r actual.Located) bool { return r.GUID == i.GUID && r.State == actual.Unknown }) {
			needless("which lists it in an unknown state that is not recorded", misreport.since)
		}
	case cf.now.Sub(d.unheard) < 2*hb: // the leader's peers keep it on record, and do not tell what it says
	case len(n.intake.Unplaced(c.App, n.Now())) == 0:
		needless("which lists it without an index, which is not known", misreport.since)
	}
	// An entry keeps what it names on record for one time to live from the first heartbeat that leaves it open.
	named := misreport.since
	if i.GUID == cf.unreadable {
		named = min(named, cf.unreadableSince)
	}
	if is && misreport.kind == noIndex && !d.garbles && c.Reason == commands.ReasonMissing && cf.now.Sub(named) < ttl+cf.opts.Policy.Grace {
		needless("which names it", named)
	}
}

// recordedUnderAnother reports whether an instance is recorded under an id that its DEA used
// before. Then that record counts.
func (cf *simCF) recordedUnderAnother(d *simDEA, i actual.Instance) bool {
	return slices.ContainsFunc(cf.View().Instances(nil, i.App), func(r actual.Located) bool { return r.GUID == i.GUID && r.DEA != d.id })
}
