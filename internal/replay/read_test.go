package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

const (
	goodHeader    = `{"type":"header","format":1,"started":"2026-01-15T12:00:00Z"}` + "\n"
	goodDesired   = `{"t":"2026-01-15T12:00:00Z","type":"desired","apps":[{"id":"web","version":"v1","instances":1,"state":"STARTED","package_state":"STAGED"}]}` + "\n"
	goodHeartbeat = `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"dea.heartbeat","data":{"dea":"dea-a","droplets":[]}}` + "\n"
)

// runFile plays a recording that may be no good.
func runFile(t testing.TB, name string, data []byte) (Result, error) {
	t.Helper()
	src := Text(name, data)
	return Run(t.Context(), optionsForTests(), src)
}

func TestMalformedRecordingsSayWhereAndWhy(t *testing.T) {
	zipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(s))
		z.Close()
		return b.String()
	}
	zstandard := func(s string) string {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(z.EncodeAll([]byte(s), nil))
	}
	good := goodHeader + goodDesired + strings.Repeat(goodHeartbeat, 50)
	at := func(second int) string {
		return time.Date(2026, 1, 15, 12, 0, second, 0, time.UTC).Format(time.RFC3339)
	}
	event := func(s string) string { return goodHeader + goodDesired + s + "\n" }
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "f:1: the file is empty"},
		{"no header", goodDesired, "f:1: this is no recording: its first line is of type \"desired\""},
		{"junk", "\x00\x01\x02\xff\xfe junk\n", "f:1: this is no recording: binary data, not JSON"},
		{"junk in the middle", event("\x00\x7f\xff\xfe"), "f:3: binary data, not JSON"},
		{"text", "hello\nworld\n", "f:1: this is no recording: invalid character"},
		{"another format", `{"type":"header","format":2,"started":"2026-01-15T12:00:00Z"}`, "f:1: the recording's format is 2; this version of hm reads format 1"},
		{"no format", `{"type":"header","started":"2026-01-15T12:00:00Z"}`, "f:1: the header has no format"},
		{"no start", `{"type":"header","format":1}`, "f:1: the header has no started"},
		{"a start in the dark ages", `{"type":"header","format":1,"started":"0900-01-15T12:00:00Z"}`, "f:1: started: the time is not between"},
		{"config that is none", `{"type":"header","format":1,"started":"2026-01-15T12:00:00Z","config":{"policy.grace":3}}`, "f:1: the header's config must be an object of strings"},
		{"two headers", goodHeader + goodHeader, "f:2: a second header"},
		{"no type", event(`{"t":"` + at(1) + `"}`), "f:3: it has no type"},
		{"unknown type", event(`{"t":"` + at(1) + `","type":"weather"}`), `f:3: type "weather" is none of nats, desired, link, leader`},
		{"no time", event(`{"type":"link","up":true}`), "f:3: it has no t"},
		{"bad time", event(`{"t":"yesterday","type":"link","up":true}`), "f:3: "},
		{"back in time", event(goodHeartbeat + `{"t":"` + at(0) + `","type":"link","up":true}`), "f:4: its time 2026-01-15T12:00:00Z is before that of the line before, 2026-01-15T12:00:01Z"},
		{"a heartbeat back in time", event(`{"t":"` + at(5) + `","type":"link","up":true}` + "\n" + goodHeartbeat), "f:4: its time 2026-01-15T12:00:01Z is before"},
		{"a leap of years", event(`{"t":"2036-01-15T12:00:00Z","type":"link","up":true}`), "f:3: its time 2036-01-15T12:00:00Z is more than 24 hours after"},
		{"no object", event(`[]`), "f:3: json: cannot unmarshal array"},
		{"truncated line", goodHeader + goodDesired + goodHeartbeat[:60], "f:3: unexpected end of JSON input, and no line follows: the file is truncated"},
		{"truncated heartbeat", goodHeader + goodDesired + goodHeartbeat[:90], "f:3: unexpected end of JSON input, and no line follows: the file is truncated"},
		{"a heartbeat's line that is no JSON", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","data":{"dea":"a","droplets":[]]}`), "f:3: invalid character"},
		{"no subject", event(`{"t":"` + at(1) + `","type":"nats","data":{}}`), "f:3: a nats line needs a subject"},
		{"no data", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat"}`), "f:3: a nats line needs one of data, base64 and repeat"},
		{"data twice", event(`{"t":"` + at(1) + `","type":"nats","subject":"x","data":1,"base64":"AA=="}`), "f:3: a nats line needs one of"},
		{"repeat of nothing", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","repeat":"dea-z"}`), "f:3: DEA dea-z cannot repeat itself"},
		{"repeat cut short", event(`{"t":"` + at(1) + `Z","type":"nats","subject":"dea.heartbeat","repeat":"}`), "f:3: "},
		{"repeat cut short in its quotes", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","repeat":"}`), "f:3: unexpected end of JSON input"},
		{"repeat of an exit", event(`{"t":"` + at(1) + `","type":"nats","subject":"droplet.exited","repeat":"dea-z"}`), "f:3: only a dea.heartbeat can be repeated"},
		{"link without up", event(`{"t":"` + at(1) + `","type":"link"}`), "f:3: a link line needs up"},
		{"leader without change", event(`{"t":"` + at(1) + `","type":"leader","change":false}`), "f:3: a leader line needs change"},
		{"leader lost and found", event(`{"t":"` + at(1) + `","type":"leader","change":true,"lost":true}`), "f:3: a leader line needs change: true, or lost: true"},
		{"desired without apps", event(`{"t":"` + at(1) + `","type":"desired"}`), "f:3: a desired line needs one of apps, error and unchanged"},
		{"unchanged at first", goodHeader + `{"t":"` + at(1) + `","type":"desired","unchanged":true}`, "f:2: a read cannot be unchanged"},
		{"an app without instances", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","state":"STARTED","package_state":"STAGED"}]}`), "f:3: app a: instances must be a number"},
		{"an app without a version", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: an app has no id or no version"},
		{"an app of no state", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","instances":1,"state":"ON","package_state":"STAGED"}]}`), "f:3: app a: state \"ON\" is neither"},
		{"an app twice", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","instances":1,"state":"STARTED","package_state":"STAGED"},{"id":"a","version":"c","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: app a was returned twice"},
		{"a read that does not end", event(`{"t":"` + at(1) + `","type":"desired","more":true,"apps":[]}`), "f:3: the file ends within a read"},
		{"a read that is interrupted", event(`{"t":"` + at(1) + `","type":"desired","more":true,"apps":[]}` + "\n" + `{"t":"` + at(1) + `","type":"link","up":true}`), "f:4: it comes between the lines of one read"},
		{"began in the future", event(`{"t":"` + at(1) + `","type":"desired","unchanged":true,"began":"` + at(9) + `"}`), "f:3: began is after t"},
		{"a state late", event(`{"t":"` + at(1) + `","type":"state","snapshot":"AAAA"}`), "f:3: a state can only come before everything else"},
		{"a state of nothing", goodHeader + `{"t":"` + at(1) + `","type":"state"}`, "f:2: a state line needs a snapshot"},
		{"a state that is none", goodHeader + `{"t":"` + at(1) + `","type":"state","snapshot":"AAAA"}`, "f:2: the state cannot be restored"},
		{"a state that is interrupted", goodHeader + `{"t":"` + at(0) + `","type":"state","snapshot":"AAAA","more":true}` + "\n" + goodHeartbeat, "f:3: it comes between the lines of one state"},
		{"a state that does not end", goodHeader + `{"t":"` + at(0) + `","type":"state","snapshot":"AAAA","more":true}`, "f:2: the file ends within a state"},
		{"a state of later", goodHeader + string(stateLine(t, at(0), 2_000_000_000_000)), "f:2: the state is of 2033-05-18T03:33:20.000Z, which is later than the line"},
		{"a hold without a name", event(`{"t":"` + at(1) + `","type":"hold","set":true}`), "f:3: invalid: \"\" cannot be a hold's name"},
		{"a hold neither set nor released", event(`{"t":"` + at(1) + `","type":"hold","name":"x"}`), "f:3: a hold line needs set: true or false"},
		{"a hold until the dark ages", event(`{"t":"` + at(1) + `","type":"hold","name":"x","set":true,"until":"0900-01-15T12:00:00Z"}`), "f:3: until: the time is not between"},
		{"a read of one app with a row of another", event(`{"t":"` + at(1) + `","type":"desired","app":"a","apps":[{"id":"b","version":"b","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: a read of app a has a row of b"},
		{"a read of one app that goes on", event(`{"t":"` + at(1) + `","type":"desired","app":"a","apps":[],"more":true}`), "f:3: a read of one app has its guid, and nothing else"},
		{"gzip, truncated", zipped(good)[:60], "truncated"},
		{"zstd, truncated", zstandard(good)[:60], "truncated"},
		{"gzip, damaged", zipped(good)[:30] + "XXXX" + zipped(good)[34:], "f:"},
		{"gzip of junk", "\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff", "f:1: it begins as gzip does, but"},
		{"zstd of junk", "\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff", "f:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := runFile(t, "f", []byte(c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, want %q in it", err, c.want)
			}
			var e *Error
			if !errors.As(err, &e) || e.File != "f" {
				t.Errorf("the error %v does not name the file", err)
			}
		})
	}
}

// Wherever a file is cut off, compressed or not: if that is allowed, what is in it plays, and it is told where it ends.
// Else it is an error that says so.
func TestFilesThatAreCutOff(t *testing.T) {
	text := []byte(goodHeader + goodDesired + strings.Repeat(goodHeartbeat, 3) +
		`{"t":"2026-01-15T12:00:02Z","type":"desired","more":true,"apps":[]}` + "\n" + `{"t":"2026-01-15T12:00:02Z","type":"desired","apps":[]}` + "\n")
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	for _, packed := range []bool{false, true} {
		var stored bytes.Buffer
		var ends []int // of the lines, in what is stored
		z := gzip.NewWriter(&stored)
		for _, l := range lines {
			if packed {
				if err := errors.Join(second(z.Write(l)), z.Flush()); err != nil {
					t.Fatal(err)
				}
			} else {
				stored.Write(l)
			}
			ends = append(ends, stored.Len())
		}
		for n := ends[0] + 1; n < stored.Len(); n++ {
			src := Text("f", stored.Bytes()[:n])
			whole := 0 // lines that are there in full
			for whole < len(ends) && ends[whole] <= n {
				whole++
			}
			atLine := slices.Contains(ends, n) || !packed && slices.Contains(ends, n+1) // the file may end so
			if _, err := Run(t.Context(), optionsForTests(), src); !errors.Is(err, ErrTruncated) && (packed || !atLine) {
				t.Errorf("packed %v, %d bytes: the error is %v", packed, n, err)
			}
			if atLine && !packed {
				continue
			}
			behind := 0
			src.Cut = func(line int) { behind = line }
			r, err := Run(t.Context(), optionsForTests(), src)
			if err != nil || behind < whole || behind > whole+1 || !packed && behind != whole { // a compressor gives a line before its own mark
				t.Errorf("packed %v, %d bytes: behind line %d of %d, %v", packed, n, behind, whole, err)
			}
			if want := []int{0, 0, 1, 2, 3, 4, 4, 5}[behind]; r.Events != want { // the last read is in two lines
				t.Errorf("packed %v, %d bytes: %d events, want %d", packed, n, r.Events, want)
			}
		}
	}
}

func second(_ int, err error) error { return err }

// Parts that are left out are silence to a replay, and silence is a loss.
func TestAPartThatIsMissing(t *testing.T) {
	part := func(n, second int) Source {
		at := fmt.Sprintf("2026-01-15T12:00:%02dZ", second)
		return Text(fmt.Sprintf("part%d", n), fmt.Appendf(nil, `{"type":"header","format":1,"started":%q,"part":%d}`+"\n"+`{"t":%q,"type":"link","up":true}`, at, n, at))
	}
	for name, c := range map[string]struct {
		parts []Source
		want  string
	}{
		"in order":          {[]Source{part(3, 1), part(4, 2), part(5, 3)}, ""},
		"another recording": {[]Source{part(3, 1), part(1, 2), part(2, 3)}, ""},
		"a file of its own": {[]Source{part(3, 1), Text("f", []byte(strings.Replace(goodHeader, ":00Z", ":09Z", 1))), part(9, 12)}, ""},
		"one is missing":    {[]Source{part(1, 1), part(2, 2), part(4, 3)}, "part4:1: the files are not in the order of time, or one is missing: part 4 of a recording follows part 2"},
		"wrong order":       {[]Source{part(2, 2), part(1, 1)}, "part1:1: the files are not in the order of time"},
	} {
		_, err := Run(t.Context(), optionsForTests(), c.parts...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: the error is %v, want %q", name, err, c.want)
		}
	}
}

// A part that is cut off is gone on from with the next one.
func TestAPartThatIsCutOff(t *testing.T) {
	first := Text("f", []byte(goodHeader+goodDesired+goodHeartbeat[:70]))
	first.Cut = func(int) {}
	next := Text("g", []byte(`{"type":"header","format":1,"started":"2026-01-15T12:00:09Z"}`+"\n"+`{"t":"2026-01-15T12:00:09Z","type":"link","up":true}`))
	if r, err := Run(t.Context(), optionsForTests(), first, next); err != nil || r.Events != 2 {
		t.Errorf("%d events, %v", r.Events, err)
	}
}

// stateLine is a line of a state whose newest entry is of hm time now.
func stateLine(tb testing.TB, at string, now app.Time) []byte {
	tb.Helper()
	s := raftfsm.NewState()
	s.Apply(1, 1, raftfsm.Entry{At: now, Records: []raftfsm.Record{raftfsm.DEAChanges{DEA: "dea-a"}}})
	var out bytes.Buffer
	w := WriteTo(&out, WriterOptions{})
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(w.State(t, s), w.Close()); err != nil {
		tb.Fatal(err)
	}
	_, text, _ := bytes.Cut(out.Bytes(), []byte("\n"))
	return text
}

// endless gives the same byte for ever.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'a'
	}
	e.left -= n
	return n, nil
}

func TestALineOf100MBIsRefusedWithoutReadingIt(t *testing.T) {
	for _, packed := range []bool{false, true} {
		long := &endless{left: 100 << 20}
		src := Source{Name: "f", Open: func() (io.ReadCloser, error) {
			plain := io.MultiReader(strings.NewReader(goodHeader+goodDesired), long, strings.NewReader("\n"))
			if !packed {
				return io.NopCloser(plain), nil
			}
			r, w := io.Pipe()
			go func() {
				z, _ := zstd.NewWriter(w)
				_, err := io.Copy(z, plain)
				z.Close()
				w.CloseWithError(err)
			}()
			return r, nil
		}}
		_, err := Run(t.Context(), optionsForTests(), src)
		if err == nil || !strings.Contains(err.Error(), "f:3: the line is longer than 16 MiB") {
			t.Errorf("packed %v: the error is %v", packed, err)
		}
		if !packed && long.left < 60<<20 {
			t.Errorf("%d MiB of the line were read", 100-long.left>>20)
		}
	}
}

func TestALineOf16MiBIsRead(t *testing.T) {
	line := `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"x","data":"`
	line += strings.Repeat("y", MaxLine-len(line)-2) + `"}`
	if len(line) != MaxLine {
		t.Fatal(len(line))
	}
	if r, err := runFile(t, "f", []byte(goodHeader+line+"\n"+goodHeartbeat)); err != nil || r.Events != 2 {
		t.Errorf("%d events, %v", r.Events, err)
	}
	if _, err := runFile(t, "f", []byte(goodHeader+" "+line+"\n"+goodHeartbeat)); err == nil || !strings.Contains(err.Error(), "f:2: the line is longer") {
		t.Errorf("a line of a byte more: %v", err)
	}
}

func TestCompressionIsToldByContent(t *testing.T) {
	plain, err := os.ReadFile(filepath.Join(corpusDir, "R05-crashed.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := replay(t, Text("f", plain)).JSON()
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(plain)
	z.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(plain, nil), "windows": bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n")), "no end of line at the end": bytes.TrimSpace(plain)} {
		if got := replay(t, Text("f", data)).JSON(); !bytes.Equal(got, want) {
			t.Errorf("%s: the result is\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestPartsPlayAsOne(t *testing.T) {
	s := scenes(t)["R01-missing"]
	path := filepath.Join(t.TempDir(), "r.jsonl.gz")
	w, err := Create(path, WriterOptions{MaxAge: 50 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	one := s.record()
	copyRecording(t, w, one)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(paths) != 4 || filepath.Base(paths[0]) != "r.0001.jsonl.gz" {
		t.Fatalf("%v %v", paths, err)
	}
	files, err := Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	want := replay(t, Text("one", one))
	got := replay(t, files...)
	if got.Events-3 != want.Events { // each further part says again what is desired
		t.Errorf("%d events in parts, %d in one", got.Events, want.Events)
	}
	got.Events = want.Events
	if string(got.JSON()) != string(want.JSON()) {
		t.Errorf("in parts:\n%s\nin one:\n%s", got.JSON(), want.JSON())
	}
	if r := replay(t, files[2]); len(r.Drift) > 0 || len(r.Commands) > 0 {
		t.Errorf("the third part by itself gives %s", r.JSON())
	}
	files[1], files[2] = files[2], files[1]
	if _, err := Run(t.Context(), optionsForTests(), files...); err == nil || !strings.Contains(err.Error(), "0003.jsonl.gz:1: the files are not in the order of time") {
		t.Errorf("parts in the wrong order: %v", err)
	}
}

// copyRecording writes a recording anew.
func copyRecording(t testing.TB, w *Writer, data []byte) {
	t.Helper()
	r, err := NewReader(Text("f", data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	said := map[string][]byte{}
	var last desired.Read
	var e Event
	for {
		err := r.Next(&e)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		case e.Type == TypeHold:
			err = w.Hold(e.At, e.Hold, e.Released)
		case e.Type == TypeDesired && !e.Only.IsZero():
			err = w.DesiredApp(e.At, e.Began, e.Only, e.Read.Apps, failure(&e))
		case e.Type == TypeDesired && e.Unchanged:
			err = w.Desired(e.At, e.Began, last, nil)
		case e.Type == TypeDesired && e.Failed != "":
			err = w.Desired(e.At, e.Began, e.Read, errors.New(e.Failed))
		case e.Type == TypeDesired:
			last = e.Read
			err = w.Desired(e.At, e.Began, e.Read, nil)
		case e.Type == TypeLink:
			err = w.Link(e.At, e.Up, e.Gap)
		case e.Type == TypeLeader && e.Lost:
			err = w.Leaderless(e.At)
		case e.Type == TypeLeader:
			err = w.Leader(e.At)
		case e.Repeat != "":
			err = w.Message(e.At, e.Subject, said[e.Repeat])
		default:
			data := bytes.Clone(e.Data)
			var dea string
			if n, _ := fmt.Sscanf(string(data), `{"dea":%q`, &dea); n == 1 {
				said[dea] = data
			}
			err = w.Message(e.At, e.Subject, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fuzzSeeds gives recordings of every kind of line, and what only begins as one.
func fuzzSeeds(f *testing.F) {
	f.Add([]byte(goodHeader + goodDesired + goodHeartbeat))
	for _, name := range []string{"R01-missing", "R34-exit-crashed", "W14-one-bad-entry", "outage-nats-gap", "outage-leader-change", "outage-cc-failing"} {
		data, err := os.ReadFile(filepath.Join(corpusDir, name+".jsonl"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Add([]byte(goodHeader + `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"dea.heartbeat","base64":"AAA="}`))
	f.Add(append(append([]byte(goodHeader), stateLine(f, "2026-01-15T12:00:00Z", 1)...), goodDesired+goodHeartbeat...))
	f.Add([]byte(goodHeader + goodDesired + `{"t":"2026-01-15T12:00:01Z","type":"hold","name":"paused","set":true,"until":"2026-01-15T12:01:00Z"}`))
	f.Add([]byte(goodHeader + goodDesired + `{"t":"2026-01-15T12:00:01Z","type":"desired","app":"web","apps":[]}`))
}

// FuzzReader reads whatever comes to its end: events in the order of time, or an error that says where.
func FuzzReader(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(Text("f", data))
		var where *Error
		if err != nil {
			if !errors.As(err, &where) {
				t.Fatalf("the error does not say where: %v", err)
			}
			return
		}
		defer r.Close()
		for last := r.Started(); ; {
			var e Event
			if err := r.Next(&e); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				if !errors.As(err, &where) || where.Line == 0 {
					t.Fatalf("the error does not say where: %v", err)
				}
				return
			}
			if e.At.Before(last) {
				t.Fatalf("an event at %v after one at %v", e.At, last)
			}
			last = e.At
		}
	})
}

// FuzzRun plays the first minutes of whatever comes.
func FuzzRun(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := optionsForTests()
		opts.Settle = -1
		if h, err := NewReader(Text("f", data)); err == nil {
			opts.Until = app.TimeOf(h.Started().Add(3 * time.Minute)) // each hour of the clock takes its time
			h.Close()
		}
		r, err := Run(t.Context(), opts, Text("f", data))
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("the error does not say where: %v", err)
		}
		if err == nil && r.Events < r.Heartbeats {
			t.Fatalf("%d events, %d heartbeats", r.Events, r.Heartbeats)
		}
	})
}

// TestLinesOfEveryLength reads lines that fit into what is read at once, that do not, and that do so again.
func TestLinesOfEveryLength(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var text []byte
		var want []string
		for range 12 {
			n := []int{0, 10, aheadRoom - 1, aheadRoom + 1, aheadChunk, aheadChunk + aheadRoom, 3 * aheadChunk}[rnd.IntN(7)]
			line := bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, max(n+rnd.IntN(5)-2, 0))
			want = append(want, string(line))
			text = append(append(text, line...), '\n')
		}
		r, err := newLineReader(iotest.HalfReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if got, err := r.next(); err != nil || string(got) != w {
				t.Fatalf("line %d: %d bytes, %v; want %d", i, len(got), err, len(w))
			}
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last line: %v", err)
		}
		r.close()
	}
}

// TestReadingAheadEnds closes a reader of which nobody took anything.
func TestReadingAheadEnds(t *testing.T) {
	r, err := newLineReader(bytes.NewReader(make([]byte, 20*aheadChunk)))
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	r.close()
	if _, open := <-r.ahead.done; open {
		t.Error("the goroutine is still there")
	}
}
