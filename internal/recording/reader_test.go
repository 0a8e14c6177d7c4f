package recording_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// read reads a recording to its end and counts its events.
func read(sources ...recording.Source) (events int, err error) {
	r, err := recording.NewReader(sources...)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		var e recording.Event
		if err := r.Next(&e); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return events, err
		}
		events++
	}
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
	good := recordingtest.HeaderLine + recordingtest.DesiredLine + strings.Repeat(recordingtest.HeartbeatLine, 50)
	at := func(second int) string {
		return time.Date(2026, 1, 15, 12, 0, second, 0, time.UTC).Format(time.RFC3339)
	}
	event := func(s string) string { return recordingtest.HeaderLine + recordingtest.DesiredLine + s + "\n" }
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "f:1: the file is empty"},
		{"no header", recordingtest.DesiredLine, "f:1: not a recording: the first line is of type \"desired\""},
		{"junk", "\x00\x01\x02\xff\xfe junk\n", "f:1: not a recording: binary data, not JSON"},
		{"junk in the middle", event("\x00\x7f\xff\xfe"), "f:3: binary data, not JSON"},
		{"text", "hello\nworld\n", "f:1: not a recording: invalid character"},
		{"another format", `{"type":"header","format":2,"started":"2026-01-15T12:00:00Z"}`, "f:1: the recording has format 2; this version of hm reads format 1"},
		{"no format", `{"type":"header","started":"2026-01-15T12:00:00Z"}`, "f:1: the header has no format"},
		{"no start", `{"type":"header","format":1}`, "f:1: the header has no started"},
		{"a start before 1970", `{"type":"header","format":1,"started":"0900-01-15T12:00:00Z"}`, "f:1: started: the time is not between"},
		{"config that is none", `{"type":"header","format":1,"started":"2026-01-15T12:00:00Z","config":{"policy.grace":3}}`, "f:1: the header's config must be an object of strings"},
		{"two headers", recordingtest.HeaderLine + recordingtest.HeaderLine, "f:2: a second header"},
		{"no type", event(`{"t":"` + at(1) + `"}`), "f:3: the line has no type"},
		{"unknown type", event(`{"t":"` + at(1) + `","type":"weather"}`), `f:3: unknown type "weather": want nats, desired, link, leader`},
		{"no time", event(`{"type":"link","up":true}`), "f:3: the line has no t"},
		{"bad time", event(`{"t":"yesterday","type":"link","up":true}`), "f:3: "},
		{"back in time", event(recordingtest.HeartbeatLine + `{"t":"` + at(0) + `","type":"link","up":true}`), "f:4: the time 2026-01-15T12:00:00Z is before that of the line before, 2026-01-15T12:00:01Z"},
		{"a heartbeat back in time", event(`{"t":"` + at(5) + `","type":"link","up":true}` + "\n" + recordingtest.HeartbeatLine), "f:4: the time 2026-01-15T12:00:01Z is before"},
		{"a leap of years", event(`{"t":"2036-01-15T12:00:00Z","type":"link","up":true}`), "f:3: the time 2036-01-15T12:00:00Z is more than 24 hours after"},
		{"no object", event(`[]`), "f:3: json: cannot unmarshal array"},
		{"truncated line", recordingtest.HeaderLine + recordingtest.DesiredLine + recordingtest.HeartbeatLine[:60], "f:3: unexpected end of JSON input in the last line: the file is truncated"},
		{"truncated heartbeat", recordingtest.HeaderLine + recordingtest.DesiredLine + recordingtest.HeartbeatLine[:90], "f:3: unexpected end of JSON input in the last line: the file is truncated"},
		{"no subject", event(`{"t":"` + at(1) + `","type":"nats","data":{}}`), "f:3: a nats line needs a subject"},
		{"no data", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat"}`), "f:3: a nats line needs one of data, base64 and repeat"},
		{"data twice", event(`{"t":"` + at(1) + `","type":"nats","subject":"x","data":1,"base64":"AA=="}`), "f:3: a nats line needs one of"},
		{"repeat cut short", event(`{"t":"` + at(1) + `Z","type":"nats","subject":"dea.heartbeat","repeat":"}`), "f:3: "},
		{"repeat cut short in its quotes", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","repeat":"}`), "f:3: unexpected end of JSON input"},
		{"repeat of an exit", event(`{"t":"` + at(1) + `","type":"nats","subject":"droplet.exited","repeat":"dea-z"}`), "f:3: only a dea.heartbeat can be repeated"},
		{"link without up", event(`{"t":"` + at(1) + `","type":"link"}`), "f:3: a link line needs up"},
		{"leader without change", event(`{"t":"` + at(1) + `","type":"leader","change":false}`), "f:3: a leader line needs change"},
		{"leader lost and found", event(`{"t":"` + at(1) + `","type":"leader","change":true,"lost":true}`), "f:3: a leader line needs change: true, or lost: true"},
		{"desired without apps", event(`{"t":"` + at(1) + `","type":"desired"}`), "f:3: a desired line needs one of apps, error and unchanged"},
		{"unchanged at first", recordingtest.HeaderLine + `{"t":"` + at(1) + `","type":"desired","unchanged":true}`, "f:2: the read cannot be unchanged"},
		{"an app without instances", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","state":"STARTED","package_state":"STAGED"}]}`), "f:3: app a: instances must be a number"},
		{"an app without a version", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: an app has no id or no version"},
		{"an app of no state", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","instances":1,"state":"ON","package_state":"STAGED"}]}`), "f:3: app a: state \"ON\" is neither"},
		{"an app twice", event(`{"t":"` + at(1) + `","type":"desired","apps":[{"id":"a","version":"b","instances":1,"state":"STARTED","package_state":"STAGED"},{"id":"a","version":"c","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: app a was returned twice"},
		{"a read that does not end", event(`{"t":"` + at(1) + `","type":"desired","more":true,"apps":[]}`), "f:3: the file ends in the middle of a read"},
		{"a read that is interrupted", event(`{"t":"` + at(1) + `","type":"desired","more":true,"apps":[]}` + "\n" + `{"t":"` + at(1) + `","type":"link","up":true}`), "f:4: the line interrupts a read"},
		{"began in the future", event(`{"t":"` + at(1) + `","type":"desired","unchanged":true,"began":"` + at(9) + `"}`), "f:3: began is after t"},
		{"a state late", event(`{"t":"` + at(1) + `","type":"state","snapshot":"AAAA"}`), "f:3: a state must come before all other events"},
		{"a state of nothing", recordingtest.HeaderLine + `{"t":"` + at(1) + `","type":"state"}`, "f:2: a state line needs a snapshot"},
		{"a state that is interrupted", recordingtest.HeaderLine + `{"t":"` + at(0) + `","type":"state","snapshot":"AAAA","more":true}` + "\n" + recordingtest.HeartbeatLine, "f:3: the line interrupts a state"},
		{"a state that does not end", recordingtest.HeaderLine + `{"t":"` + at(0) + `","type":"state","snapshot":"AAAA","more":true}`, "f:2: the file ends in the middle of a state"},
		{"a hold without a name", event(`{"t":"` + at(1) + `","type":"hold","set":true}`), "f:3: invalid: \"\" cannot be a hold's name"},
		{"a hold neither set nor released", event(`{"t":"` + at(1) + `","type":"hold","name":"x"}`), "f:3: a hold line needs set: true or false"},
		{"a hold until before 1970", event(`{"t":"` + at(1) + `","type":"hold","name":"x","set":true,"until":"0900-01-15T12:00:00Z"}`), "f:3: until: the time is not between"},
		{"a read of one app with a row of another", event(`{"t":"` + at(1) + `","type":"desired","app":"a","apps":[{"id":"b","version":"b","instances":1,"state":"STARTED","package_state":"STAGED"}]}`), "f:3: a read of app a has a row of b"},
		{"a read of one app that goes on", event(`{"t":"` + at(1) + `","type":"desired","app":"a","apps":[],"more":true}`), "f:3: a read of one app has app, and of the other members only"},
		{"gzip, truncated", zipped(good)[:60], "truncated"},
		{"zstd, truncated", zstandard(good)[:60], "truncated"},
		{"gzip, damaged", zipped(good)[:30] + "XXXX" + zipped(good)[34:], "f:"},
		{"gzip of junk", "\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff", "f:1: the file begins as gzip does, but"},
		{"zstd of junk", "\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff", "f:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(recording.Text("f", []byte(c.data)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, want %q in it", err, c.want)
			}
			var e *recording.Error
			if !errors.As(err, &e) || e.File != "f" {
				t.Errorf("the error %v does not name the file", err)
			}
		})
	}
}

// A file may be cut off anywhere, compressed or not. If that is allowed, its complete lines are read, and OnTruncated
// gets the number of the last one. Otherwise it is an ErrTruncated.
func TestTruncatedFiles(t *testing.T) {
	text := []byte(recordingtest.HeaderLine + recordingtest.DesiredLine + strings.Repeat(recordingtest.HeartbeatLine, 3) +
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
			src := recording.Text("f", stored.Bytes()[:n])
			whole := 0 // lines that are there in full
			for whole < len(ends) && ends[whole] <= n {
				whole++
			}
			atLine := slices.Contains(ends, n) || !packed && slices.Contains(ends, n+1) // the file may end so
			if _, err := read(src); !errors.Is(err, recording.ErrTruncated) && (packed || !atLine) {
				t.Errorf("packed %v, %d bytes: the error is %v", packed, n, err)
			}
			if atLine && !packed {
				continue
			}
			last := 0
			src.OnTruncated = func(line int) { last = line }
			events, err := read(src)
			if err != nil || last < whole || last > whole+1 || !packed && last != whole { // a decompressor returns a line before its own end mark
				t.Errorf("packed %v, %d bytes: it ends after line %d of %d, %v", packed, n, last, whole, err)
			}
			if want := []int{0, 0, 1, 2, 3, 4, 4, 5}[last]; events != want { // the last read is in two lines
				t.Errorf("packed %v, %d bytes: %d events, want %d", packed, n, events, want)
			}
		}
	}
}

func second(_ int, err error) error { return err }

// A missing part would look like silence of all DEAs.
func TestMissingPart(t *testing.T) {
	part := func(n, second int) recording.Source {
		at := fmt.Sprintf("2026-01-15T12:00:%02dZ", second)
		return recording.Text(fmt.Sprintf("part%d", n), fmt.Appendf(nil, `{"type":"header","format":1,"started":%q,"part":%d}`+"\n"+`{"t":%q,"type":"link","up":true}`, at, n, at))
	}
	for name, c := range map[string]struct {
		parts []recording.Source
		want  string
	}{
		"in order":          {[]recording.Source{part(3, 1), part(4, 2), part(5, 3)}, ""},
		"another recording": {[]recording.Source{part(3, 1), part(1, 2), part(2, 3)}, ""},
		"a file of its own": {[]recording.Source{part(3, 1), recording.Text("f", []byte(strings.Replace(recordingtest.HeaderLine, ":00Z", ":09Z", 1))), part(9, 12)}, ""},
		"one is missing":    {[]recording.Source{part(1, 1), part(2, 2), part(4, 3)}, "part4:1: the files are not in the order of time, or one is missing: part 4 of a recording follows part 2"},
		"wrong order":       {[]recording.Source{part(2, 2), part(1, 1)}, "part1:1: the files are not in the order of time"},
	} {
		_, err := read(c.parts...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: the error is %v, want %q", name, err, c.want)
		}
	}
}

// After a truncated part the next one is read.
func TestTruncatedPart(t *testing.T) {
	first := recording.Text("f", []byte(recordingtest.HeaderLine+recordingtest.DesiredLine+recordingtest.HeartbeatLine[:70]))
	first.OnTruncated = func(int) {}
	next := recording.Text("g", []byte(`{"type":"header","format":1,"started":"2026-01-15T12:00:09Z"}`+"\n"+`{"t":"2026-01-15T12:00:09Z","type":"link","up":true}`))
	if events, err := read(first, next); err != nil || events != 2 {
		t.Errorf("%d events, %v", events, err)
	}
}

// sameByte returns the same byte again and again.
type sameByte struct{ left int }

func (e *sameByte) Read(p []byte) (int, error) {
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

func TestLineOf100MiBIsRefusedBeforeItsEnd(t *testing.T) {
	for _, packed := range []bool{false, true} {
		long := &sameByte{left: 100 << 20}
		src := recording.Source{Name: "f", Open: func() (io.ReadCloser, error) {
			plain := io.MultiReader(strings.NewReader(recordingtest.HeaderLine+recordingtest.DesiredLine), long, strings.NewReader("\n"))
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
		_, err := read(src)
		if err == nil || !strings.Contains(err.Error(), "f:3: the line is longer than 16 MiB") {
			t.Errorf("packed %v: the error is %v", packed, err)
		}
		if !packed && long.left < 60<<20 {
			t.Errorf("%d MiB of the line were read", 100-long.left>>20)
		}
	}
}

func TestLineOf16MiBIsRead(t *testing.T) {
	line := `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"x","data":"`
	line += strings.Repeat("y", recording.MaxLine-len(line)-2) + `"}`
	if len(line) != recording.MaxLine {
		t.Fatal(len(line))
	}
	if events, err := read(recording.Text("f", []byte(recordingtest.HeaderLine+line+"\n"+recordingtest.HeartbeatLine))); err != nil || events != 2 {
		t.Errorf("%d events, %v", events, err)
	}
	if _, err := read(recording.Text("f", []byte(recordingtest.HeaderLine+" "+line+"\n"+recordingtest.HeartbeatLine))); err == nil || !strings.Contains(err.Error(), "f:2: the line is longer") {
		t.Errorf("a line longer by one byte: %v", err)
	}
}

func TestCompressionIsRecognizedByContent(t *testing.T) {
	plain := recordingtest.Load(t, "R05-crashed")
	want := recordingtest.Events(t, recording.Text("f", plain))
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(plain)
	z.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(plain, nil), "windows": bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n")), "no end of line at the end": bytes.TrimSpace(plain)} {
		if got := recordingtest.Events(t, recording.Text("f", data)); !slices.Equal(got, want) {
			t.Errorf("%s: the events are\n%v\nwant\n%v", name, got, want)
		}
	}
}

// FuzzReader checks that any input gives events in the order of time, or an error with a position.
func FuzzReader(f *testing.F) {
	recordingtest.AddSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := recording.NewReader(recording.Text("f", data))
		var where *recording.Error
		if err != nil {
			if !errors.As(err, &where) {
				t.Fatalf("the error has no position: %v", err)
			}
			return
		}
		defer r.Close()
		for last := r.Started(); ; {
			var e recording.Event
			if err := r.Next(&e); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				if !errors.As(err, &where) || where.Line == 0 {
					t.Fatalf("the error has no position: %v", err)
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
