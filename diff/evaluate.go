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

// App appends the findings of one app at now to dst: exactly one for each recorded instance and one for each desired
// index without a live instance, sorted by index and instance.
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

// evaluation is the state of one call of App.
type evaluation struct {
	in       *Input
	now      app.Time
	p        Policy
	findings []Finding

	desired     uint32 // indices 0 to desired-1 are wanted
	staged      bool
	anyLive     bool    // an instance of the app is live, at any index (R06)
	served      Served  // of this version, or of the version in which the droplet is desired
	missing     float64 // share of desired indices without a live instance
	startsAhead bool    // a missing or crashed start has not been sent yet (R19)

	unclearUntil app.Time                         // until when a start at the present index waits for an instance in an unknown state
	unplaced     int                              // how many of in.Unplaced were taken for the effect of a start
	table        map[target]*commands.Outstanding // only for an app with many outstanding commands
}

// undesired adds the findings of an app that should not run: it is stopped, failed to stage, deleted, or an old
// version.
func (e *evaluation) undesired() {
	if e.in.Desired == nil && e.in.Foreign {
		e.leaveAlone()
		return
	}
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

// leaveAlone adds the findings of an app that may be another cell's.
func (e *evaluation) leaveAlone() {
	for i := range e.in.Instances {
		inst := &e.in.Instances[i]
		switch inst.State {
		case actual.Crashed:
			e.keep(inst, "R11", WhyCrashedInstance)
		case actual.Unknown, actual.Stopping:
			e.idle(inst)
		default:
			e.add(about(inst, Finding{Kind: KindForeign, Rule: "R65", Why: WhyOtherCell}))
		}
	}
}

// idle adds the finding of an instance that is there and not live: nothing is done about it.
func (e *evaluation) idle(inst *actual.Located) {
	why := WhyNothing
	if inst.State == actual.Unknown {
		why = WhyUnknownState
	}
	e.keep(inst, "R64", why)
}

// wanted adds the findings of an app that should run. It adds starts first, because stops wait for them (R19).
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

// inRange adds the findings of the instances at a desired index.
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

// outOfRange adds the findings of the instances at an index that is not desired (R18, R21, R24).
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
