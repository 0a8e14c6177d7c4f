package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
)

// maxStrips is how many indices the page shows.
const maxStrips = 40

// IndexHistory is what happened to the indices of an app, a strip each.
type IndexHistory struct {
	From, Until time.Time
	// Cut says that the history before From was asked for, and is left out because there are too many events.
	Cut    bool
	Strips []Strip // sorted by index
	Quiet  int     // indices without an event in this time that are as desired: they have no strip
	More   int     // further indices with events
	Ticks  []Tick
}

// Strip is the history of one index.
type Strip struct {
	Index uint32
	Spans []Part
	Marks []Mark
	// Summary says in words what the strip shows.
	Summary string
}

// Part is a time in which an index was in one state. X and W are in thousandths of the strip's width.
type Part struct {
	X, W  int
	State string // live, starting, crashed, evacuating, missing, gone or unknown
	Title string
}

// partHeights are the heights of the states on a strip of 20, so that they are not told by colour alone.
var partHeights = map[string]int{"live": 14, "evacuating": 14, "starting": 10, "crashed": 5, "missing": 2}

// Y is where a part begins, from the top of a strip.
func (p Part) Y() int { return 17 - p.Height() }

// Height is the height of a part; 0 if nothing is shown.
func (p Part) Height() int { return partHeights[p.State] }

// Mark is one event on a strip, or several that are too close together to be told apart. X is in thousandths of the
// strip's width.
type Mark struct {
	X     int
	Kind  string // crashed, expired, sent or confirmed: the gravest of them
	Title string
	More  int // further events of this mark
}

// Count is how many events a mark stands for.
func (m Mark) Count() int { return m.More + 1 }

// markKinds are the kinds of marks, the gravest first.
var markKinds = []string{"crashed", "expired", "sent", "confirmed"}

// Marks of a strip are at least so far apart, in thousandths of its width, and name at most so many events.
const (
	markGap   = 16
	markNames = 8
)

// mark adds a mark, or adds to the one before.
func (s *Strip) mark(x int, kind, title string) {
	if n := len(s.Marks); n > 0 && x-s.Marks[n-1].X < markGap {
		last := &s.Marks[n-1]
		if slices.Index(markKinds, kind) < slices.Index(markKinds, last.Kind) {
			last.Kind = kind
		}
		if last.More++; last.More < markNames {
			last.Title += "\n" + title
		} else if last.More == markNames {
			last.Title += "\nand more"
		}
		return
	}
	s.Marks = append(s.Marks, Mark{X: x, Kind: kind, Title: title})
}

// Tick is a time on the axis of the strips.
type Tick struct {
	X    int
	Text string
}

// stripWidth is the width of a strip in its own units.
const stripWidth = 1000

// indexNow is what is recorded of an index now.
type indexNow struct {
	State string    // as Part.State; empty: the index is not desired and nothing is recorded at it
	Since time.Time // when it was recorded in this state; zero: not known
	Off   bool      // not as desired
}

// indexHistoryOf makes the strips from an app's events, which are sorted by time, and from what is recorded of its indices
// now. An index gets a strip if it has events in this time or is not as desired; with few indices all of them do.
func indexHistoryOf(events []api.Event, now map[uint32]indexNow, from, until time.Time) IndexHistory {
	t := IndexHistory{From: from, Until: until, Ticks: ticks(from, until)}
	byIndex := map[uint32][]api.Event{}
	for _, e := range events {
		if e.Index == nil || *e.Index < 0 || e.At.Before(from) || e.At.After(until) || !shownOnStrip(e) {
			continue
		}
		i := uint32(*e.Index)
		byIndex[i] = append(byIndex[i], e)
	}
	indices := make([]uint32, 0, len(byIndex)+len(now))
	for i := range byIndex {
		indices = append(indices, i)
	}
	for i, n := range now {
		if _, has := byIndex[i]; has {
			continue
		}
		if n.Off || len(now) <= fewIndices {
			indices = append(indices, i)
		} else {
			t.Quiet++
		}
	}
	urgency := func(i uint32) int { // what is not as desired first, then what has many events
		if now[i].Off {
			return -1 << 30
		}
		return -len(byIndex[i])
	}
	slices.SortFunc(indices, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), cmp.Compare(a, b))
	})
	if t.More = max(0, len(indices)-maxStrips); t.More > 0 {
		indices = indices[:maxStrips]
	}
	slices.Sort(indices)
	for _, i := range indices {
		t.Strips = append(t.Strips, stripOf(i, byIndex[i], now[i], from, until))
	}
	return t
}

// fewIndices is up to how many indices the page shows also those without events.
const fewIndices = 12

// shownOnStrip reports whether an event is part of a strip.
func shownOnStrip(e api.Event) bool {
	switch journal.Kind(e.Kind) {
	case journal.InstanceCrashed, journal.CommandScheduled, journal.CommandSent, journal.CommandDecided,
		journal.CommandConfirmed, journal.CommandExpired, journal.CommandDropped, journal.CommandAbandoned,
		journal.OtherStart, journal.OtherStop:
		return true
	}
	return false
}

// stripOf makes the strip of an index. Events are the only thing that is known of the past: between two of them the
// index stays in the state that the first of them left.
func stripOf(index uint32, events []api.Event, now indexNow, from, until time.Time) Strip {
	s := Strip{Index: index}
	x := func(t time.Time) int { return position(t, from, until) }
	state, begun := "unknown", from
	if len(events) > 0 {
		state = stateBefore(events[0])
	}
	if state == "unknown" && now.State != "" && !now.Since.IsZero() && !now.Since.After(from) {
		state = now.State // what is there now was there all the time
	}
	enter := func(next string, at time.Time) {
		if next == "" || next == state {
			return
		}
		s.add(x(begun), x(at), state, begun, at)
		state, begun = next, at
	}
	counts := map[string]int{}
	for _, e := range events {
		enter(stateAfter(e, state), e.At.Time)
		if kind := markKind(e); kind != "" {
			counts[kind]++
			s.mark(x(e.At.Time), kind, markTitle(e))
		}
	}
	last := begun
	if len(events) > 0 {
		last = events[len(events)-1].At.Time
	}
	switch {
	case now.State == "" && state != "unknown":
		enter("gone", last)
	case now.Since.After(last):
		enter(now.State, now.Since)
	case len(events) == 0 && now.Since.IsZero():
		enter(now.State, until.Add(-until.Sub(from)/60)) // since when is not known
	default:
		enter(now.State, last)
	}
	s.add(x(begun), stripWidth, state, begun, until)
	s.Summary = summary(counts, state, until.Sub(begun), begun.Equal(from))
	if len(events) == 0 && now.Since.IsZero() {
		s.Summary = stateWords[state] + " at present"
	}
	return s
}

func (s *Strip) add(from, to int, state string, begun, ended time.Time) {
	if to <= from {
		return
	}
	s.Spans = append(s.Spans, Part{X: from, W: to - from, State: state, Title: fmt.Sprintf("%s for %s", stateWords[state], api.Span(ended.Sub(begun)))})
}

// stateWords says the states of a strip in words.
var stateWords = map[string]string{
	"live": "running", "starting": "starting", "crashed": "crashed", "evacuating": "evacuating", "missing": "missing",
	"gone": "not there, and not desired", "unknown": "not known",
}

// position is a time's place on a strip, in thousandths.
func position(t, from, until time.Time) int {
	whole := until.Sub(from)
	if whole <= 0 {
		return stripWidth
	}
	return min(max(int(int64(stripWidth)*int64(t.Sub(from))/int64(whole)), 0), stripWidth)
}

// stateBefore is what an index was before the first event that is known of it. Only a crash says that: what it names
// was there. A command says what the index is by then, and not since when.
func stateBefore(e api.Event) string {
	if journal.Kind(e.Kind) == journal.InstanceCrashed {
		return "live"
	}
	return "unknown"
}

// commandState is the state of an index for which a command is outstanding.
func commandState(e api.Event) string {
	if e.Action == "stop" {
		return "live"
	}
	switch e.Reason {
	case "CRASHED":
		return "crashed"
	case "EVACUATING":
		return "evacuating"
	}
	return "missing"
}

// stateAfter is what an index is after an event of it; empty if the event says nothing about it.
func stateAfter(e api.Event, before string) string {
	switch journal.Kind(e.Kind) {
	case journal.InstanceCrashed:
		return "crashed"
	case journal.CommandScheduled, journal.CommandSent, journal.CommandDecided, journal.CommandExpired:
		return commandState(e)
	case journal.CommandConfirmed:
		switch {
		case e.Action == "start", e.Reason == "DUPLICATE", e.Reason == "EVACUATION_COMPLETE":
			return "live"
		}
		return "gone"
	case journal.CommandDropped:
		if e.Action == "start" && e.Detail == liveAgain {
			return "live"
		}
	}
	return before
}

// liveAgain is the detail of a start that was dropped because its index came back by itself.
const liveAgain = "an instance is live at the index"

func markKind(e api.Event) string {
	switch journal.Kind(e.Kind) {
	case journal.InstanceCrashed:
		return "crashed"
	case journal.CommandSent, journal.CommandDecided, journal.OtherStart, journal.OtherStop:
		return "sent"
	case journal.CommandConfirmed:
		return "confirmed"
	case journal.CommandExpired, journal.CommandAbandoned:
		return "expired"
	}
	return ""
}

func markTitle(e api.Event) string {
	at := e.At.UTC().Format("15:04:05")
	switch journal.Kind(e.Kind) {
	case journal.InstanceCrashed:
		return at + " crashed"
	case journal.OtherStart, journal.OtherStop:
		return at + " another health manager sent a command"
	}
	what := e.Action + " " + e.Reason
	switch journal.Kind(e.Kind) {
	case journal.CommandDecided:
		return at + " " + what + " decided in shadow mode"
	case journal.CommandAbandoned:
		return at + " " + what + " abandoned"
	}
	return at + " " + what + " " + markKind(e)
}

// summary says what a strip shows.
func summary(counts map[string]int, state string, since time.Duration, whole bool) string {
	text := stateWords[state]
	if !whole {
		text += " for " + api.Span(since)
	} else {
		text += " all the time"
	}
	for _, c := range []struct{ kind, one, more string }{
		{"crashed", "1 crash", "%d crashes"}, {"sent", "1 command sent", "%d commands sent"},
		{"confirmed", "1 took effect", "%d took effect"}, {"expired", "1 without effect", "%d without effect"},
	} {
		switch n := counts[c.kind]; n {
		case 0:
		case 1:
			text += ", " + c.one
		default:
			text += ", " + fmt.Sprintf(c.more, n)
		}
	}
	return text
}

// ticks gives some times of the axis, at round times of the clock.
func ticks(from, until time.Time) (out []Tick) {
	whole := until.Sub(from)
	step := 24 * time.Hour
	for _, s := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
		15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour} {
		if whole/s <= 6 {
			step = s
			break
		}
	}
	layout := "15:04"
	if step < time.Minute {
		layout = "15:04:05"
	}
	for at := from.Truncate(step).Add(step); at.Before(until); at = at.Add(step) {
		x := position(at, from, until)
		if x > stripWidth-40 || x < 20 { // its text would be cut off
			continue
		}
		out = append(out, Tick{X: x, Text: at.UTC().Format(layout)})
	}
	return out
}
