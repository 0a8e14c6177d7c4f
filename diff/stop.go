package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

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
