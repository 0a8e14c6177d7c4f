package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// unserved adds the finding of a desired index without a live instance.
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

// unclear is until when a start waits for an instance at the index in an unknown state; 0 if there is none.
func (e *evaluation) unclear(g group) (until app.Time) {
	for i := range g.instances {
		if inst := &g.instances[i]; inst.State == actual.Unknown {
			until = max(until, inst.Heard.Add(e.p.UnclearTTL()))
		}
	}
	return until
}

// canary adds the finding that a crashed index waits until an instance of the app is live (R06). A restart that is
// pending stays, so that the part of its back-off that has passed counts.
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

// start adds the finding that an index must be started: delay from now, unless a command for it is outstanding.
func (e *evaluation) start(f Finding, delay time.Duration, why Why) {
	f.Action = commands.Start
	o := e.outstanding(commands.Start, f.Index, app.GUID{})
	var tried app.Time
	f.Tries, tried = e.tries(&f, o)
	if o != nil && o.SentAt == 0 && o.Tries > f.Tries {
		o = nil // it waits because of starts without effect, and the index was heard of since: a new command replaces it
	}
	evacuation := f.Reason == commands.ReasonEvacuating
	if o != nil && o.SentAt == 0 && o.Reason != f.Reason { // a scheduled start stays as it is (R12)
		if !evacuation {
			f.Rule, why = "R12", whyPending(o.Reason)
		}
		f.Reason, f.CrashCount, f.Crashed = o.Reason, 0, app.GUID{}
	}
	// Without a new crash, the time since the start was sent counts. But if the index was not evaluated for a whole
	// grace after the command had expired, as behind a closed gate, it may not have been wanted all the time: its
	// grace begins anew.
	stale := len(e.in.Held) == 0 && f.Reason == commands.ReasonMissing && o != nil && o.SentAt != 0 && e.now >= e.expiry(o).Add(e.p.Grace)
	if o != nil && o.SentAt != 0 && f.Crashed == o.Crashed && !stale {
		delay = max(0, delay-e.now.Sub(o.SentAt))
	}
	e.resolve(&f, o, delay, why)
	if evacuation && f.Why != WhySent { // an evacuation needs the pending start now, whenever it is due
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
	case e.in.OtherGrewAt != 0 && e.awaitsRead(e.in.OtherGrewAt): // this may be the old version
		f.Bucket, f.Why = Wait, WhyNewerRead
		f.Due = max(f.Due, e.readDue(e.in.OtherGrewAt))
		e.startsAhead = true
	case !evacuation:
		e.startsAhead = true
	}
	e.add(f)
}

// tries counts the starts of f's index that were sent and had no effect, and says when the newest was sent. A new
// crash is an effect, and so is an exit since then.
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

// unplacedUntil takes an unplaced entry for the effect of a start, if the entry was first heard after the start was
// sent. It gives until when the next start waits because of it; 0 if no such entry is left.
func (e *evaluation) unplacedUntil(sent app.Time) app.Time {
	for i := e.unplaced; i < len(e.in.Unplaced); i++ {
		if at := e.in.Unplaced[i]; at >= sent {
			e.unplaced = i + 1
			return at.Add(e.p.UnclearTTL())
		}
	}
	return 0
}

// whyPending says what a pending start waits for that was scheduled for reason r.
func whyPending(r commands.Reason) Why {
	switch r {
	case commands.ReasonMissing:
		return WhyGrace
	case commands.ReasonCrashed:
		return WhyBackoff
	}
	return WhyNothing
}
