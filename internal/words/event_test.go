package words

import (
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
)

// TestEventsInWords has each kind of event at least once.
func TestEventsInWords(t *testing.T) {
	at := func(d time.Duration) api.Timestamp {
		return api.Timestamp{Time: time.Unix(1_700_000_000, 0).UTC().Add(d)}
	}
	three := 3
	const app, instance = "a0000001-0000-4000-8000-000000000001", "c0000001-0000-4000-8000-000000000001"
	start := api.Event{App: app, Index: &three, Action: "start", Reason: "MISSING", Rule: "R05", Due: at(time.Minute), At: at(0)}
	stop := api.Event{App: app, Index: &three, Instance: instance, Action: "stop", Reason: "EXTRA", Rule: "R18", Due: at(0), At: at(0)}
	with := func(e api.Event, change func(*api.Event)) api.Event { change(&e); return e }
	dea := func(counts map[string]int64) api.Event { return api.Event{DEA: "dea-7", Counts: counts} }
	seen := map[journal.Kind]bool{}
	for _, c := range []struct {
		kind journal.Kind
		e    api.Event
		want string
	}{
		{journal.LeaderChanged, api.Event{Name: "hm-2"}, "hm-2 leads"},
		{journal.LeaderChanged, api.Event{Name: "hm-2", Detail: "hm-1 handed over: nats-down"}, "hm-2 leads: hm-1 handed over: nats-down"},
		{journal.CommandScheduled, start, "start a0000001/3 (MISSING, R05), due in 1m00s"},
		{journal.CommandScheduled, stop, "stop a0000001/3, instance c0000001 (EXTRA, R18), due at once"},
		{journal.CommandSent, with(start, func(e *api.Event) { e.DelayMS = 200 }), "start a0000001/3 (MISSING, R05), 0.2s after it was due"},
		{journal.CommandSent, with(start, func(e *api.Event) { e.Rule = "" }), "start a0000001/3 (MISSING), when it was due"},
		{journal.CommandDecided, stop, "stop a0000001/3, instance c0000001 (EXTRA, R18), when it was due; shadow mode sends nothing"},
		{journal.CommandConfirmed, with(start, func(e *api.Event) { e.DelayMS, e.Detail = 9000, "an instance is live at the index" }),
			"start a0000001/3 (MISSING, R05), 9.0s after it was sent: an instance is live at the index"},
		{journal.CommandExpired, with(start, func(e *api.Event) { e.DelayMS, e.Detail = 30_000, "no effect was heard within the grace" }),
			"start a0000001/3 (MISSING, R05), 30s after it was sent: no effect was heard within the grace"},
		{journal.CommandDropped, with(start, func(e *api.Event) { e.By, e.Detail = "amy", "cancelled by amy" }), "start a0000001/3 (MISSING, R05) by amy: cancelled by amy"},
		{journal.CommandAbandoned, with(stop, func(e *api.Event) { e.Detail = "the leader stalled" }), "stop a0000001/3, instance c0000001 (EXTRA, R18): the leader stalled"},
		{journal.DEANew, dea(map[string]int64{"instances": 8}), "DEA dea-7 is heard for the first time, with 8 instances"},
		{journal.DEALost, dea(map[string]int64{"instances": 1}), "DEA dea-7 has been silent for its time to live; it had 1 instance"},
		{journal.DEABack, with(dea(nil), func(e *api.Event) { e.DelayMS = 240_000 }), "DEA dea-7 is heard again after 4m00s, with 0 instances"},
		{journal.DEAForgotten, dea(nil), "the record of DEA dea-7 is removed"},
		{journal.DEADoubled, dea(nil), "two DEAs use the id dea-7"},
		{journal.DEASingle, dea(nil), "only one DEA uses the id dea-7 again"},
		{journal.DEAUnreadable, with(dea(nil), func(e *api.Event) { e.Detail = `index of an entry is "0"` }), `not all that DEA dea-7 sends can be read: index of an entry is "0"`},
		{journal.DEAReadable, dea(nil), "all that DEA dea-7 sends can be read again"},
		{journal.DEAEvacuating, dea(map[string]int64{"instances": 8, "evacuating": 3}), "DEA dea-7 is evacuating 3 of 8 instances"},
		{journal.InstanceCrashed, api.Event{App: app, Index: &three, Instance: instance, DEA: "dea-7"}, "a0000001/3, instance c0000001 on DEA dea-7"},
		{journal.DesiredRead, api.Event{Detail: "bulk http://cc", Counts: map[string]int64{"apps": 8, "instances": 12, "added": 2, "removed": 1}},
			"8 apps with 12 instances are desired: 2 added, 0 changed, 1 removed from bulk http://cc"},
		{journal.HoldSet, api.Event{Name: "paused", By: "amy", Detail: "deploy", At: at(0), Due: at(30 * time.Minute)}, "paused by amy for 30m00s: deploy"},
		{journal.HoldSet, api.Event{Name: "mass-loss", By: "hm", Detail: "half of it is lost"}, "mass-loss by hm: half of it is lost"},
		{journal.HoldReleased, api.Event{Name: "paused", By: "amy"}, "paused by amy"},
		{journal.AdminDone, api.Event{Name: "POST /v1/holds", By: "amy", Reason: "jwt, from 10.0.0.7 through hm-2", Detail: "hold work", Counts: map[string]int64{"status": 201}},
			"amy asked for POST /v1/holds (jwt, from 10.0.0.7 through hm-2; status 201): hold work"},
		{journal.AdminRefused, api.Event{Name: "POST /v1/holds", By: "rob", Reason: "token, from 10.0.0.7 through hm-1"},
			"rob may not POST /v1/holds (token, from 10.0.0.7 through hm-1)"},
		{journal.PictureFresh, api.Event{Detail: "nats-down, actual-stale", Counts: map[string]int64{"apps": 2, "closed_ms": 230_000, "missing": 2, "undesired": 4}},
			"the gate of the leader is open after 3m50s (nats-down, actual-stale); commands are to be sent for 2 apps: 2 missing, 4 undesired"},
		{journal.PictureFresh, api.Event{Counts: map[string]int64{"apps": 1, "extra": 1}}, "the gate of the leader is open; commands are to be sent for 1 app: 1 extra"},
		{journal.QueueDrained, api.Event{Counts: map[string]int64{"took_ms": 31_000, "healed_by_itself": 1, "starts_sent": 2, "stops_sent": 4, "dropped": 1, "still_waiting": 3}},
			"all that waited when the gate opened is settled, 31s after it: 1 healed by itself, starts sent: 2, stops sent: 4, 1 not wanted any more, 3 wait for longer"},
		{journal.LinkLost, api.Event{Node: "hm-1"}, "hm-1: the link to NATS is down"},
		{journal.LinkBack, api.Event{Node: "hm-1", DelayMS: 60_000}, "hm-1: the link to NATS is up again after 1m00s"},
		{journal.GateClosed, api.Event{Node: "hm-1", Reason: "nats-down, actual-stale"}, "hm-1: the gate is closed: nats-down, actual-stale"},
		{journal.GateOpen, api.Event{Node: "hm-1", DelayMS: 90_000}, "hm-1: the gate is open after 1m30s"},
		{journal.OtherStart, api.Event{Node: "hm-1", App: app, Index: &three}, "hm-1: another health manager asked for the start of a0000001/3"},
		{journal.OtherStop, api.Event{Node: "hm-1", App: app, Index: &three, Instance: instance}, "hm-1: another health manager asked for the stop of a0000001/3: instance c0000001"},
		{journal.OtherListening, api.Event{Node: "hm-1"}, "hm-1: the commands of another health manager are heard from now on"},
		{journal.OtherUnheard, api.Event{Node: "hm-1", Reason: "nats-down"}, "hm-1: the commands of another health manager are not heard any more: nats-down"},
		{journal.OtherMissed, api.Event{Node: "hm-1", Counts: map[string]int64{"start": 3}}, "hm-1: commands of another health manager were heard and not kept: start 3"},
		{journal.HistoryGap, api.Event{Node: "hm-1", Detail: "entries 4 to 9"}, "hm-1: a part of the history is not known here: entries 4 to 9"},
		{"dea.painted", api.Event{App: app, DEA: "dea-7", Name: "red", By: "amy", Counts: map[string]int64{"coats": 2}, Detail: "why not"}, "app a0000001, DEA dea-7, name red, by amy, coats 2: why not"},
	} {
		seen[c.kind] = true
		c.e.Kind = string(c.kind)
		if got := Event(c.e, Short); got != c.want {
			t.Errorf("%s is told as\n%s, want\n%s", c.kind, got, c.want)
		}
	}
	for _, k := range journal.Kinds() {
		if !seen[k] {
			t.Errorf("there is no case for %s", k)
		}
	}
	if OneLine("a\nb\x1b[31m") != "a b [31m" {
		t.Error("a text of others can break the line or change the terminal")
	}
}
