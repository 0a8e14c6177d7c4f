package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// unlessQuiet delays the stop that was added last, if it is due and relies on a live instance whose DEA has missed a
// heartbeat: that DEA may be gone, and its instance with it.
func (e *evaluation) unlessQuiet(g group) {
	if g.quiet > 0 {
		e.putOff(&e.findings[len(e.findings)-1])
	}
}

// putOff makes a due stop wait until the DEA that it relies on is heard or gone.
func (e *evaluation) putOff(f *Finding) {
	if f.Action == commands.Stop && (f.Bucket == ToStop || f.Bucket == Hold) {
		f.Bucket, f.Why, f.Due = Wait, WhyQuiet, e.now.Add(e.p.HeartbeatPeriod/2)
	}
}

// stopExtra adds the finding that an instance is not desired and must be stopped. The stop needs a read of the
// desired state that was begun after the instance appeared: a Cloud Controller starts instances before hm has read
// that they are wanted.
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

// awaitsRead reports whether a decision about something that appeared at a time still waits for a read of the desired
// state that was begun later. It waits for one grace at least, and while a read is under way or reads fail. If no
// read ends, the desired state becomes stale, and nothing is sent at all.
func (e *evaluation) awaitsRead(appeared app.Time) bool {
	return appeared >= e.in.Read.Began && (e.in.Read.Failing || e.in.Read.UnderWay || e.now < appeared.Add(e.p.Grace))
}

// stop adds the finding that an instance must be stopped: delay from now, unless a command for it is outstanding. A
// block keeps a due stop from being sent.
func (e *evaluation) stop(inst *actual.Located, f Finding, delay time.Duration, why, block Why) {
	f = about(inst, f)
	f.Action = commands.Stop
	o := e.outstanding(commands.Stop, inst.Index, inst.GUID)
	if o != nil && o.SentAt == 0 && o.Reason != f.Reason {
		o = nil // its due time and is_duplicate follow from another reason: a new command replaces it
	}
	e.resolve(&f, o, delay, why)
	if o != nil && o.SentAt == 0 && f.Reason == commands.ReasonExtra && e.p.StopYield > 0 {
		// Its delay began when it was scheduled, and ends early when nothing is left to wait for.
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

// readDue is until when awaitsRead waits for a read; 0 if that is not known.
func (e *evaluation) readDue(appeared app.Time) app.Time {
	if e.in.Read.Failing || e.in.Read.UnderWay {
		return 0
	}
	return appeared.Add(e.p.Grace)
}
