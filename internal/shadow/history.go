package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hm/commands"
	"hm/commands/compare"
	"hm/internal/app"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Journal gives events: *journal.Journal.
type Journal interface {
	Events(ctx context.Context, q journal.Query) (events []journal.Event, more bool, err error)
}

// MaxEvents bounds the commands, of either side, that one comparison reads.
const MaxEvents = 200_000

// ErrTooMany says that a time has more commands than one comparison reads.
var ErrTooMany = errors.New("too many commands to compare at once")

// Read gives what the journal knows for a comparison of the commands since a time. kept is how many events of a kind the
// journal keeps at least: if it has that many, it may have forgotten older ones.
func Read(ctx context.Context, j Journal, since, now app.Time, window time.Duration, kept int) (compare.Input, error) {
	in := compare.Input{Since: since, Now: now, Window: window}
	from := max(since.Add(-2*window), 0)
	times, err := read(ctx, j, journal.Query{Kinds: []string{"hold", "gate", "listening", "history"}})
	if err != nil {
		return in, err
	}
	moves, err := read(ctx, j, journal.Query{Since: from, Kinds: []string{"command", "other"}})
	if err != nil {
		return in, err
	}
	in.Own, in.Others = issued(moves)
	in.Held = held(times)
	in.Unheard = unheard(times, moves)
	in.Unknown = unknown(times, moves, kept)
	return in, nil
}

func read(ctx context.Context, j Journal, q journal.Query) (all []journal.Event, err error) {
	for {
		events, more, err := j.Events(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		all = append(all, events...)
		if !more || len(events) == 0 {
			return all, nil
		}
		if len(all) >= MaxEvents {
			return nil, fmt.Errorf("%w: more than %d since the time that was asked for: ask for a shorter one", ErrTooMany, MaxEvents)
		}
		q.After = events[len(events)-1].ID
	}
}

// issued gives hm's commands and the other's.
func issued(events []journal.Event) (own []compare.Own, others []compare.Other) {
	byID := map[string]int{}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case journal.OtherStart, journal.OtherStop:
			o := compare.Other{
				At: e.At, Action: commands.Start, App: e.App, Index: e.Index, Instance: e.Instance, MessageID: e.Command,
				Duplicate: e.Reason == duplicate,
			}
			if e.Kind == journal.OtherStop {
				o.Action = commands.Stop
			}
			others = append(others, o)
			continue
		case journal.CommandSent:
			continue // not in shadow mode
		}
		at, known := byID[e.Command]
		if !known {
			id, err := commands.ParseID(e.Command)
			if err != nil {
				continue
			}
			at = len(own)
			byID[e.Command] = at
			own = append(own, compare.Own{
				ID: id, Action: commands.Start, App: e.App, Index: uint32(max(e.Index, 0)), Instance: e.Instance, Reason: e.Reason,
				State: commands.Pending,
			})
		}
		o := &own[at]
		if e.Action == commands.Stop.String() {
			o.Action = commands.Stop
		}
		if e.Rule != "" {
			o.Rule = e.Rule
		}
		if e.Due != 0 {
			o.Due = e.Due
		}
		switch e.Kind {
		case journal.CommandDecided:
			o.Decided, o.State = e.At, commands.Claimed
		case journal.CommandConfirmed, journal.CommandExpired, journal.CommandDropped, journal.CommandAbandoned:
			o.Ended, o.State, o.Detail = e.At, outcomes[e.Kind], e.Detail
		}
	}
	return own, others
}

var outcomes = map[journal.Kind]commands.State{
	journal.CommandConfirmed: commands.Confirmed, journal.CommandExpired: commands.Expired,
	journal.CommandDropped: commands.Dropped, journal.CommandAbandoned: commands.Abandoned,
}

// held gives when hm held all commands: by a hold, which all nodes know, or because of this node's own gate.
func held(events []journal.Event) (spans []compare.Span) {
	open := map[string]int{} // the span of each hold that is set, by its name
	var gate []int           // the spans that this node's gate has begun
	end := func(i int, at app.Time) {
		if s := &spans[i]; s.Until == 0 || at < s.Until {
			s.Until = at
		}
	}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case journal.HoldSet:
			if at, set := open[e.Name]; set {
				end(at, e.At)
			}
			if e.Name == reconcile.HoldSlowStops {
				continue
			}
			open[e.Name] = len(spans)
			spans = append(spans, compare.Span{From: e.At, Until: e.Due, Why: reconcile.ReasonOf(raftfsm.Hold{Name: e.Name})})
		case journal.HoldReleased:
			if at, set := open[e.Name]; set {
				end(at, e.At)
				delete(open, e.Name)
			}
		case journal.GateOpen, journal.GateClosed:
			for _, at := range gate {
				end(at, e.At)
			}
			gate = nil
			if e.Kind == journal.GateOpen {
				continue
			}
			for why := range strings.SplitSeq(e.Reason, ", ") {
				switch {
				case why == "", why == reconcile.ReasonShadow, why == reconcile.ReasonNotLeader, why == reconcile.ReasonPaused, strings.HasPrefix(why, "hold:"):
				default:
					gate = append(gate, len(spans))
					spans = append(spans, compare.Span{From: e.At, Why: why})
				}
			}
		}
	}
	return spans
}

// unheard gives when the other's commands were not heard. A node that is killed cannot say when it heard its last: that
// time begins with the last command that it knows of.
func unheard(times, moves []journal.Event) (spans []compare.Span) {
	last := compare.Span{Why: "this node had not begun to listen"} // 0 to 0: for ever
	hears := false
	for i := range times {
		e := &times[i]
		switch e.Kind {
		case journal.OtherListening:
			if hears {
				last = compare.Span{From: lastBefore(moves, e.At), Why: "this node was down"}
			}
			// The clock of a node can be set back. The time that it did not hear is told all the same.
			last.Until = max(e.At, last.From+1)
			spans = append(spans, last)
			hears = true
		case journal.OtherUnheard:
			if hears {
				last, hears = compare.Span{From: e.At, Why: e.Reason}, false
			}
		case journal.OtherMissed:
			from := e.At.Add(-time.Duration(e.DelayMS) * time.Millisecond)
			spans = append(spans, compare.Span{From: from, Until: e.At + 1, Why: e.Detail})
		}
	}
	if !hears {
		spans = append(spans, last)
	}
	return spans
}

func lastBefore(events []journal.Event, at app.Time) (last app.Time) {
	for i := range events {
		if t := events[i].At; t < at {
			last = max(last, t)
		}
	}
	return last
}

// unknown gives when hm's own commands are not known.
func unknown(times, moves []journal.Event, kept int) (spans []compare.Span) {
	own := 0
	first := app.Time(0)
	for i := range moves {
		if strings.HasPrefix(string(moves[i].Kind), "command.") {
			if own == 0 {
				first = moves[i].At
			}
			own++
		}
	}
	if own >= kept-kept/10 {
		spans = append(spans, compare.Span{Until: first, Why: "the journal of this node does not reach back to it"})
	}
	for i, e := range times {
		if e.Kind != journal.HistoryGap {
			continue
		}
		from := e.At
		if i > 0 {
			from = min(from, times[i-1].At)
		}
		spans = append(spans, compare.Span{From: from, Until: e.At + 1, Why: "the history of this node has a gap"})
	}
	return spans
}

// Heard gives since when the other's commands have been heard without a gap: 0 if they are not heard now. It is what
// Unheard of an Input says.
func Heard(unheard []compare.Span) (since app.Time) {
	for _, s := range unheard {
		if s.Until == 0 {
			return 0
		}
		since = max(since, s.Until)
	}
	return since
}

// Gaps gives the times within an Input in which the other's commands were not heard, oldest first.
func Gaps(in compare.Input) []compare.Span {
	gaps := slices.Clone(in.Unheard)
	return slices.DeleteFunc(gaps, func(s compare.Span) bool { return s.Until != 0 && s.Until <= in.Since })
}
