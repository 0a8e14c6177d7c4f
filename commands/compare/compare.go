// Package compare compares the commands that hm decides in shadow mode with those that another health manager
// publishes at the same time. It is pure.
package compare

import (
	"cmp"
	"slices"
	"time"

	"hm/commands"
	"hm/internal/app"
)

// Own is a command of hm, as far as it came.
type Own struct {
	ID       commands.ID
	Action   commands.Action
	App      app.Key
	Index    uint32
	Instance app.GUID // of a stop
	Reason   string
	Rule     string // that asked for it; empty if it is not known

	Due     app.Time
	Decided app.Time // when enforce mode would have sent it; 0: it ended before, or still waits
	Ended   app.Time // 0: outstanding
	State   commands.State
	Detail  string // why it ended
}

// Other is a command that another health manager published.
type Other struct {
	At        app.Time
	Action    commands.Action
	App       app.Key
	Index     int      // -1: a stop that does not say it
	Instance  app.GUID // of a stop
	MessageID string
	Duplicate bool // is_duplicate of a stop
}

// Span is a time from From until Until.
type Span struct {
	From  app.Time
	Until app.Time // 0: it lasts
	Why   string
}

func (s Span) has(at app.Time) bool { return s.From <= at && (s.Until == 0 || at < s.Until) }

func (s Span) overlaps(from, until app.Time) bool {
	return s.From <= until && (s.Until == 0 || from < s.Until)
}

// Input is everything that a comparison depends on. It should begin two windows before Since, so that the first
// commands find their counterparts and what they repeat.
type Input struct {
	Own    []Own
	Others []Other
	Held   []Span // when hm held all commands, and why
	// Unheard says when the other's commands could not be heard, and Unknown when hm's own are not known.
	Unheard, Unknown []Span
	Since, Now       app.Time
	// Right reports whether hm's record says by now that a command only by the other was right: hm did not know it in
	// time. nil: it never does.
	Right  func(*Other) bool
	Window time.Duration // the longest time between two commands that are the same decision
}

// Class says who issued a command.
type Class string

// The classes. Their names are stable.
const (
	Both      Class = "both"
	OnlyHM    Class = "only-hm"
	OnlyOther Class = "only-other"
	Hindsight Class = "hindsight" // only the other, before hm knew that it was to be done
	Open      Class = "open"      // only one so far; the other may follow
	Unknown   Class = "unknown"   // only one is known, and the other may have been missed
)

// Row is one decision of either health manager, or of both.
type Row struct {
	Class Class
	Own   *Own          // nil: only the other's
	Other *Other        // nil: only hm's
	Delay time.Duration // of Both: from hm's command to the other's; negative if the other was first
	// OwnRepeats and OtherRepeats count how often each issued it again, since it had no effect.
	OwnRepeats, OtherRepeats int
	// HeldBy, of a command only by the other, says why hm held all commands at that time.
	HeldBy []string
	// Later, of a command only by the other, is the command that hm had scheduled for the same target.
	Later *Own
	// Why, of Unknown, says what was missed.
	Why string
}

// At is when the first of the two commands was issued.
func (r Row) At() app.Time {
	switch {
	case r.Own == nil:
		return r.Other.At
	case r.Other == nil:
		return r.Own.at()
	}
	return min(r.Own.at(), r.Other.At)
}

// Compare gives one row for each decision since Input.Since, in the order of time.
func Compare(in Input) []Row {
	var rows []Row
	for _, t := range targets(in) {
		rows = append(rows, t.rows(in)...)
	}
	rows = slices.DeleteFunc(rows, func(r Row) bool { return r.last() < in.Since })
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.At(), b.At()) })
	return rows
}

func (r Row) last() app.Time {
	var at app.Time
	if r.Own != nil {
		at = r.Own.at()
	}
	if r.Other != nil {
		at = max(at, r.Other.At)
	}
	return at
}

// target is what a command is about, with all commands about it in the order of time.
type target struct {
	own    []*Own
	others []*Other
}

type targetKey struct {
	action   commands.Action
	app      app.Key
	index    uint32   // of a start
	instance app.GUID // of a stop
}

// targets gives every target, in the order of its first command in the input.
func targets(in Input) []*target {
	byKey := map[targetKey]*target{}
	var list []*target
	of := func(k targetKey) *target {
		t := byKey[k]
		if t == nil {
			t = new(target)
			byKey[k], list = t, append(list, t)
		}
		return t
	}
	for i := range in.Own {
		o := &in.Own[i]
		k := targetKey{action: o.Action, app: o.App, instance: o.Instance}
		if o.Action == commands.Start {
			k.index = o.Index
		}
		t := of(k)
		t.own = append(t.own, o)
	}
	for i := range in.Others {
		o := &in.Others[i]
		k := targetKey{action: o.Action, app: o.App, instance: o.Instance}
		if o.Action == commands.Start {
			k.index, k.instance = uint32(max(o.Index, 0)), app.GUID{}
		}
		t := of(k)
		t.others = append(t.others, o)
	}
	for _, t := range list {
		slices.SortStableFunc(t.own, func(a, b *Own) int { return cmp.Compare(a.at(), b.at()) })
		slices.SortStableFunc(t.others, func(a, b *Other) int { return cmp.Compare(a.At, b.At) })
	}
	return list
}

// at is when hm decided a command, or would have.
func (o *Own) at() app.Time {
	if o.Decided != 0 {
		return o.Decided
	}
	return o.Due
}

// rows gives the rows of one target.
func (t *target) rows(in Input) []Row {
	partner := t.match(in) // of each of the other's commands: the number of hm's, or -1
	taken := make([]bool, len(t.own))
	for _, i := range partner {
		if i >= 0 {
			taken[i] = true
		}
	}
	var rows []Row
	rowOf := make([]int, len(t.own)) // the row that has, or repeats, each of hm's commands
	last := -1                       // hm's newest decision
	for i, o := range t.own {
		switch {
		case o.Decided == 0 && !taken[i]:
			rowOf[i] = -1 // not issued
			continue
		case last >= 0 && !taken[i] && repeats(t.own[last], o, in.Window):
			rowOf[i] = rowOf[last]
			rows[rowOf[i]].OwnRepeats++
		default:
			rowOf[i] = len(rows)
			rows = append(rows, Row{Own: o})
		}
		last = i
	}
	row := -1 // that has, or repeats, the other's newest command
	var before app.Time
	for j, o := range t.others {
		switch i := partner[j]; {
		case i >= 0:
			row = rowOf[i]
			rows[row].Other = o
		case row >= 0 && o.At.Sub(before) <= in.Window && !tookEffect(rows[row].Own, o.At):
			rows[row].OtherRepeats++
		default:
			row = len(rows)
			rows = append(rows, Row{Other: o})
		}
		before = o.At
	}
	for i := range rows {
		t.classify(in, &rows[i])
	}
	return rows
}

// repeats reports whether hm decided next because before had no effect.
func repeats(before, next *Own, window time.Duration) bool {
	switch before.State {
	case commands.Expired:
		return true
	case commands.Claimed, commands.Sent:
		return next.at().Sub(before.at()) <= window
	}
	return false
}

// tookEffect reports whether the effect of a command had been heard at a time. own may be nil.
func tookEffect(own *Own, at app.Time) bool {
	return own != nil && own.Ended != 0 && own.Ended < at && own.State != commands.Expired
}

func (t *target) classify(in Input, r *Row) {
	if r.Own == nil {
		t.explain(in, r)
	}
	at := r.At()
	missed := func(spans []Span) bool {
		i := slices.IndexFunc(spans, func(s Span) bool {
			return s.overlaps(at.Add(-in.Window), min(at.Add(in.Window), in.Now))
		})
		if i >= 0 {
			r.Class, r.Why = Unknown, spans[i].Why
		}
		return i >= 0
	}
	switch {
	case r.Own != nil && r.Other != nil:
		r.Class, r.Delay = Both, r.Other.At.Sub(r.Own.at())
	case r.Own != nil && missed(in.Unheard), r.Other != nil && missed(in.Unknown):
	case in.Now.Sub(at) < in.Window:
		r.Class = Open
	case r.Own != nil:
		r.Class = OnlyHM
	case len(r.HeldBy) == 0 && r.Later == nil && in.Right != nil && in.Right(r.Other):
		r.Class = Hindsight
	default:
		r.Class = OnlyOther
	}
}

// explain says why hm did not issue a command of the other.
func (t *target) explain(in Input, r *Row) {
	at := r.Other.At
	for _, s := range in.Held {
		if s.has(at) && !slices.Contains(r.HeldBy, s.Why) {
			r.HeldBy = append(r.HeldBy, s.Why)
		}
	}
	for _, o := range t.own {
		if o.Decided == 0 && (o.Ended == 0 || o.Ended >= at) && (o.Due >= at || len(r.HeldBy) > 0) {
			r.Later = o
			break
		}
	}
}
