package replay

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// natsSubStampLog is what nats sub --timestamp 0.4 printed, its log in between, and a stream's message.
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
	}{{FormatNATSSub, natsSubLog, 4, 2}, {FormatNATSSub, natsSubStampLog, 4, 2}, {FormatHM9000, captureLog, 7, 6}} {
		r, err := Run(t.Context(), optionsForTests(), Imported(Text("f", []byte(c.log)), ImportOptions{Format: c.format, Year: 2025}))
		if err != nil {
			t.Fatal(err)
		}
		if r.Events != c.events || r.Heartbeats != c.heartbeats || r.Rejected != 0 {
			t.Errorf("%s: %+v", c.format, r)
		}
	}
}

func TestImportWithADesiredState(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rows.json": `[{"id":"web","version":"v1","instances":2,"state":"STARTED","package_state":"STAGED"}]`,
		"bulk.json": `{"results":{"web":{"id":"web","version":"v1","instances":2,"state":"STARTED","package_state":"STAGED","memory":64}},"bulk_token":{"id":7}}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := ReadDesired(path)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		for s := 0; s < 120; s += 10 {
			at := time.Date(2026, 1, 15, 12, 0, s, 0, time.UTC)
			log.WriteString(at.Format(time.RFC3339) + ` dea.heartbeat {"dea":"dea-a","droplets":[{"droplet":"web","version":"v1","instance":"web-0","index":0,"state":"RUNNING"}]}` + "\n")
		}
		r, err := Run(t.Context(), optionsForTests(), Imported(Text("f", []byte(log.String())), ImportOptions{Format: FormatHM9000, Desired: &read, Poll: time.Minute}))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Commands) == 0 || r.Commands[0].Action != "start" || r.Commands[0].Index != 1 {
			t.Errorf("%s: commands %+v", name, r.Commands)
		}
	}
	bad := filepath.Join(dir, "bad.json")
	for _, text := range []string{`{}`, `[{"id":"web"}]`, `nonsense`} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDesired(bad); err == nil || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Times without a year are of the one that is given, and of the next one when they go from December to January.
func TestImportedTimesWithoutAYear(t *testing.T) {
	at := func(year int, log string) (started, ended string, err error) {
		r, err := Run(t.Context(), optionsForTests(), Imported(Text("f", []byte(log)), ImportOptions{Format: FormatNATSSub, Year: year}))
		return r.Started.String(), r.Ended.String(), err
	}
	if started, ended, err := at(2025, natsSubStampLog); err != nil || started != "2025-12-31T23:59:58.932Z" || ended != "2026-01-01T00:00:01.000Z" {
		t.Errorf("it is from %s to %s, %v", started, ended, err)
	}
	leap := strings.ReplaceAll(natsSubStampLog[:strings.Index(natsSubStampLog, "[#2]")], "Dec 31", "Feb 29")
	if started, _, err := at(2028, leap); err != nil || started != "2028-02-29T23:59:58.932Z" {
		t.Errorf("in a leap year it is from %s, %v", started, err)
	}
	if _, _, err := at(2027, leap); err == nil || !strings.Contains(err.Error(), `f:2: "Feb 29 23:59:58.932882" is no time of the year 2027`) {
		t.Errorf("in no leap year the error is %v", err)
	}
	if _, _, err := at(0, natsSubStampLog); !errors.Is(err, ErrNoYear) || err.Error() != "f:2: the time Dec 31 23:59:58.932882: it has no year, and none is given" {
		t.Errorf("without a year the error is %v", err)
	}
}

func TestImportsSayWhereAndWhy(t *testing.T) {
	for _, c := range []struct{ name, format, log, want string }{
		{"nothing", FormatNATSSub, "hello\n", "f:1: no message of format nats-sub is in it"},
		{"raw", FormatNATSSub, "{}\n", "f:1: no message of format nats-sub is in it: want what nats sub --timestamp prints, not --raw"},
		{"times since the start", FormatNATSSub, "[#1] @ 20.466511ms Received on \"x\"\n{}\n", `f:1: "20.466511ms" is no time`},
		{"no time", FormatNATSSub, "[#1] Received on \"x\"\n{}\n", "f:1: the message has no time"},
		{"back in time", FormatHM9000, "2026-01-15T12:00:01Z x {}\n2026-01-15T12:00:00Z x {}\n", "f:2: its time 2026-01-15T12:00:00Z is before"},
		{"no time in a capture", FormatHM9000, "soon x {}\n", `f:1: "soon" is no time`},
		{"too little", FormatHM9000, "2026-01-15T12:00:01Z x\n", "f:1: want a time, a subject and the payload"},
		{"half an object", FormatHM9000, `{"subject":"x"}`, "f:1: the object needs a time"},
		{"another format", "csv", "x\n", `f:1: reading: format "csv" is none of nats-sub, hm9000`},
	} {
		_, err := Run(t.Context(), optionsForTests(), Imported(Text("f", []byte(c.log)), ImportOptions{Format: c.format}))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q at its beginning", c.name, err, c.want)
		}
	}
}

// TestWriterWritesWhatIsRead takes recordings apart and puts them together again.
func TestWriterWritesWhatIsRead(t *testing.T) {
	for name, s := range scenes(t) {
		data := s.record()
		var again bytes.Buffer
		w := WriteTo(&again, WriterOptions{Header: s.header})
		copyRecording(t, w, data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		// A message that is no JSON is written anew as it was heard; all else is the same text.
		if !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%s is\n%s\nand was\n%s", name, again.Bytes(), data)
		}
	}
}

func TestAnonymousRecordingKeepsTheCommands(t *testing.T) {
	for _, name := range []string{"R05-crashed", "R20-duplicate", "R26-evacuation", "R34-exit-crashed", "outage-dea-lost"} {
		data := scenes(t)[name].record()
		var hidden bytes.Buffer
		w := WriteTo(&hidden, WriterOptions{Header: Header{Node: "hm-of-a-customer"}, Anonymize: true})
		copyRecording(t, w, data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"web-0", `"web"`, "api-", `"dea-a"`, "Cloud Controller", "customer"} { // a mask may hold dea-a by chance: it is hexadecimal
			if strings.Contains(hidden.String(), secret) {
				t.Errorf("%s: %q is still in\n%s", name, secret, hidden.String())
			}
		}
		shape := func(r Result) (s []string) {
			for _, c := range r.Commands {
				s = append(s, c.At.String()+c.Action+c.Reason)
			}
			return s
		}
		want, got := shape(replay(t, Text("f", data))), shape(replay(t, Text("f", hidden.Bytes())))
		if strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) == 0 {
			t.Errorf("%s: anonymous, the commands are %v, want %v", name, got, want)
		}
	}
}

func TestWriterNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, WriterOptions{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the error is %v", err)
	}
	numbered := filepath.Join(filepath.Dir(path), "r.0001.jsonl")
	if err := os.WriteFile(numbered, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Create(path, WriterOptions{MaxBytes: 100}) // and goes on behind the parts that are there
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(filepath.Dir(path), "r.0002.jsonl")
	if err := os.WriteFile(second, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Link(time.Now(), true, false), w.Close()); err == nil || !strings.Contains(err.Error(), "r.0002.jsonl exists already") {
		t.Errorf("the error of a numbered file is %v", err)
	}
	for _, p := range []string{path, numbered, second} {
		if text, err := os.ReadFile(p); err != nil || string(text) != "precious" {
			t.Errorf("%s is now %q, %v", p, text, err)
		}
	}
}

// A name that promises a compression must keep it.
func TestWriterKnowsEndings(t *testing.T) {
	for name, good := range map[string]bool{
		"r": true, "r.jsonl": true, "r.txt": true, "r.gz": true, "r.jsonl.zst": true, "r.2026.01.15": true,
		"r.jsonl.bz2": false, "r.JSONL.GZ": false, "r.zstd": false, "r.xz": false,
	} {
		if _, err := Create(filepath.Join(t.TempDir(), name), WriterOptions{}); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// inParts writes a recording in several files.
func inParts(t *testing.T, recording []byte) (paths []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.jsonl")
	w, err := Create(path, WriterOptions{MaxBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	copyRecording(t, w, recording)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err = filepath.Glob(filepath.Join(filepath.Dir(path), "r.*.jsonl"))
	if err != nil || len(paths) < 3 || w.Stats.Files != len(paths) {
		t.Fatalf("%d files, %v, the writer tells of %d", len(paths), err, w.Stats.Files)
	}
	return paths
}

func TestWriterRotatesBySize(t *testing.T) {
	paths := inParts(t, scenes(t)["R05-crashed"].record())
	files, err := Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	if got := replay(t, files...); len(got.Commands) != 1 || got.Commands[0].Reason != "CRASHED" {
		t.Errorf("commands of all parts: %+v", got.Commands)
	}
}
