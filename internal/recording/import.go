package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// The formats that Import reads.
const (
	FormatNATSSub = "nats-sub" // the output of `nats sub '>' --timestamp`, without years, or of the older nats-sub -t
	FormatHM9000  = "hm9000"   // one message a line: time, subject and payload; or a JSON object of the three
)

// Formats returns the formats that Import reads.
func Formats() []string { return []string{FormatNATSSub, FormatHM9000} }

// ImportOptions say how to import a file.
type ImportOptions struct {
	Format  string
	Desired *desired.Read // a read of it is recorded at the start and every Poll; nil: the recording has no read
	Poll    time.Duration
	Year    int // of the first message, for times without a year; 0: unknown
}

// ErrNoYear says that a time has no year, and ImportOptions neither.
var ErrNoYear = errors.New("the time has no year, and none was given")

// ImportSource returns a source that converts a file of another format to a recording while it is read.
func ImportSource(src Source, o ImportOptions) Source {
	converted := Source{Name: src.Name, Open: func() (io.ReadCloser, error) { return src.convert(src.Open, o) }}
	if src.ReadOnce() {
		converted.peek = func() (io.ReadCloser, error) { return src.convert(src.peek, o) }
	}
	return converted
}

func (s Source) convert(open func() (io.ReadCloser, error), o ImportOptions) (io.ReadCloser, error) {
	in, err := open()
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer in.Close()
		err := Import(in, WriteTo(w, WriterOptions{}), o)
		var at *Error
		if errors.As(err, &at) {
			at.File = s.Name
		}
		w.CloseWithError(err)
	}()
	return &conversion{r, in, done}, nil
}

// conversion reads a recording that another goroutine makes of in.
type conversion struct {
	*io.PipeReader
	in   io.Closer // a read of it may block
	done chan struct{}
}

func (c *conversion) Close() error {
	err := errors.Join(c.PipeReader.Close(), c.in.Close())
	<-c.done
	return err
}

// Import writes the messages of a file as a recording. An error of the file is an *Error.
func Import(in io.Reader, w *Writer, o ImportOptions) error {
	im := &importer{w: w, o: o}
	take := map[string]func([]byte) error{FormatNATSSub: im.natsSub, FormatHM9000: im.capture}[o.Format]
	if take == nil {
		return fmt.Errorf("unknown format %.40q: want %s", o.Format, strings.Join(Formats(), ", "))
	}
	line := 0
	err := Lines(in, func(number int, text []byte) error {
		line = number
		return take(text)
	})
	if err == nil {
		if err = im.end(); err != nil {
			err = &Error{Line: line, Err: err}
		}
	}
	if err == nil && im.last.IsZero() {
		err = fmt.Errorf("the file has no message of format %s", o.Format)
		if o.Format == FormatNATSSub {
			err = fmt.Errorf("%w: want the output of nats sub --timestamp, without --raw", err)
		}
		err = &Error{Line: max(line, 1), Err: err}
	}
	if err != nil {
		var at *Error
		if errors.As(err, &at) {
			at.File = "the import"
		}
		return err
	}
	return w.Close()
}

type importer struct {
	w    *Writer
	o    ImportOptions
	last time.Time // of the newest message
	read time.Time // when the next read is due

	subject string // of the message whose lines are read; empty: none
	at      time.Time
	body    []byte
}

// message writes a complete message.
func (im *importer) message(at time.Time, subject string, data []byte) error {
	if err := checkTime(at); err != nil {
		return err
	}
	if at.Before(im.last) {
		return fmt.Errorf("the time %s is before that of the message before, %s",
			at.Format(time.RFC3339Nano), im.last.Format(time.RFC3339Nano))
	}
	if im.o.Desired != nil {
		if im.last.IsZero() {
			im.read = at
		}
		for ; !im.read.After(at); im.read = im.read.Add(max(im.o.Poll, time.Second)) {
			if at.Sub(im.read) > MaxGap {
				im.read = at
			}
			if err := im.w.Desired(im.read, im.read, *im.o.Desired, nil); err != nil {
				return err
			}
		}
	}
	im.last = at
	return im.w.Message(at, subject, data)
}

// natsSubHead is the line before a message: [#1] Received on "subject", with a time before or after the number.
var natsSubHead = func() *regexp.Regexp {
	const stamp = `(\d\S+(?: \d\d:\d\d:\d\d\S*)?|[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d\S*)`
	const subject = `(?:on ["\[]([^"\]]+)["\]]|JetStream message.*? subject: (\S+))`
	return regexp.MustCompile(`^(?:` + stamp + ` )?\[#\d+\](?: @ ?` + stamp + `)? Received ` + subject + `(.*)$`)
}()

func (im *importer) natsSub(text []byte) error {
	m := natsSubHead.FindSubmatch(text)
	if m == nil {
		if im.subject != "" {
			im.body = append(append(im.body, text...), '\n')
		}
		return nil // a line of the log of nats sub
	}
	if err := im.end(); err != nil {
		return err
	}
	stamp := string(m[1])
	if stamp == "" {
		stamp = string(m[2])
	}
	if stamp == "" {
		return errors.New("the message has no time: run nats sub with --timestamp")
	}
	at, err := im.parseTime(stamp)
	if err != nil {
		return err
	}
	im.subject, im.at, im.body = string(m[3])+string(m[4]), at, nil
	if rest := bytes.TrimSpace(m[5]); bytes.HasPrefix(rest, []byte(": '")) && bytes.HasSuffix(rest, []byte("'")) {
		im.body = append(im.body, rest[len(": '"):len(rest)-1]...) // the older program prints it in one line
	}
	return nil
}

// natsSubTime is how nats sub prints a time, without the year.
const natsSubTime = "Jan _2 15:04:05.999999"

// parseTime reads a time that may have no year.
func (im *importer) parseTime(s string) (time.Time, error) {
	leapDay := strings.HasPrefix(s, "Feb 29 ") // without a year it cannot be parsed
	if _, err := time.Parse(natsSubTime, s); err != nil && !leapDay {
		return parseTime(s)
	}
	if im.o.Year == 0 {
		return time.Time{}, fmt.Errorf("%w: %s", ErrNoYear, s)
	}
	year := max(im.o.Year, im.last.Year())
	at, err := time.Parse("2006 "+natsSubTime, fmt.Sprintf("%04d %s", year, s))
	if err == nil && im.last.Sub(at) > 180*24*time.Hour {
		at, err = time.Parse("2006 "+natsSubTime, fmt.Sprintf("%04d %s", year+1, s)) // it is January now
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid time %.40q in the year %d", s, year)
	}
	return at, nil
}

// end writes the message whose lines were read.
func (im *importer) end() error {
	if im.subject == "" {
		return nil
	}
	subject := im.subject
	im.subject = ""
	return im.message(im.at, subject, bytes.TrimSpace(im.body))
}

// capture reads a line with a time, a subject and a payload.
func (im *importer) capture(text []byte) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] == '#' {
		return nil
	}
	if text[0] == '{' {
		var l struct {
			T, Time, Timestamp     json.RawMessage
			Subject                string
			Data, Payload, Message json.RawMessage
		}
		if err := unmarshal(text, &l); err != nil {
			return err
		}
		stamp, data := firstOf(l.T, l.Time, l.Timestamp), firstOf(l.Data, l.Payload, l.Message)
		if stamp == nil || l.Subject == "" || data == nil {
			return errors.New("the object needs a time, a subject and data")
		}
		var quoted string
		if json.Unmarshal(data, &quoted) == nil {
			data = []byte(quoted) // the payload as text
		}
		at, err := parseTime(strings.Trim(string(stamp), `"`))
		if err != nil {
			return err
		}
		return im.message(at, l.Subject, data)
	}
	stamp, rest := field(text)
	if dateOnly.MatchString(stamp) {
		var clock string
		clock, rest = field(rest)
		stamp += " " + clock
	}
	subject, data := field(rest)
	if len(data) == 0 {
		return errors.New("want a time, a subject and a payload, separated by spaces or tabs")
	}
	at, err := parseTime(stamp)
	if err != nil {
		return err
	}
	return im.message(at, subject, data)
}

// dateOnly is the first half of a time that package log prints.
var dateOnly = regexp.MustCompile(`^\d{4}[/-]\d\d[/-]\d\d$`)

// field returns the text before the first space or tab, and the rest.
func field(text []byte) (first string, rest []byte) {
	n := bytes.IndexAny(text, " \t")
	if n < 0 {
		return string(text), nil
	}
	return string(text[:n]), bytes.TrimLeft(text[n:], " \t")
}

func firstOf(all ...json.RawMessage) json.RawMessage {
	for _, v := range all {
		if v != nil {
			return v
		}
	}
	return nil
}

// parseTime reads RFC 3339, a time that package log prints (as UTC), or seconds since the epoch.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006/01/02 15:04:05.999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	whole, frac, _ := strings.Cut(s, ".")
	if sec, err := strconv.ParseInt(whole, 10, 64); err == nil && sec > 0 && sec < 1<<40 {
		if nanos, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64); err == nil && len(frac) <= 9 {
			return time.Unix(sec, nanos).UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf(
		"invalid time %.40q: want RFC 3339, 2026/01/15 12:00:00.000000, or seconds since the epoch", s)
}

// ReadDesired reads a desired state from a JSON file: an array of apps as in a recording, or a response of the Cloud
// Controller's bulk API.
func ReadDesired(path string) (desired.Read, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return desired.Read{}, fmt.Errorf("reading the desired state: %w", err)
	}
	var rows []appRow
	if t := bytes.TrimSpace(data); len(t) > 0 && t[0] == '{' {
		var page struct {
			Results map[app.GUID]appRow `json:"results"`
		}
		err = json.Unmarshal(data, &page)
		for id, row := range page.Results {
			if row.ID.IsZero() {
				row.ID = id
			}
			rows = append(rows, row)
		}
		if err == nil && page.Results == nil {
			err = errors.New("the object has no results")
		}
	} else {
		err = json.Unmarshal(data, &rows)
	}
	if err != nil {
		return desired.Read{}, fmt.Errorf("reading the desired state from %s: %w", path, err)
	}
	var apps []desired.App
	for _, row := range rows {
		a, err := row.app()
		if err != nil {
			return desired.Read{}, fmt.Errorf("reading the desired state from %s: %w", path, err)
		}
		apps = append(apps, a)
	}
	return desired.NewRead(path, apps)
}
