package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/recording"
)

// Properties: the clocks of DEAs, unreadable entries, and the order of two subjects change no command.
// (guid_case_test.go has one about the case of guids.) The small fleets here do not react to commands. Use
// -rapid.checks=100000 for a long run.

// drawnEvent is one message of a drawn recording.
type drawnEvent struct {
	at      int // milliseconds
	subject string
	dea     string       // of a heartbeat
	entries []drawnEntry // of a heartbeat
	body    map[string]any
}

type drawnEntry map[string]any

func (e drawnEvent) clone() drawnEvent {
	e.entries, e.body = slices.Clone(e.entries), maps.Clone(e.body)
	for i := range e.entries {
		e.entries[i] = maps.Clone(e.entries[i])
	}
	return e
}

func cloneEvents(events []drawnEvent) []drawnEvent {
	events = slices.Clone(events)
	for i := range events {
		events[i] = events[i].clone()
	}
	return events
}

var drawnStart = time.Date(2026, 2, 3, 9, 0, 0, 0, time.UTC)

const (
	drawnBeats = 16
	webGUID    = "6f1c2d3e-0a1b-4c5d-8e9f-00112233aabb"
	apiGUID    = "7f1c2d3e-0a1b-4c5d-8e9f-00112233aabb"
	v1GUID     = "8f1c2d3e-0a1b-4c5d-8e9f-00112233aabb"
	v2GUID     = "9f1c2d3e-0a1b-4c5d-8e9f-00112233aabb"
)

// drawEvents draws the heartbeats and exits of three DEAs for 16 periods. Instances appear, crash, evacuate, are
// doubled or disappear; DEAs become silent and return.
func drawEvents(t *rapid.T) []drawnEvent {
	type instance struct {
		entry drawnEntry
		dea   int
	}
	created := 0
	newInstance := func(app, version string, index, dea int, state string) *instance {
		created++
		return &instance{drawnEntry{"droplet": app, "version": version, "instance": fmt.Sprintf("%08x-0a1b-4c5d-8e9f-00112233ccdd", 0xa0000000+created),
			"index": index, "state": state, "state_timestamp": 1_770_000_000 + rapid.IntRange(0, 1000).Draw(t, "since")}, dea}
	}
	var all []*instance
	for index := range 3 {
		all = append(all, newInstance(webGUID, v1GUID, index, index, "RUNNING"))
	}
	all = append(all, newInstance(apiGUID, v1GUID, 0, 1, "RUNNING"))
	silent := [3]bool{}
	var events []drawnEvent
	for beat := range drawnBeats {
		if beat > 2 {
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "of")
				x := all[i]
				switch rapid.IntRange(0, 8).Draw(t, "change") {
				case 0:
					all = slices.Delete(all, i, i+1)
					if len(all) == 0 {
						all = append(all, newInstance(apiGUID, v1GUID, 0, 1, "RUNNING"))
					}
				case 1:
					x.entry["state"] = "CRASHED"
				case 2:
					x.entry["state"] = "EVACUATING"
				case 3:
					x.entry["state"] = "STARTING"
				case 4:
					x.entry["state"] = "RUNNING"
				case 5:
					all = append(all, newInstance(webGUID, rapid.SampledFrom([]string{v1GUID, v2GUID}).Draw(t, "version"), rapid.IntRange(0, 4).Draw(t, "index"),
						rapid.IntRange(0, 2).Draw(t, "dea"), rapid.SampledFrom([]string{"RUNNING", "STARTING", "CRASHED"}).Draw(t, "state")))
				case 6:
					x.entry["state"] = "CRASHED"
					events = append(events, drawnEvent{at: beat*10_000 + 500, subject: "droplet.exited", body: map[string]any{"droplet": x.entry["droplet"],
						"version": x.entry["version"], "instance": x.entry["instance"], "index": x.entry["index"], "reason": "CRASHED"}})
				case 7:
					silent[x.dea] = !silent[x.dea]
				case 8:
					x.entry["state_timestamp"] = 1_770_000_000 + rapid.IntRange(0, 1000).Draw(t, "since")
				}
			}
		}
		for d := range 3 {
			if silent[d] {
				continue
			}
			e := drawnEvent{at: beat*10_000 + 1000 + d*3300, subject: "dea.heartbeat", dea: fmt.Sprintf("dea-%d", d)}
			for _, x := range all {
				if x.dea == d {
					e.entries = append(e.entries, maps.Clone(x.entry))
				}
			}
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b drawnEvent) int { return a.at - b.at })
	return events
}

// recordingOf writes events as a recording, with a read of the desired state each minute.
func recordingOf(events []drawnEvent) []byte {
	var b bytes.Buffer
	line := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // what is drawn can be encoded
		}
		b.Write(append(text, '\n'))
	}
	stamp := func(ms int) string {
		return drawnStart.Add(time.Duration(ms) * time.Millisecond).Format(time.RFC3339Nano)
	}
	line(map[string]any{"type": "header", "format": 1, "started": stamp(0)})
	row := func(app string, n int) map[string]any {
		return map[string]any{"id": app, "version": v1GUID, "instances": n, "state": "STARTED", "package_state": "STAGED"}
	}
	next := 0
	for _, e := range events {
		for ; next <= e.at; next += 60_000 {
			line(map[string]any{"t": stamp(next), "type": "desired", "apps": []any{row(webGUID, 3), row(apiGUID, 1)}})
		}
		body := e.body
		if e.subject == "dea.heartbeat" {
			list := e.entries
			if list == nil {
				list = []drawnEntry{}
			}
			body = map[string]any{"dea": e.dea, "droplets": list}
		}
		line(map[string]any{"t": stamp(e.at), "type": "nats", "subject": e.subject, "data": body})
	}
	return b.Bytes()
}

func commandsOf(t *rapid.T, data []byte) []Command {
	opts := OptionsOf(config.Default())
	result, err := Run(t.Context(), opts, recording.Text("drawn", data))
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return result.Commands
}

func sameCommands(t *rapid.T, got, want []Command, changed, recording []byte) {
	if !slices.Equal(got, want) {
		t.Fatalf("other commands:\n%+v\nthan\n%+v\nin\n%s\nthan in\n%s", got, want, changed, recording)
	}
}

// beforeRepeats returns the commands from before the first start is repeated. Later ones mean nothing, since the fleet
// does not react. It leaves out the ids: they depend on when a command was scheduled, which may be whenever hm
// evaluates the app.
func beforeRepeats(commands []Command) []Command {
	commands = slices.Clone(commands)
	for i := range commands {
		commands[i].ID = ""
	}
	first := slices.IndexFunc(commands, func(c Command) bool { return c.Action == "start" })
	if first < 0 {
		return commands
	}
	end := app.Time(commands[first].At).Add(config.Default().Grace())
	return slices.DeleteFunc(commands, func(c Command) bool { return app.Time(c.At) >= end })
}

// W26: the clock of a DEA changes no command.
func TestNoClockOfADEADecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		shifted := cloneEvents(events)
		by := map[string]int{}
		for i := range shifted {
			e := &shifted[i]
			if _, drawn := by[e.dea]; !drawn && e.dea != "" {
				by[e.dea] = rapid.IntRange(-2_000_000_000, 4_000_000_000).Draw(t, "shift")
			}
			for _, entry := range e.entries {
				entry["state_timestamp"] = entry["state_timestamp"].(int) + by[e.dea]
			}
		}
		before, after := recordingOf(events), recordingOf(shifted)
		sameCommands(t, commandsOf(t, after), commandsOf(t, before), after, before)
	})
}

// W14: unreadable entries that name other instances change no command.
func TestUnreadableEntriesOfOthersHideNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		with := cloneEvents(events)
		for range rapid.IntRange(1, 6).Draw(t, "unreadable") {
			e := &with[rapid.IntRange(0, len(with)-1).Draw(t, "in")]
			if e.dea == "" {
				continue
			}
			entry := drawnEntry{"droplet": webGUID, "version": v1GUID, "instance": fmt.Sprintf("bad-%d", rapid.IntRange(0, 3).Draw(t, "bad")), "index": 0, "state": "RUNNING"}
			switch rapid.IntRange(0, 5).Draw(t, "how") {
			case 0:
				entry["index"] = nil
			case 1:
				entry["index"] = "0"
			case 2:
				delete(entry, "droplet")
			case 3:
				entry["version"] = 7
			case 4:
				entry["index"] = -1
			case 5:
				entry["instance"], entry["index"] = 5, "zero"
			}
			for n := rapid.IntRange(1, 3).Draw(t, "times"); n > 0; n-- {
				e.entries = slices.Insert(e.entries, rapid.IntRange(0, len(e.entries)).Draw(t, "at"), entry)
			}
		}
		before, after := recordingOf(events), recordingOf(with)
		sameCommands(t, beforeRepeats(commandsOf(t, after)), beforeRepeats(commandsOf(t, before)), after, before)
	})
}

// R34: one crash gives one start, whether hm handles the exit or the heartbeat first.
func TestTheOrderOfExitAndHeartbeatChangesNoCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index := rapid.IntRange(0, 2).Draw(t, "index")
		when := rapid.IntRange(5, 10).Draw(t, "beat")
		seenBefore := rapid.Bool().Draw(t, "seen before")
		gap := rapid.IntRange(1, 3000).Draw(t, "gap")
		other := drawnEntry{"droplet": webGUID, "version": v1GUID, "instance": "old-crash", "index": index, "state": "CRASHED", "state_timestamp": rapid.IntRange(0, 2_000_000_000).Draw(t, "old")}
		listsOld := rapid.Bool().Draw(t, "lists an old crash")
		starts := func(order int) int {
			var events []drawnEvent
			for beat := range when + 3 {
				for d := range 3 {
					at := beat*10_000 + 1000 + d*3300
					e := drawnEvent{at: at, subject: "dea.heartbeat", dea: fmt.Sprintf("dea-%d", d)}
					x := drawnEntry{"droplet": webGUID, "version": v1GUID, "instance": fmt.Sprintf("web-%d", d), "index": d, "state": "RUNNING", "state_timestamp": 1_770_000_000}
					if d == 0 {
						e.entries = append(e.entries, drawnEntry{"droplet": apiGUID, "version": v1GUID, "instance": "api-0", "index": 0, "state": "RUNNING"})
						if listsOld {
							e.entries = append(e.entries, other)
						}
					}
					crashed := d == index && beat >= when
					if crashed {
						if !seenBefore {
							x["instance"] = "web-new"
						}
						x["state"] = "CRASHED"
					}
					exit := drawnEvent{subject: "droplet.exited", body: map[string]any{"droplet": webGUID, "version": v1GUID, "instance": x["instance"], "index": index, "reason": "CRASHED"}}
					if crashed && beat == when {
						switch order {
						case 0: // the exit first
							exit.at = at - gap
							events = append(events, exit)
						case 1: // the heartbeat first
							exit.at = at + gap
							events = append(events, exit)
						case 2: // a heartbeat from before the crash comes after the exit
							exit.at = at - gap
							x["state"] = "RUNNING"
							events = append(events, exit)
						}
					}
					e.entries = append(e.entries, x)
					events = append(events, e)
				}
			}
			slices.SortStableFunc(events, func(a, b drawnEvent) int { return a.at - b.at })
			n := 0
			for _, c := range commandsOf(t, recordingOf(events)) {
				if c.Action != "start" || c.Index != uint32(index) {
					t.Fatalf("%+v was sent", c)
				}
				if app.Time(c.At) < app.TimeOf(drawnStart).Add(time.Duration(when)*10*time.Second+25*time.Second) { // later the start is repeated
					n++
				}
			}
			return n
		}
		for order := range 3 {
			if order == 2 && !seenBefore {
				continue // an instance that was listed live was reported before
			}
			if n := starts(order); n != 1 {
				t.Fatalf("order %d: %d starts for one crash", order, n)
			}
		}
	})
}
