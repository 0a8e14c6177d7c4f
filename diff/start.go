package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

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
