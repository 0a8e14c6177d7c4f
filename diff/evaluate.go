package diff

import (
	"cmp"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// App appends to dst what one app comes to at now: exactly one finding for each recorded instance and one for
// each desired index without a live instance, sorted by index and instance.
func App(dst []Finding, in *Input, now app.Time, p Policy) []Finding {
	e := evaluation{in: in, now: now, p: p, findings: dst}
	if in.Desired == nil || !in.Desired.Wanted() {
		e.undesired()
	} else {
		e.wanted()
	}
	found := e.findings[len(dst):]
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.Instance.Compare(b.Instance))
	})
	return e.findings
}

// evaluation is one call of App under way.
type evaluation struct {
	in       *Input
	now      app.Time
	p        Policy
	findings []Finding

	desired     uint32 // indices 0 to desired-1 are wanted
	staged      bool
	anyLive     bool    // some instance of the app is live, at whatever index (R06)
	served      Served  // how the wanted indices are served: of this version, or of the one in which the droplet is desired
	missing     float64 // share of desired indices without a live instance
	startsAhead bool    // a missing or crashed start has not been sent yet (R19)

	unclearUntil app.Time                         // until when a start at the index at hand waits for an instance in a state that hm does not know
	unplaced     int                              // entries of in.Unplaced that were taken for the effect of a start
	table        map[target]*commands.Outstanding // of an app with many outstanding commands
}

// undesired finds for an app that should not run at all: stopped, failed to stage, deleted, or another version.
func (e *evaluation) undesired() {
	rule := "R16"
	switch d := e.in.Desired; {
	case d == nil && !e.in.DesiredVersion.IsZero():
		rule = "R17"
	case d == nil:
	case d.State != desired.Started:
		rule = "R15"
	default:
		rule = "R14"
	}
	delay := time.Duration(0)
	if e.served = e.in.Elsewhere; rule == "R17" && e.served.Lacking {
		delay = e.p.StopYield
	}
	for i := range e.in.Instances {
		inst := &e.in.Instances[i]
		switch inst.State {
		case actual.Crashed:
			e.keep(inst, "R11", WhyCrashedInstance)
		case actual.Unknown, actual.Stopping:
			e.idle(inst)
		case actual.Evacuating:
			e.stopExtra(inst, KindUndesired, "R24", delay)
		default:
			e.stopExtra(inst, KindUndesired, rule, delay)
		}
	}
}

// live reports whether an instance serves or is about to: it is not, if it has been STARTING for too long.
func (e *evaluation) live(inst *actual.Located) bool {
	return inst.State.Live() && !e.stuck(inst)
}

func (e *evaluation) stuck(inst *actual.Located) bool {
	return inst.State == actual.Starting && e.p.StartingTTL > 0 && e.now >= inst.Heard.Add(e.p.StartingTTL)
}

// idle finds for an instance that is there and not live: nothing is to be done about it.
func (e *evaluation) idle(inst *actual.Located) {
	why := WhyNothing
	if inst.State == actual.Unknown {
		why = WhyUnknownState
	}
	e.keep(inst, "R64", why)
}

// wanted finds for an app that should run. Starts are found first: stops yield to them (R19).
func (e *evaluation) wanted() {
	e.desired, e.staged = e.in.Desired.Instances, e.in.Desired.Startable()
	served := uint32(0)
	for g := range e.groups() {
		if g.live() > 0 {
			e.anyLive = true
			if g.index < e.desired {
				served++
			}
		}
	}
	if e.desired > 0 {
		e.missing = float64(e.desired-served) / float64(e.desired)
	}
	e.served = ServedBy(e.desired, e.in.Instances)
	next := uint32(0)
	for g := range e.groups() {
		for ; next < min(g.index, e.desired); next++ {
			e.unserved(group{index: next})
		}
		if g.index < e.desired {
			next = g.index + 1
			if g.live() == 0 {
				e.unserved(g)
			}
		}
	}
	for ; next < e.desired; next++ {
		e.unserved(group{index: next})
	}
	for g := range e.groups() {
		if g.index >= e.desired {
			e.outOfRange(g)
		} else {
			e.inRange(g)
		}
	}
}

// unserved finds for a desired index without a live instance.
func (e *evaluation) unserved(g group) {
	e.unclearUntil = e.unclear(g)
	switch {
	case g.evacuating > 0 && !e.staged:
		e.start(Finding{Kind: KindEvacuating, Rule: "R25", Reason: commands.ReasonEvacuating, Index: g.index, Priority: 2}, 0, WhyNothing)
	case g.evacuating > 0:
		rule := "R29"
		if e.remembered(g.index).Count > 0 {
			rule = "R28"
		}
		e.start(Finding{Kind: KindEvacuating, Rule: rule, Reason: commands.ReasonEvacuating, Index: g.index, Priority: 2}, 0, WhyNothing)
	case e.staged && e.exited(e.remembered(g.index), actual.ExitShutdown, actual.ExitEvacuation):
		e.start(Finding{Kind: KindEvacuating, Rule: "R33", Reason: commands.ReasonEvacuating, Index: g.index, Priority: 2}, 0, WhyNothing)
	default:
		f, delay, crashed := e.crash(g)
		kind, reason := KindMissing, commands.ReasonMissing
		if crashed {
			kind, reason = KindCrashed, commands.ReasonCrashed
		}
		f.Kind, f.Reason, f.Index, f.Priority = kind, reason, g.index, e.missing
		switch {
		case !e.staged:
			e.add(Finding{Bucket: Wait, Kind: kind, Rule: "R13", Index: g.index, Why: WhyStaging})
		case crashed && g.index != 0 && !e.anyLive:
			e.canary(g.index, kind)
		case crashed:
			e.start(f, delay, WhyBackoff)
		default:
			f.Rule = "R01"
			if e.in.GrewAt == 0 {
				f.Rule = "R04"
			}
			if g.stuck > 0 {
				f.Rule = "R63"
			}
			e.start(f, e.p.Grace, WhyGrace)
		}
	}
}

// unclear is until when an instance at an index, in a state that hm does not know, is waited for; 0 if there is none.
func (e *evaluation) unclear(g group) (until app.Time) {
	for i := range g.instances {
		if inst := &g.instances[i]; inst.State == actual.Unknown {
			until = max(until, inst.Heard.Add(e.p.UnclearTTL()))
		}
	}
	return until
}

// canary finds that a crashed index waits until something of the app is live (R06). A restart that is pending
// keeps its place, and with it the time of its back-off that has passed.
func (e *evaluation) canary(index uint32, kind Kind) {
	f := Finding{Kind: kind, Rule: "R06", Index: index}
	if o := e.outstanding(commands.Start, index, app.GUID{}); o != nil {
		f.Action, f.Reason, f.Priority = commands.Start, o.Reason, e.missing
		e.resolve(&f, o, 0, WhyCanary)
	}
	if f.Why != WhySent {
		f.Bucket, f.Why = Wait, WhyCanary
	}
	e.add(f)
}

// inRange finds for the instances at a desired index.
func (e *evaluation) inRange(g group) {
	if g.live() > 1 {
		e.duplicates(g)
	}
	for i := range g.instances {
		inst := &g.instances[i]
		switch {
		case inst.State == actual.Crashed && g.live() > 0:
			e.keep(inst, "R10", WhyCrashedInstance)
		case inst.State == actual.Crashed:
			e.keep(inst, "R05", WhyCrashedInstance)
		case inst.State == actual.Evacuating:
			e.evacuating(inst, g)
		case inst.State == actual.Unknown || inst.State == actual.Stopping:
			e.idle(inst)
		case e.stuck(inst):
			e.replaced(inst, g)
		case g.live() == 1:
			e.keep(inst, "", WhyNothing)
		}
	}
}

// evacuating finds for one evacuating instance at a desired index (R25 to R29).
func (e *evaluation) evacuating(inst *actual.Located, g group) {
	complete := Finding{Kind: KindEvacuating, Reason: commands.ReasonEvacuationComplete}
	switch {
	case !e.staged:
		complete.Rule = "R25"
	case g.running > 0:
		complete.Rule = "R26"
	case g.live() > 0:
		e.add(about(inst, Finding{Bucket: Wait, Kind: KindEvacuating, Rule: "R27", Why: WhyReplacement}))
		return
	case e.remembered(g.index).Count > 0:
		complete.Rule = "R28"
	default:
		e.keep(inst, "R29", WhyReplacement)
		return
	}
	e.stop(inst, complete, 0, WhyNothing, WhyNothing)
	e.unlessQuiet(g)
}

// replaced finds for an instance that has been STARTING for too long: it is stopped once another one runs (R63), which
// is not on its way out itself.
func (e *evaluation) replaced(inst *actual.Located, g group) {
	stays := func(l actual.Located) bool {
		return l.State == actual.Running && e.outstanding(commands.Stop, g.index, l.GUID) == nil
	}
	switch {
	case g.running > 0:
		block := WhyNothing
		if !slices.ContainsFunc(g.instances, stays) {
			block = WhyOtherStop
		}
		e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R63", Reason: commands.ReasonDuplicate}, 0, WhyNothing, block)
		e.unlessQuiet(g)
	case g.live() > 0:
		e.add(about(inst, Finding{Bucket: Wait, Kind: KindDuplicate, Rule: "R63", Why: WhyReplacement}))
	default:
		e.keep(inst, "R63", WhyStuck)
	}
}

// unlessQuiet puts off the stop that was found last, if it is due and relies on a live copy whose DEA has missed a
// heartbeat: that DEA may be gone, and the copy with it.
func (e *evaluation) unlessQuiet(g group) {
	if g.quiet > 0 {
		e.putOff(&e.findings[len(e.findings)-1])
	}
}

// putOff makes a stop that is due wait until the DEA that it relies on has spoken, or is gone.
func (e *evaluation) putOff(f *Finding) {
	if f.Action == commands.Stop && (f.Bucket == ToStop || f.Bucket == Hold) {
		f.Bucket, f.Why, f.Due = Wait, WhyQuiet, e.now.Add(e.p.HeartbeatPeriod/2)
	}
}

// outOfRange finds for the instances at an index that is not desired (R18, R21, R24).
func (e *evaluation) outOfRange(g group) {
	rule := "R18"
	if g.live() > 1 {
		rule = "R21"
	}
	for i := range g.instances {
		inst := &g.instances[i]
		switch {
		case inst.State == actual.Crashed:
			e.keep(inst, "R11", WhyCrashedInstance)
		case inst.State == actual.Unknown || inst.State == actual.Stopping:
			e.idle(inst)
		case inst.State == actual.Evacuating && (e.p.StopYield <= 0 || !e.served.Lacking):
			e.stopExtra(inst, KindExtra, "R24", 0)
		case e.served.Lacking && e.p.StopYield > 0:
			e.stopExtra(inst, KindExtra, "R19", e.p.StopYield)
		case e.startsAhead:
			e.stopExtra(inst, KindExtra, "R19", e.p.Grace)
		default:
			e.stopExtra(inst, KindExtra, rule, 0)
		}
	}
}

// duplicates finds for several live instances at one desired index (R20). The copy that serves best stays: a
// RUNNING one before a STARTING one, then one that was not told to stop, then the one that was recorded so first.
// At most one copy is on its way out at any moment, so that they can never all be (W02, I3).
func (e *evaluation) duplicates(g group) {
	var staying []*actual.Located
	leaving := false
	for i := range g.instances {
		inst := &g.instances[i]
		if !e.live(inst) {
			continue
		}
		if o := e.outstanding(commands.Stop, g.index, inst.GUID); o != nil && o.SentAt != 0 && e.now < e.expiry(o) {
			leaving = true
			e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R20", Reason: o.Reason}, 0, WhyNothing, WhyNothing)
			continue
		}
		staying = append(staying, inst)
	}
	asked := func(inst *actual.Located) int { // 1 if it was told to stop with no effect so far, or is about to be
		if e.outstanding(commands.Stop, g.index, inst.GUID) != nil {
			return 1
		}
		return 0
	}
	slices.SortFunc(staying, func(a, b *actual.Located) int {
		return cmp.Or(cmp.Compare(b.State, a.State), asked(a)-asked(b), cmp.Compare(a.Heard, b.Heard), a.GUID.Compare(b.GUID))
	})
	scheduled := func(inst *actual.Located) bool {
		o := e.outstanding(commands.Stop, g.index, inst.GUID)
		return o != nil && o.SentAt == 0 && o.Reason == commands.ReasonDuplicate
	}
	ahead := 0 // copies whose stop is scheduled already: the others follow them
	for _, inst := range staying[min(1, len(staying)):] {
		if scheduled(inst) {
			ahead++
		}
	}
	for i, inst := range staying {
		if i == 0 {
			e.keep(inst, "R20", WhyNothing)
			continue
		}
		block := WhyNothing
		if leaving {
			block = WhyOtherStop
		}
		delay := time.Duration(e.p.DuplicateGrace+ahead) * e.p.Grace
		if !scheduled(inst) {
			ahead++
		}
		e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R20", Reason: commands.ReasonDuplicate}, delay, WhyDuplicateGrace, block)
		e.unlessQuiet(g)
		if due := e.findings[len(e.findings)-1].Bucket; due == ToStop || due == Hold {
			leaving = true
		}
	}
}

// stopExtra stops an instance that the desired state does not ask for. The verdict needs a read of the desired
// state that was begun after the instance appeared: a Cloud Controller starts instances before hm has read that
// they are wanted.
func (e *evaluation) stopExtra(inst *actual.Located, kind Kind, rule string, delay time.Duration) {
	block := WhyNothing
	if e.awaitsRead(e.in.GrewAt) {
		block = WhyNewerRead
	}
	e.stop(inst, Finding{Kind: kind, Rule: rule, Reason: commands.ReasonExtra}, delay, WhyStartsFirst, block)
	if e.served.Quiet && e.p.StopYield > 0 {
		e.putOff(&e.findings[len(e.findings)-1])
	}
}

// awaitsRead reports whether what appeared at a time is still to be held against a read of the desired state that was
// begun later. Such a read is waited for as long as one is under way or reads fail, and one grace in any case: it is
// asked for at once. If none ends, the desired state becomes stale, and nothing is sent at all.
func (e *evaluation) awaitsRead(appeared app.Time) bool {
	return appeared >= e.in.Read.Began && (e.in.Read.Failing || e.in.Read.UnderWay || e.now < appeared.Add(e.p.Grace))
}

// start finds that an index is to be started, delay from now unless a command for it is outstanding.
func (e *evaluation) start(f Finding, delay time.Duration, why Why) {
	f.Action = commands.Start
	o := e.outstanding(commands.Start, f.Index, app.GUID{})
	var tried app.Time
	f.Tries, tried = e.tries(&f, o)
	if o != nil && o.SentAt == 0 && o.Tries > f.Tries {
		o = nil // it waits longer for starts without effect, and since then something was heard of the index: it is made anew
	}
	evacuation := f.Reason == commands.ReasonEvacuating
	if o != nil && o.SentAt == 0 && o.Reason != f.Reason { // what is scheduled stays as it is (R12)
		if !evacuation {
			f.Rule, why = "R12", whyPending(o.Reason)
		}
		f.Reason, f.CrashCount, f.Crashed = o.Reason, 0, app.GUID{}
	}
	// Not a further crash: the time since it was sent counts. But where nobody looked for a whole grace after the command
	// had expired, as behind a gate that was closed, the index may not have been wanted all along: its grace begins anew.
	stale := len(e.in.Held) == 0 && f.Reason == commands.ReasonMissing && o != nil && o.SentAt != 0 && e.now >= e.expiry(o).Add(e.p.Grace)
	if o != nil && o.SentAt != 0 && f.Crashed == o.Crashed && !stale {
		delay = max(0, delay-e.now.Sub(o.SentAt))
	}
	e.resolve(&f, o, delay, why)
	if evacuation && f.Why != WhySent { // whatever its time, a pending start is what the evacuation needs now
		f.Bucket, f.Due, f.Why = ToStart, min(f.Due, e.now), WhyNothing
	}
	wait := func(until app.Time, why Why) {
		if until > e.now && until >= f.Due && f.Why != WhySent {
			f.Bucket, f.Due, f.Why = Wait, until, why
		}
	}
	if f.Tries > 0 {
		wait(tried.Add(e.p.Pause(f.Tries)), WhyNoEffect)
		wait(e.unplacedUntil(tried), WhyUnplaced)
	}
	wait(e.unclearUntil, WhyUnknownState)
	switch {
	case f.Why == WhySent:
	case e.in.OtherGrewAt != 0 && e.awaitsRead(e.in.OtherGrewAt): // this version may be the old one
		f.Bucket, f.Why = Wait, WhyNewerRead
		f.Due = max(f.Due, e.readDue(e.in.OtherGrewAt))
		e.startsAhead = true
	case !evacuation:
		e.startsAhead = true
	}
	e.add(f)
}

// tries counts the starts of f's index that were sent and had no effect, and says when the newest was sent. A new crash
// is an effect, and so is an exit that was heard since.
func (e *evaluation) tries(f *Finding, o *commands.Outstanding) (n uint32, at app.Time) {
	c := e.remembered(f.Index)
	n, at = c.Tries, c.TriedAt
	if o != nil && o.SentAt != 0 && e.now >= e.expiry(o) {
		n, at = n+1, o.SentAt
	}
	if c.ExitedAt > at || f.Reason == commands.ReasonCrashed && f.Crashed != c.Instance {
		return 0, 0
	}
	return n, at
}

// unplacedUntil takes an entry that names the app and no index for the effect of the start that was sent at a time, if it
// was first heard later. It gives until when; 0 if there is none left.
func (e *evaluation) unplacedUntil(sent app.Time) app.Time {
	for i := e.unplaced; i < len(e.in.Unplaced); i++ {
		if at := e.in.Unplaced[i]; at >= sent {
			e.unplaced = i + 1
			return at.Add(e.p.UnclearTTL())
		}
	}
	return 0
}

// whyPending says what a start that was scheduled for a reason waits for.
func whyPending(r commands.Reason) Why {
	switch r {
	case commands.ReasonMissing:
		return WhyGrace
	case commands.ReasonCrashed:
		return WhyBackoff
	}
	return WhyNothing
}

// stop finds that an instance is to be stopped, delay from now unless a command for it is outstanding. block, if
// any, keeps a stop that is due from being sent.
func (e *evaluation) stop(inst *actual.Located, f Finding, delay time.Duration, why, block Why) {
	f = about(inst, f)
	f.Action = commands.Stop
	o := e.outstanding(commands.Stop, inst.Index, inst.GUID)
	if o != nil && o.SentAt == 0 && o.Reason != f.Reason {
		o = nil // its time and its is_duplicate belong to another reason: it is dropped, and made anew
	}
	e.resolve(&f, o, delay, why)
	if o != nil && o.SentAt == 0 && f.Reason == commands.ReasonExtra && e.p.StopYield > 0 {
		// It yields from when it was made, as long as there is something to yield to, and no longer.
		f.Due, f.Bucket, f.Why = e.now, ToStop, WhyNothing
		if until := o.MadeAt.Add(delay); delay > 0 && until > e.now {
			f.Due, f.Bucket, f.Why = until, Wait, why
		}
	}
	if block != WhyNothing && f.Why != WhySent {
		f.Bucket, f.Why = Wait, block
		if block == WhyNewerRead {
			f.Due = max(f.Due, e.readDue(e.in.GrewAt))
		}
	}
	e.add(f)
}

// readDue is until when a read that was begun after something appeared is waited for; 0 if that cannot be told.
func (e *evaluation) readDue(appeared app.Time) app.Time {
	if e.in.Read.Failing || e.in.Read.UnderWay {
		return 0
	}
	return appeared.Add(e.p.Grace)
}

// resolve settles when f is due and what it waits for, given the outstanding command for its target.
func (e *evaluation) resolve(f *Finding, o *commands.Outstanding, delay time.Duration, why Why) {
	f.Due, f.Why = e.now.Add(delay), why
	switch {
	case o == nil:
	case o.SentAt == 0:
		f.Command, f.Due = o.ID, o.DueAt
	case e.now < e.expiry(o):
		f.Command, f.Due, f.Bucket, f.Why = o.ID, e.expiry(o), Wait, WhySent
		return
	default:
		f.Command, f.Expired = o.ID, true
	}
	f.Bucket = Wait
	if f.Due <= e.now {
		f.Why = WhyNothing
		f.Bucket = ToStart
		if f.Action == commands.Stop {
			f.Bucket = ToStop
		}
	}
}

// expiry is when a sent command that had no effect ceases to be outstanding (keep_alive in part 3 of the rules).
func (e *evaluation) expiry(o *commands.Outstanding) app.Time { return o.SentAt.Add(e.p.Grace) }

// target is what a command is about: an index to start, or an instance to stop.
type target struct {
	action   commands.Action
	index    uint32 // of a start
	instance app.GUID
}

func targetOf(a commands.Action, index uint32, instance app.GUID) target {
	if a == commands.Stop {
		index = 0
	}
	return target{a, index, instance}
}

// fewOutstanding is how many commands are searched one by one; an app with more gets a table.
const fewOutstanding = 32

// outstanding finds the command for a target, nil if there is none.
func (e *evaluation) outstanding(a commands.Action, index uint32, instance app.GUID) *commands.Outstanding {
	want := targetOf(a, index, instance)
	if len(e.in.Outstanding) <= fewOutstanding {
		for i := range e.in.Outstanding {
			if o := &e.in.Outstanding[i]; targetOf(o.Action, o.Index, o.Instance) == want {
				return o
			}
		}
		return nil
	}
	if e.table == nil {
		e.table = make(map[target]*commands.Outstanding, len(e.in.Outstanding))
		for i := range e.in.Outstanding {
			o := &e.in.Outstanding[i]
			e.table[targetOf(o.Action, o.Index, o.Instance)] = o // raftfsm records at most one a target
		}
	}
	return e.table[want]
}

func (e *evaluation) keep(inst *actual.Located, rule string, why Why) {
	f := about(inst, Finding{Rule: rule, Why: why})
	if inst.State == actual.Starting && e.p.StartingTTL > 0 && !e.stuck(inst) {
		f.Due = inst.Heard.Add(e.p.StartingTTL)
	}
	e.add(f)
}

func (e *evaluation) add(f Finding) {
	if (f.Bucket == ToStart || f.Bucket == ToStop) && len(e.in.Held) > 0 {
		f.Bucket, f.Why = Hold, WhyGate
	}
	e.findings = append(e.findings, f)
}

func about(inst *actual.Located, f Finding) Finding {
	f.Index, f.Instance, f.DEA, f.State = inst.Index, inst.GUID, inst.DEA, inst.State
	return f
}

// group is the instances at one index.
type group struct {
	index                                  uint32
	instances                              []actual.Located
	starting, running, crashed, evacuating int
	counted                                int // crashed ones that were counted and not answered
	stuck                                  int // STARTING for too long: not among starting
	quiet                                  int // live ones on DEAs that have missed a heartbeat
}

func (g group) live() int { return g.starting + g.running }

// groups yields the indices that have instances, in order.
func (e *evaluation) groups() func(yield func(group) bool) {
	return func(yield func(group) bool) {
		for rest := e.in.Instances; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Index == rest[0].Index {
				n++
			}
			g := group{index: rest[0].Index, instances: rest[:n]}
			for i := range g.instances {
				inst := &g.instances[i]
				if inst.Quiet && e.live(inst) {
					g.quiet++
				}
				switch inst.State {
				case actual.Starting:
					if e.stuck(inst) {
						g.stuck++
					} else {
						g.starting++
					}
				case actual.Running:
					g.running++
				case actual.Crashed:
					g.crashed++
					if inst.Mark == actual.CrashCounted {
						g.counted++
					}
				case actual.Evacuating:
					g.evacuating++
				}
			}
			if !yield(g) {
				return
			}
			rest = rest[n:]
		}
	}
}
