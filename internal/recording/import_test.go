package recording_test

import (
	"errors"
	"strings"
	"testing"

	"hm/actual/feed"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

const natsSubLog = `12:00:00 Subscribing on >
[#1] @ 2026-01-15T12:00:01Z Received on "dea.heartbeat"
{"dea":"dea-a","droplets":[{"droplet":"web","version":"v1","instance":"web-0","index":0,"state":"RUNNING","state_timestamp":1}]}

2026/01/15 12:00:11.500000 [#2] Received on [dea.heartbeat]: '{"dea":"dea-a","droplets":[]}'
2026-01-15T12:00:12Z [#3] Received on "droplet.exited" with reply "_INBOX.x"
{"droplet":"web",
 "version":"v1","instance":"web-0","index":0,"reason":"CRASHED"}

[#4] @ 2026-01-15T12:00:13Z Received on "router.register"
{"host":"x"}
`

// natsSubStampLog is output of nats sub --timestamp, version 0.4, with lines of its log and the message of a stream.
const natsSubStampLog = `15:05:44 Subscribing on >
[#1] @ Dec 31 23:59:58.932882 Received on "dea.heartbeat"
{"dea":"dea-a","droplets":[{"droplet":"web","version":"v1","instance":"web-0","index":0,"state":"RUNNING","state_timestamp":1}]}


[#2] @ Dec 31 23:59:59.133444 Received on "droplet.exited" with reply "_INBOX.x"
{"droplet":"web","version":"v1","instance":"web-0","index":0,"reason":"CRASHED"}


[#3] @ Jan  1 00:00:00.5 Received JetStream message: stream: CF seq: 3 / pending: 0 / subject: dea.heartbeat / time: 2026-01-01 00:00:00
{"dea":"dea-a","droplets":[]}


[#4] @ Jan  1 00:00:01.000001 Received on "healthmanager.status"
nil body
`

const captureLog = `# a capture
2026-01-15T12:00:01Z dea.heartbeat {"dea":"dea-a","droplets":[]}
1768478402.5 dea.heartbeat {"dea":"dea-a","droplets":[]}
{"time":"2026-01-15T12:00:03Z","subject":"droplet.updated","payload":"{\"droplet\":\"web\"}"}
{"timestamp":1768478404,"subject":"dea.heartbeat","data":{"dea":"dea-b","droplets":[]}}
2026/01/15 12:00:05.25 dea.heartbeat {"dea":"dea-b", "droplets":[]}
2026-01-15 12:00:06  dea.heartbeat  {"dea":"dea-b","droplets":[]}
` + "2026-01-15T12:00:07Z\tdea.heartbeat\t{\"dea\":\"dea-b\",\"droplets\":[]}\r\n"

func TestImports(t *testing.T) {
	for _, c := range []struct {
		format, log        string
		events, heartbeats int
	}{{recording.FormatNATSSub, natsSubLog, 4, 2}, {recording.FormatNATSSub, natsSubStampLog, 4, 2}, {recording.FormatHM9000, captureLog, 7, 6}} {
		events, heartbeats := 0, 0
		recordingtest.Each(t, func(e *recording.Event) bool {
			events++
			var err error
			switch {
			case e.Subject == feed.SubjectHeartbeat:
				if heartbeats++; e.Repeat == "" {
					_, err = feed.DecodeHeartbeat(e.Data)
				}
			case e.Subject == feed.SubjectExited:
				_, err = feed.DecodeExit(e.Data)
			case e.Subject == feed.SubjectUpdated:
				_, err = feed.DecodeUpdated(e.Data)
			}
			if err != nil {
				t.Errorf("%s: %s cannot be decoded: %v", c.format, e.Subject, err)
			}
			return true
		}, recording.ImportSource(recording.Text("f", []byte(c.log)), recording.ImportOptions{Format: c.format, Year: 2025}))
		if events != c.events || heartbeats != c.heartbeats {
			t.Errorf("%s: %d events and %d heartbeats, want %d and %d", c.format, events, heartbeats, c.events, c.heartbeats)
		}
	}
}

// Times without a year are in the given year, and in the next one after they go from December to January.
func TestImportedTimesWithoutAYear(t *testing.T) {
	at := func(year int, log string) (started, ended string, err error) {
		source := recording.ImportSource(recording.Text("f", []byte(log)), recording.ImportOptions{Format: recording.FormatNATSSub, Year: year})
		h, err := recording.ReadHeader(source)
		if err != nil {
			return "", "", err
		}
		end, err := recording.EndOf(t.Context(), source)
		return app.TimeOf(h.Started).String(), end.String(), err
	}
	if started, ended, err := at(2025, natsSubStampLog); err != nil || started != "2025-12-31T23:59:58.932Z" || ended != "2026-01-01T00:00:01.000Z" {
		t.Errorf("the recording is from %s to %s, %v", started, ended, err)
	}
	leap := strings.ReplaceAll(natsSubStampLog[:strings.Index(natsSubStampLog, "[#2]")], "Dec 31", "Feb 29")
	if started, _, err := at(2028, leap); err != nil || started != "2028-02-29T23:59:58.932Z" {
		t.Errorf("in a leap year the recording is from %s, %v", started, err)
	}
	if _, _, err := at(2027, leap); err == nil || !strings.Contains(err.Error(), `f:2: invalid time "Feb 29 23:59:58.932882" in the year 2027`) {
		t.Errorf("in a common year the error is %v", err)
	}
	if _, _, err := at(0, natsSubStampLog); !errors.Is(err, recording.ErrNoYear) || err.Error() != "f:2: the time has no year, and none was given: Dec 31 23:59:58.932882" {
		t.Errorf("without a year the error is %v", err)
	}
}

func TestImportsSayWhereAndWhy(t *testing.T) {
	for _, c := range []struct{ name, format, log, want string }{
		{"nothing", recording.FormatNATSSub, "hello\n", "f:1: the file has no message of format nats-sub"},
		{"raw", recording.FormatNATSSub, "{}\n", "f:1: the file has no message of format nats-sub: want the output of nats sub --timestamp, without --raw"},
		{"times since the start", recording.FormatNATSSub, "[#1] @ 20.466511ms Received on \"x\"\n{}\n", `f:1: invalid time "20.466511ms"`},
		{"no time", recording.FormatNATSSub, "[#1] Received on \"x\"\n{}\n", "f:1: the message has no time"},
		{"back in time", recording.FormatHM9000, "2026-01-15T12:00:01Z x {}\n2026-01-15T12:00:00Z x {}\n", "f:2: the time 2026-01-15T12:00:00Z is before"},
		{"no time in a capture", recording.FormatHM9000, "soon x {}\n", `f:1: invalid time "soon"`},
		{"too little", recording.FormatHM9000, "2026-01-15T12:00:01Z x\n", "f:1: want a time, a subject and a payload"},
		{"half an object", recording.FormatHM9000, `{"subject":"x"}`, "f:1: the object needs a time"},
		{"another format", "csv", "x\n", `f:1: reading: unknown format "csv": want nats-sub, hm9000`},
	} {
		_, err := read(recording.ImportSource(recording.Text("f", []byte(c.log)), recording.ImportOptions{Format: c.format}))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q at its beginning", c.name, err, c.want)
		}
	}
}
