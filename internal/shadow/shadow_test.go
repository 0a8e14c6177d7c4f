package shadow

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/commands"
	"hm/commands/compare"
	"hm/internal/app"
	"hm/internal/journal"
)

const t0 = app.Time(1_700_000_000_000)

func at(seconds int) app.Time { return t0.Add(time.Duration(seconds) * time.Second) }

var key = app.Key{Droplet: app.MustGUID("app"), Version: app.MustGUID("v")}

func id(n byte) commands.ID { return commands.ID{15: n} }

// kept is a journal in memory.
type kept struct {
	events []journal.Event
	page   int // events that one call gives at most
	err    error
}

func (k *kept) add(e journal.Event) { k.events = append(k.events, e) }

func (k *kept) Events(_ context.Context, q journal.Query) (out []journal.Event, more bool, err error) {
	if k.err != nil {
		return nil, false, k.err
	}
	for i, e := range k.events {
		e.ID.Index = uint64(i + 1)
		subject, _, _ := strings.Cut(string(e.Kind), ".")
		if e.ID.Index <= q.After.Index || e.At < q.Since || !slices.Contains(q.Kinds, subject) {
			continue
		}
		if k.page > 0 && len(out) == k.page {
			return out, true, nil
		}
		out = append(out, e)
	}
	return out, false, nil
}

// command is an event of hm's start of index 1.
func command(kind journal.Kind, n byte, seconds int, change ...func(*journal.Event)) journal.Event {
	e := journal.Event{
		At: at(seconds), Kind: kind, App: key, Index: 1, Command: id(n).String(), Action: "start", Reason: "MISSING", Due: at(30),
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func hold(kind journal.Kind, name string, seconds, until int) journal.Event {
	e := journal.Event{At: at(seconds), Kind: kind, Index: -1, Name: name}
	if until != 0 {
		e.Due = at(until)
	}
	return e
}

func gate(kind journal.Kind, seconds int, reasons string) journal.Event {
	return journal.Event{At: at(seconds), Kind: kind, Index: -1, Reason: reasons}
}

func TestReadGivesTheCommandsOfBothSides(t *testing.T) {
	j := &kept{page: 2, events: []journal.Event{
		gate(journal.OtherListening, -1, ""),
		command(journal.CommandScheduled, 1, 0, func(e *journal.Event) { e.Rule = "R01" }),
		{At: at(20), Kind: journal.OtherStart, App: key, Index: 1, Command: "m1", Action: "start"},
		command(journal.CommandDecided, 1, 31),
		{At: at(40), Kind: journal.OtherStop, App: key, Index: 2, Instance: app.MustGUID("i"), Command: "m2", Action: "stop", Reason: duplicate},
		command(journal.CommandConfirmed, 1, 45, func(e *journal.Event) { e.Detail = "an instance is live" }),
		command(journal.CommandDropped, 2, 50, func(e *journal.Event) {
			e.Action, e.Instance, e.Reason, e.Due, e.Index = "stop", app.MustGUID("i"), "DUPLICATE", at(70), 2
		}),
		command(journal.CommandSent, 3, 50),
		{At: at(60), Kind: journal.CommandDecided, Command: "not an id"},
	}}
	in, err := Read(t.Context(), j, at(0), at(100), 300*time.Second, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if want := []compare.Own{
		{
			ID: id(1), Action: commands.Start, App: key, Index: 1, Reason: "MISSING", Rule: "R01", Due: at(30), Decided: at(31), Ended: at(45),
			State: commands.Confirmed, Detail: "an instance is live",
		},
		{
			ID: id(2), Action: commands.Stop, App: key, Index: 2, Instance: app.MustGUID("i"), Reason: "DUPLICATE", Due: at(70), Ended: at(50),
			State: commands.Dropped,
		},
	}; !reflect.DeepEqual(in.Own, want) {
		t.Errorf("hm's commands are\n%+v\nwant\n%+v", in.Own, want)
	}
	if want := []compare.Other{
		{At: at(20), Action: commands.Start, App: key, Index: 1, MessageID: "m1"},
		{At: at(40), Action: commands.Stop, App: key, Index: 2, Instance: app.MustGUID("i"), MessageID: "m2", Duplicate: true},
	}; !reflect.DeepEqual(in.Others, want) {
		t.Errorf("the other's commands are\n%+v\nwant\n%+v", in.Others, want)
	}
	j.err = errors.New("the disk is gone")
	if _, err := Read(t.Context(), j, at(0), at(100), time.Second, 1); !errors.Is(err, j.err) {
		t.Errorf("without a journal: %v", err)
	}
}

func spans(list []compare.Span) (out []string) {
	for _, s := range list {
		until := "on"
		if s.Until != 0 {
			until = fmt.Sprint(s.Until.Sub(t0).Seconds())
		}
		from := "ever"
		if s.From != 0 {
			from = fmt.Sprint(s.From.Sub(t0).Seconds())
		}
		out = append(out, fmt.Sprintf("%s to %s %s", from, until, s.Why))
	}
	return out
}

func TestReadGivesWhenHMHeld(t *testing.T) {
	j := &kept{events: []journal.Event{
		hold(journal.HoldSet, "mass-loss", -900, -600), // it ended by itself, long ago
		hold(journal.HoldSet, "paused", 0, 0),
		hold(journal.HoldSet, "slow-stops", 1, 0), // closes no gate
		hold(journal.HoldSet, "mass-loss-2", 10, 300),
		hold(journal.HoldReleased, "paused", 20, 0),
		hold(journal.HoldReleased, "mass-loss-2", 40, 0),
		gate(journal.GateClosed, 50, "not-leader, nats-down, actual-stale"),
		gate(journal.GateClosed, 60, "not-leader, actual-stale, hold:mass-loss"),
		gate(journal.GateClosed, 70, "shadow"),
		gate(journal.GateClosed, 80, "desired-stale"),
	}}
	in, err := Read(t.Context(), j, at(0), at(100), time.Second, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-900 to -600 hold:mass-loss", "0 to 20 paused", "10 to 40 hold:mass-loss",
		"50 to 60 nats-down", "50 to 60 actual-stale", "60 to 70 actual-stale", "80 to on desired-stale",
	}
	if got := spans(in.Held); !slices.Equal(got, want) {
		t.Errorf("hm held\n%v\nwant\n%v", got, want)
	}
}

func TestReadGivesWhenTheOtherWasNotHeard(t *testing.T) {
	listening := func(kind journal.Kind, seconds int, why string) journal.Event { return gate(kind, seconds, why) }
	for _, c := range []struct {
		name   string
		events []journal.Event
		want   []string
		since  app.Time
	}{
		{"never", nil, []string{"ever to on this node had not begun to listen"}, 0},
		{
			"from a time on", []journal.Event{listening(journal.OtherListening, 5, "")},
			[]string{"ever to 5 this node had not begun to listen"}, at(5),
		},
		{
			"an outage and a stop", []journal.Event{
				listening(journal.OtherListening, 5, ""), listening(journal.OtherUnheard, 10, NATSDown), listening(journal.OtherListening, 12, ""),
				listening(journal.OtherUnheard, 20, Closed),
			},
			[]string{"ever to 5 this node had not begun to listen", "10 to 12 nats-down", "20 to on closed"}, 0,
		},
		{
			"a node that was killed", []journal.Event{
				listening(journal.OtherListening, 5, ""), command(journal.CommandScheduled, 1, 8), listening(journal.OtherListening, 30, ""),
			},
			[]string{"ever to 5 this node had not begun to listen", "8 to 30 this node was down"}, at(30),
		},
		{
			"a clock that was set back", []journal.Event{
				listening(journal.OtherListening, 5, ""), listening(journal.OtherUnheard, 20, Closed), listening(journal.OtherListening, 15, ""),
			},
			[]string{"ever to 5 this node had not begun to listen", "20 to 20.001 closed"}, at(20) + 1,
		},
		{
			"too many at once", []journal.Event{
				listening(journal.OtherListening, 5, ""), {At: at(20), Kind: journal.OtherMissed, DelayMS: 2000, Detail: "too many"},
			},
			[]string{"ever to 5 this node had not begun to listen", "18 to 20.001 too many"}, at(20) + 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read(t.Context(), &kept{events: c.events}, at(0), at(100), time.Second, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			if got := spans(in.Unheard); !slices.Equal(got, c.want) {
				t.Errorf("it was not heard\n%v\nwant\n%v", got, c.want)
			}
			if got := Heard(in.Unheard); got != c.since {
				t.Errorf("it has been heard since %v, want %v", got, c.since)
			}
		})
	}
}

func TestReadGivesWhenHMsCommandsAreNotKnown(t *testing.T) {
	j := &kept{events: []journal.Event{
		hold(journal.HoldSet, "paused", 1, 0),
		{At: at(9), Kind: journal.HistoryGap},
		command(journal.CommandScheduled, 1, 10), command(journal.CommandScheduled, 2, 11),
	}}
	for keeps, want := range map[int][]string{
		2:   {"ever to 10 the journal of this node does not reach back to it", "1 to 9.001 the history of this node has a gap"},
		100: {"1 to 9.001 the history of this node has a gap"},
	} {
		in, err := Read(t.Context(), j, at(0), at(100), 300*time.Second, keeps)
		if got := spans(in.Unknown); err != nil || !slices.Equal(got, want) {
			t.Errorf("a journal of %d: not known %v, %v, want %v", keeps, got, err, want)
		}
	}
}

// TestAStormIsCountedAndNotKept: another health manager can publish any number of commands; so many are kept, and how
// many were not is told.
func TestAStormIsCountedAndNotKept(t *testing.T) {
	now := t0
	j := &kept{}
	o := NewOthers(j.add, func() app.Time { return now })
	o.Follow(true, "", 0)
	stop := compare.Other{Action: commands.Stop, App: key, Instance: app.MustGUID("i"), Duplicate: true}
	for range 3 * burst {
		o.Take(stop)
	}
	o.Follow(true, "", 7)
	now = at(2)
	o.Follow(true, "", 7)
	o.Take(compare.Other{Action: commands.Start, App: key})
	if n := len(j.events); n != burst+3 {
		t.Fatalf("%d events are kept", n)
	}
	if e := j.events[1]; e.Kind != journal.OtherStop || e.At != t0 || e.Reason != duplicate || e.Instance != stop.Instance {
		t.Errorf("the first stop is kept as %+v", e)
	}
	e := j.events[burst+1]
	want := []journal.Count{{Name: "messages", N: 7}, {Name: "stops", N: 2 * burst}}
	if e.Kind != journal.OtherMissed || !slices.Equal(e.Counts, want) {
		t.Errorf("it tells %+v", e)
	}
	if e := j.events[burst+2]; e.Kind != journal.OtherStart {
		t.Errorf("after the storm it keeps %+v", e)
	}
}

// TestNothingIsKeptBeforeTheTimeIsKnown: a node that was started a moment ago has an old time until a leader tells it.
func TestNothingIsKeptBeforeTheTimeIsKnown(t *testing.T) {
	j := &kept{}
	o := NewOthers(j.add, func() app.Time { return t0 })
	start := compare.Other{Action: commands.Start, App: key}
	o.Take(start)
	o.Follow(false, NoLeader, 0)
	o.Take(start)
	if len(j.events) != 0 || o.Hearing().Why != NoLeader {
		t.Errorf("%+v, hearing %+v", j.events, o.Hearing())
	}
	o.Follow(true, "", 0)
	o.Take(start)
	o.Follow(false, NATSDown, 0)
	o.Take(start) // it arrived before the link was lost
	if len(j.events) != 4 {
		t.Errorf("%+v", j.events)
	}
}

func TestFollowTellsOfChanges(t *testing.T) {
	now := t0
	j := &kept{}
	o := NewOthers(j.add, func() app.Time { return now })
	for i, c := range []struct {
		hears bool
		why   string
		want  journal.Kind // empty: no event
	}{
		{false, NATSDown, ""}, {true, "", journal.OtherListening}, {true, "", ""}, {false, NATSRefused, journal.OtherUnheard},
		{false, NATSDown, ""}, {true, "", journal.OtherListening}, {false, Closed, journal.OtherUnheard},
	} {
		now = at(i)
		before := len(j.events)
		o.Follow(c.hears, c.why, 0)
		h := o.Hearing()
		if h.Now != c.hears || h.Why != c.why {
			t.Errorf("step %d: %+v", i, h)
		}
		switch {
		case c.want == "" && len(j.events) > before:
			t.Errorf("step %d tells %+v", i, j.events[before:])
		case c.want != "" && (len(j.events) != before+1 || j.events[before].Kind != c.want || j.events[before].At != now || h.Since != now):
			t.Errorf("step %d tells %+v, want %s", i, j.events[before:], c.want)
		}
	}
}
