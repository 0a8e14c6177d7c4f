package diff

import (
	"slices"
	"time"

	"hm/commands"
	"hm/internal/app"
)

// Keep is how long a claimed command is outstanding without an effect. In shadow mode the effect comes from another
// health manager, which acts in its own time.
func (p Policy) Keep() time.Duration {
	if p.Shadow {
		return max(p.Grace, p.OtherWindow())
	}
	return p.Grace
}

// What is known of the times of HM9000, in heartbeats.
const (
	otherPass  = 6  // from one of its passes to the next (C08)
	otherDelay = 12 // the longest delay that it puts on a first command: that of a duplicate (R20)
)

// OtherWindow is how much earlier or later than hm another health manager may act on the same drift. HM9000 sees the
// drift in its next pass, and acts on it in the first pass after its delay, so it takes two passes and the delay. The
// longer of its delay and of hm's own is allowed for either side.
func (p Policy) OtherWindow() time.Duration {
	own := max(p.Grace, time.Duration(p.DuplicateGrace)*p.Grace, p.StopYield)
	return 2*otherPass*p.HeartbeatPeriod + max(own, otherDelay*p.HeartbeatPeriod)
}

// answered reports whether a claimed start of f's index had an effect that is over: in shadow mode only another health
// manager can have started the instance that has crashed since.
func (e *evaluation) answered(f *Finding, o *commands.Outstanding) bool {
	return e.p.Shadow && o.Action == commands.Start && o.SentAt != 0 && f.Crashed != o.Crashed && f.Crashed != (app.GUID{})
}

// expired ends the claimed command of a finding that asks for another one.
func expired(in *Input, f *Finding, now app.Time, p Policy) Op {
	if !p.Shadow {
		return Op{End: f.Command, Outcome: commands.Expired, Detail: "no effect was heard within the grace"}
	}
	i := slices.IndexFunc(in.Outstanding, func(o commands.Outstanding) bool { return o.ID == f.Command })
	if now < in.Outstanding[i].SentAt.Add(p.Keep()) {
		return Op{End: f.Command, Outcome: commands.Confirmed, Detail: "an instance was started at the index, and has crashed since"}
	}
	return Op{End: f.Command, Outcome: commands.Expired, Detail: "shadow mode did not send it, and no other health manager carried it out in time"}
}
