package dashboard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
)

var stripNow = time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)

// stripEvent makes an event of index 0, so many minutes before stripNow.
func stripEvent(minutes int, kind, action, reason, detail string) api.Event {
	index := 0
	return api.Event{Kind: kind, Index: &index, At: api.Timestamp{Time: stripNow.Add(-time.Duration(minutes) * time.Minute)},
		Action: action, Reason: reason, Detail: detail}
}

// TestStrips: what a strip of one hour shows, as "STATE FROM-TO" with the minute of each border, and its marks.
func TestStrips(t *testing.T) {
	ago := func(minutes int) time.Time { return stripNow.Add(-time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		name   string
		events []api.Event
		now    indexNow
		want   string
		marks  string
	}{
		{"running all the time", nil, indexNow{State: "live", Since: ago(600)}, "live 0-60", ""},
		{"running for half of it, and nothing known before", nil, indexNow{State: "live", Since: ago(30)}, "unknown 0-30, live 30-60", ""},
		{"missing, and since when is not known", nil, indexNow{State: "missing", Off: true}, "unknown 0-59, missing 59-60", ""},
		{"crashed, and restarted with effect", []api.Event{
			stripEvent(40, "instance.crashed", "", "", ""), stripEvent(40, "command.scheduled", "start", "CRASHED", ""),
			stripEvent(38, "command.sent", "start", "CRASHED", ""),
			stripEvent(36, "command.confirmed", "start", "CRASHED", "an instance is live at the index"),
		}, indexNow{State: "live", Since: ago(36)}, "live 0-20, crashed 20-24, live 24-60", "crashed 20, sent 22, confirmed 24"},
		{"a start without effect", []api.Event{
			stripEvent(30, "command.scheduled", "start", "MISSING", ""), stripEvent(28, "command.sent", "start", "MISSING", ""),
			stripEvent(18, "command.expired", "start", "MISSING", "no effect was heard within the grace"),
		}, indexNow{State: "missing", Off: true}, "unknown 0-30, missing 30-60", "sent 32, expired 42"},
		{"missing, and back by itself", []api.Event{
			stripEvent(30, "command.scheduled", "start", "MISSING", ""),
			stripEvent(24, "command.dropped", "start", "MISSING", "an instance is live at the index"),
		}, indexNow{State: "live", Since: ago(24)}, "unknown 0-30, missing 30-36, live 36-60", ""},
		{"missing, and no longer desired", []api.Event{
			stripEvent(30, "command.scheduled", "start", "MISSING", ""),
			stripEvent(24, "command.dropped", "start", "MISSING", "the index is no longer desired"),
		}, indexNow{}, "unknown 0-30, missing 30-36, gone 36-60", ""},
		{"an extra instance is stopped", []api.Event{
			stripEvent(30, "command.scheduled", "stop", "EXTRA", ""), stripEvent(29, "command.sent", "stop", "EXTRA", ""),
			stripEvent(24, "command.confirmed", "stop", "EXTRA", "the instance is gone"),
		}, indexNow{}, "unknown 0-30, live 30-36, gone 36-60", "sent 31, confirmed 36"},
		{"a duplicate is stopped", []api.Event{
			stripEvent(29, "command.sent", "stop", "DUPLICATE", ""),
			stripEvent(24, "command.confirmed", "stop", "DUPLICATE", "the instance is gone"),
		}, indexNow{State: "live", Since: ago(900)}, "live 0-60", "sent 31, confirmed 36"},
		{"an evacuation", []api.Event{
			stripEvent(29, "command.sent", "start", "EVACUATING", ""),
			stripEvent(24, "command.confirmed", "start", "EVACUATING", "an instance is live at the index"),
		}, indexNow{State: "live", Since: ago(24)}, "unknown 0-31, evacuating 31-36, live 36-60", "sent 31, confirmed 36"},
		{"crashed just now", []api.Event{stripEvent(0, "instance.crashed", "", "", "")}, indexNow{State: "crashed", Since: ago(0), Off: true},
			"live 0-60", "crashed 60"},
		{"a crash loop, too fast for single marks", []api.Event{
			stripEvent(30, "instance.crashed", "", "", ""), stripEvent(30, "command.sent", "start", "CRASHED", ""),
			stripEvent(30, "command.confirmed", "start", "CRASHED", ""), stripEvent(30, "instance.crashed", "", "", ""),
			stripEvent(20, "command.sent", "start", "CRASHED", ""), stripEvent(20, "command.confirmed", "start", "CRASHED", ""),
		}, indexNow{State: "live", Since: ago(20)}, "live 0-30, crashed 30-40, live 40-60", "crashed 30 and 3 more, sent 40 and 1 more"},
		{"of the other health manager", []api.Event{stripEvent(30, "other.start", "", "", "")}, indexNow{State: "live", Since: ago(28)},
			"unknown 0-32, live 32-60", "sent 30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stripOf(0, c.events, c.now, ago(60), stripNow)
			minute := func(x int) int { return (x*60 + stripWidth/2) / stripWidth }
			var spans, marks []string
			at := 0
			for _, p := range s.Spans {
				if p.X != at || p.W <= 0 {
					t.Errorf("the strip has a hole or an overlap at %d: %+v", at, s.Spans)
				}
				at = p.X + p.W
				spans = append(spans, fmt.Sprintf("%s %d-%d", p.State, minute(p.X), minute(p.X+p.W)))
			}
			if at != stripWidth {
				t.Errorf("the strip ends at %d", at)
			}
			for _, m := range s.Marks {
				text := fmt.Sprintf("%s %d", m.Kind, minute(m.X))
				if m.More > 0 {
					text += fmt.Sprintf(" and %d more", m.More)
				}
				marks = append(marks, text)
			}
			if got := strings.Join(spans, ", "); got != c.want {
				t.Errorf("shows %s, want %s", got, c.want)
			}
			if got := strings.Join(marks, ", "); got != c.marks {
				t.Errorf("has the marks %s, want %s", got, c.marks)
			}
		})
	}
}

// TestTheStripsOfALargeAppIsBounded: it has the strips of the indices that are not as desired, then of those with the
// most events.
func TestTheStripsOfALargeAppIsBounded(t *testing.T) {
	now := map[uint32]indexNow{}
	for i := range uint32(5000) {
		now[i] = indexNow{State: "live", Since: stripNow.Add(-24 * time.Hour)}
	}
	now[4711] = indexNow{State: "missing", Off: true}
	var events []api.Event
	for i := range 200 {
		index := 10 * i
		for range 1 + i%3 {
			events = append(events, api.Event{Kind: "instance.crashed", Index: &index, At: api.Timestamp{Time: stripNow.Add(-10 * time.Minute)}})
		}
	}
	got := indexHistoryOf(events, now, stripNow.Add(-time.Hour), stripNow)
	if len(got.Strips) != maxStrips || got.More != 201-maxStrips || got.Quiet != 5000-201 {
		t.Errorf("%d strips, %d more, %d quiet", len(got.Strips), got.More, got.Quiet)
	}
	missing := false
	for i, s := range got.Strips {
		missing = missing || s.Index == 4711
		if i > 0 && s.Index <= got.Strips[i-1].Index {
			t.Errorf("the strips are not sorted: %d after %d", s.Index, got.Strips[i-1].Index)
		}
		if s.Index != 4711 && (len(s.Marks) != 1 || s.Marks[0].More != 2) {
			t.Errorf("index %d with the marks %+v has a strip, and others have more events", s.Index, s.Marks)
		}
	}
	if !missing {
		t.Error("the index that is missing has no strip")
	}
	if small := indexHistoryOf(nil, map[uint32]indexNow{0: {State: "live"}, 1: {State: "live"}}, stripNow.Add(-time.Hour), stripNow); len(small.Strips) != 2 {
		t.Errorf("a small app has %d strips, want one an index", len(small.Strips))
	}
}

// TestTicksAreRoundAndFew: the axis has between two and seven times, at round times.
func TestTicksAreRoundAndFew(t *testing.T) {
	for _, span := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour} {
		got := ticks(stripNow.Add(-span-7*time.Second), stripNow.Add(-7*time.Second))
		if len(got) < 2 || len(got) > 7 {
			t.Errorf("%v: %d ticks: %v", span, len(got), got)
		}
	}
	if got := ticks(stripNow, stripNow); len(got) != 0 {
		t.Errorf("no time has ticks: %v", got)
	}
}
