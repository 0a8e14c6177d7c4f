package diff

import (
	"time"

	"hm/commands"
	"hm/internal/app"
)

// resolve sets when f is due and what it waits for, given the outstanding command for its target.
func (e *evaluation) resolve(f *Finding, o *commands.Outstanding, delay time.Duration, why Why) {
	f.Due, f.Why = e.now.Add(delay), why
	switch {
	case o == nil:
	case o.SentAt == 0:
		f.Command, f.Due = o.ID, o.DueAt
	case e.now < e.expiry(o) && !e.answered(f, o):
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

// expiry is when a sent command that had no effect is no longer outstanding: the end of its keep time.
func (e *evaluation) expiry(o *commands.Outstanding) app.Time { return o.SentAt.Add(e.p.Keep()) }

// target is the target of a command: an index to start, or an instance to stop.
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

// fewOutstanding is up to how many commands of an app are searched one by one; for more a table is made.
const fewOutstanding = 32

// outstanding gives the command for a target; nil if there is none.
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
			e.table[targetOf(o.Action, o.Index, o.Instance)] = o // raftfsm records at most one for each target
		}
	}
	return e.table[want]
}
