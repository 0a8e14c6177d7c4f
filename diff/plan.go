package diff

import (
	"cmp"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// Op is one step of a plan: it schedules a command, or ends an outstanding one.
type Op struct {
	Schedule commands.Command // with its ID; zero if the step ends a command
	End      commands.ID
	Outcome  commands.State // Confirmed, Expired or Dropped
	Detail   string         // for people: why the command ends
	Rule     string         // that asks for the scheduled command
}

// Plan is what must be done about one app.
type Plan struct {
	Ops   []Op
	Ready []commands.ID // outstanding commands that may be claimed now
	Next  app.Time      // when to plan the app again; 0 if only after a change
	// WantsRead says that an early read of the desired state would help a decision.
	WantsRead bool
	// NeedsRead says that something waits for a read that begins from now on.
	NeedsRead bool
}

// MakePlan compares the findings of one app with its outstanding commands. A target that has an outstanding command
// gets no second one (R12, R31). A pending command whose finding is gone is dropped (R02, R03, R55). A sent command
// ends when its effect is heard or its keep time is over (R52). Behind a closed gate commands only end.
func MakePlan(in *Input, findings []Finding, now app.Time, p Policy) Plan {
	var plan Plan
	found := commandsOf(in, findings)
	for _, o := range unfound(in, found) {
		plan.endUnfound(in, findings, o, now, p)
	}
	for i := range findings {
		f := &findings[i]
		if f.Due > now {
			plan.wake(f.Due)
		}
		if f.Action == commands.None {
			continue
		}
		if f.Why == WhyNewerRead {
			plan.WantsRead, plan.NeedsRead = true, true
		}
		switch {
		case f.Expired:
			plan.Ops = append(plan.Ops, expired(in, f, now, p))
		case f.Command.IsZero():
		case f.Bucket == ToStart || f.Bucket == ToStop:
			plan.Ready = append(plan.Ready, f.Command)
		}
		if (f.Command.IsZero() || f.Expired) && len(in.Held) == 0 && schedulable(f) {
			plan.Ops = append(plan.Ops, Op{Schedule: scheduled(in.Key, f, now), Rule: f.Rule})
			plan.WantsRead = true
		}
	}
	return plan
}

// commandsOf gives a function that reports whether a finding names a command.
func commandsOf(in *Input, findings []Finding) func(commands.ID) bool {
	if len(in.Outstanding) <= fewOutstanding {
		return func(id commands.ID) bool {
			return slices.ContainsFunc(findings, func(f Finding) bool { return f.Command == id })
		}
	}
	named := make(map[commands.ID]bool, len(findings))
	for i := range findings {
		named[findings[i].Command] = true
	}
	return func(id commands.ID) bool { return named[id] }
}

// unfound gives the commands that no finding names, sorted by index, action and instance.
func unfound(in *Input, found func(commands.ID) bool) []*commands.Outstanding {
	var left []*commands.Outstanding
	for i := range in.Outstanding {
		if o := &in.Outstanding[i]; !found(o.ID) {
			left = append(left, o)
		}
	}
	slices.SortFunc(left, func(a, b *commands.Outstanding) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Action, b.Action), a.Instance.Compare(b.Instance))
	})
	return left
}

// endUnfound ends a command that no finding names: nothing is to be done about its target any more.
func (plan *Plan) endUnfound(in *Input, findings []Finding, o *commands.Outstanding, now app.Time, p Policy) {
	expiry := o.SentAt.Add(p.Keep())
	switch effect, heard := effectOf(in, findings, o); {
	case o.SentAt == 0, p.Shadow && !heard: // it was not sent, and never will be
		plan.Ops = append(plan.Ops, Op{End: o.ID, Outcome: commands.Dropped, Detail: effect})
	case heard:
		plan.Ops = append(plan.Ops, Op{End: o.ID, Outcome: commands.Confirmed, Detail: effect})
	case now >= expiry:
		plan.Ops = append(plan.Ops, Op{End: o.ID, Outcome: commands.Expired, Detail: effect})
	default:
		plan.wake(expiry)
	}
}

// effectOf says what happened to the target of a command, and whether the effect of the command was heard.
func effectOf(in *Input, findings []Finding, o *commands.Outstanding) (effect string, heard bool) {
	at := instancesAt(in, o.Index)
	named := func(match func(f *Finding) bool) bool {
		j, _ := slices.BinarySearchFunc(findings, o.Index, func(f Finding, index uint32) int { return cmp.Compare(f.Index, index) })
		for ; j < len(findings) && findings[j].Index == o.Index; j++ {
			if match(&findings[j]) {
				return true
			}
		}
		return false
	}
	if o.Action == commands.Start {
		switch {
		case slices.ContainsFunc(at, func(l actual.Located) bool { return l.State.Live() && l.GUID != o.Crashed }):
			return "an instance is live at the index", true
		case in.Desired == nil || !in.Desired.Wanted() || o.Index >= in.Desired.Instances:
			return "the index is no longer desired", false
		case named(func(f *Finding) bool { return f.Action == commands.Start }):
			return "something was heard of the index since: the start is decided anew", false
		}
		return "the index can no longer be started", false
	}
	i := slices.IndexFunc(at, func(l actual.Located) bool { return l.GUID == o.Instance })
	if i < 0 || at[i].State == actual.Crashed {
		return "the instance is gone", true
	}
	if named(func(f *Finding) bool { return f.Action == commands.Stop && f.Instance == o.Instance }) {
		return "the instance is to be stopped for another reason now", false
	}
	if in.Desired == nil && in.Foreign {
		return "the app is not desired here any more, and another cell may have it", false
	}
	return "the instance is desired, or the last one at its index", false
}

// instancesAt gives the instances at one index.
func instancesAt(in *Input, index uint32) []actual.Located {
	from, _ := slices.BinarySearchFunc(in.Instances, index, func(l actual.Located, index uint32) int { return cmp.Compare(l.Index, index) })
	to := from
	for to < len(in.Instances) && in.Instances[to].Index == index {
		to++
	}
	return in.Instances[from:to]
}

// schedulable reports whether a finding becomes a command now. A finding that waits for something other than time
// becomes one only when that is over. A start that waits for a newer read is an exception: its grace passes
// meanwhile.
func schedulable(f *Finding) bool {
	switch f.Why {
	case WhyNewerRead:
		return f.Action == commands.Start
	case WhyOtherStop, WhyCanary, WhySent, WhyUnknownState, WhyUnplaced:
		return false
	}
	return true
}

func scheduled(key app.Key, f *Finding, now app.Time) commands.Command {
	c := commands.Command{
		Action: f.Action, App: key, Index: f.Index, Reason: f.Reason, Priority: f.Priority, State: commands.Pending,
		CreatedAt: now, DueAt: f.Due, Tries: f.Tries,
	}
	if f.Action == commands.Stop {
		c.Instance = f.Instance
	}
	if f.Reason == commands.ReasonCrashed {
		c.CrashCount, c.Crashed = f.CrashCount, f.Crashed
	}
	c.ID = commands.NewID(c)
	return c
}

func (plan *Plan) wake(at app.Time) {
	if plan.Next == 0 || at < plan.Next {
		plan.Next = at
	}
}
