package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"hm/actual/feed"
	"hm/desired"
	"hm/internal/app"
)

// Source is one file of a recording.
type Source struct {
	Name string // for errors
	Open func() (io.ReadCloser, error)
	Size int64 // stored bytes, 0 if unknown; for showing progress

	// OnTruncated, if not nil, allows the file to end early. It is called with the number of the last complete line. If
	// it is nil, a file that ends early is an error (ErrTruncated).
	OnTruncated func(line int)

	peek func() (io.ReadCloser, error) // like Open, to read the header alone; nil if Open may be called many times
}

// Files returns the sources for the files at paths, which are the parts of one recording.
func Files(paths ...string) ([]Source, error) {
	var all []Source
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("opening a recording: %w", err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("opening a recording: %s is a directory: give its files in the order of time", p)
		}
		all = append(all, Source{Name: p, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(p) }})
	}
	return all, nil
}

// Text returns a source for a recording in memory.
func Text(name string, data []byte) Source {
	return Source{Name: name, Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// Reader reads the events of a recording, which may be in several files. Errors are of type *Error.
type Reader struct {
	sources []Source
	current int // index in sources
	file    io.ReadCloser
	counter *countingReader // of file
	lines   *lineReader     // of file
	header  Header          // of the first file
	last    time.Time       // time of the newest event
	minute  minuteCache

	part       int     // number of the current part, 0 if it has none
	continues  bool    // the current part begins with what the one before it ended with
	hasEvent   bool    // the current part has had an event
	hasRead    bool    // there was a complete read of the desired state
	leaderless bool    // no node leads
	inserted   []Event // to return before the events of the current part
	anyState   bool    // see AllowStates

	rows      [][]desired.App // of the lines of a read that the next line continues; nil: none
	rowCount  int             // in rows
	state     []byte          // of a state that the next line continues; nil: none
	bytesRead int64           // stored bytes of the files before the current one
}

// NewReader opens a recording and reads its header. The caller must close it.
func NewReader(sources ...Source) (*Reader, error) {
	if len(sources) == 0 {
		return nil, errors.New("no recording was given")
	}
	r := &Reader{sources: sources}
	h, err := r.open()
	if err != nil {
		r.Close()
		return nil, err
	}
	r.header, r.part, r.last = h, h.Part, h.Started
	return r, nil
}

// AllowStates allows a state anywhere, not only at the beginning, as in the recording that a running node sends.
func (r *Reader) AllowStates() { r.anyState = true }

// Header returns the header of the first file.
func (r *Reader) Header() Header { return r.header }

// Started returns when the recording was begun.
func (r *Reader) Started() time.Time { return r.header.Started }

// BytesRead returns how many stored bytes have been read, of all files together.
func (r *Reader) BytesRead() int64 {
	if r.counter == nil {
		return r.bytesRead
	}
	return r.bytesRead + r.counter.n.Load()
}

// Close closes the current file. It may be called while a read of it blocks.
func (r *Reader) Close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
	if r.lines != nil {
		r.lines.close()
		r.lines = nil
	}
}

// countingReader counts what is read. Another goroutine may read.
type countingReader struct {
	in io.Reader
	n  atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// open opens the current source and reads its header.
func (r *Reader) open() (Header, error) {
	s := r.sources[r.current]
	file, err := s.Open()
	if err != nil {
		return Header{}, &Error{File: s.Name, Err: err}
	}
	r.file, r.counter = file, &countingReader{in: file}
	if r.lines, err = newLineReader(r.counter); err != nil {
		return Header{}, r.WithPosition(err)
	}
	text, err := r.lines.next()
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is empty: a recording begins with a header")
	}
	if err != nil {
		return Header{}, r.WithPosition(err)
	}
	h, err := parseHeader(text)
	if err != nil {
		return Header{}, r.WithPosition(err)
	}
	return h, nil
}

// WithPosition returns an *Error with the file and the line of the newest event. It returns an *Error unchanged.
func (r *Reader) WithPosition(err error) error {
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	line := 1
	if r.lines != nil {
		line = max(r.lines.line, 1)
	}
	return &Error{File: r.sources[r.current].Name, Line: line, Err: err}
}

func parseHeader(text []byte) (Header, error) {
	var l line
	if err := unmarshal(text, &l); err != nil {
		return Header{}, fmt.Errorf("not a recording: %w", err)
	}
	switch {
	case l.Type != "header":
		return Header{}, fmt.Errorf("not a recording: the first line is of type %.40q, not header", l.Type)
	case l.Format == nil:
		return Header{}, errors.New("the header has no format")
	case *l.Format != Format:
		return Header{}, fmt.Errorf("the recording has format %d; this version of hm reads format %d", *l.Format, Format)
	case l.Started == nil:
		return Header{}, errors.New("the header has no started")
	}
	h := Header{
		Started: l.Started.UTC(), Part: l.Part, Note: l.Note, Node: l.Node, ID: l.ID, Restarted: l.Anew, Anonymized: l.Anon,
	}
	if err := checkTime(h.Started); err != nil {
		return Header{}, fmt.Errorf("started: %w", err)
	}
	if l.Config != nil {
		if err := unmarshal(l.Config, &h.Config); err != nil {
			return Header{}, fmt.Errorf("the header's config must be an object of strings: %w", err)
		}
	}
	return h, nil
}

var (
	firstTime = time.Unix(1, 0)
	lastTime  = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

func checkTime(t time.Time) error {
	if t.Before(firstTime) || t.After(lastTime) {
		return errors.New("the time is not between the years 1970 and 9999")
	}
	return nil
}

func unmarshal(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	var syntax *json.SyntaxError
	binary := func(c rune) bool { return c == 0xfffd || c < ' ' && c != '\t' && c != '\r' }
	if errors.As(err, &syntax) && bytes.ContainsFunc(text[:min(len(text), 512)], binary) {
		return errors.New("binary data, not JSON")
	}
	return err
}

// Next reads the next event into e; io.EOF is the end of the last file.
func (r *Reader) Next(e *Event) error {
	for {
		if len(r.inserted) > 0 {
			*e, r.inserted = r.inserted[0], r.inserted[1:]
			return nil
		}
		text, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			if err := r.nextFile(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if !r.endEarly(err) {
				return r.WithPosition(err)
			}
			continue
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if r.lines.open && !json.Valid(text) {
			if r.endEarly(ErrTruncated) {
				continue
			}
			_, err := r.parse(text, e)
			return r.WithPosition(fmt.Errorf("%w in the last line: %w", cmp.Or(err, errNoEnd), ErrTruncated))
		}
		complete := r.parseHeartbeat(text, e)
		if !complete {
			if complete, err = r.parse(text, e); err != nil {
				return r.WithPosition(err)
			}
		}
		if err := r.checkOrder(e.At); err != nil {
			return r.WithPosition(err)
		}
		if complete {
			r.hasEvent = true
			return nil
		}
	}
}

var errNoEnd = errors.New("no end of line")

// endEarly handles a file that ends early. It returns false if err is another error, or the file must not end early.
func (r *Reader) endEarly(err error) bool {
	s := r.sources[r.current]
	if s.OnTruncated == nil || !errors.Is(err, ErrTruncated) {
		return false
	}
	s.OnTruncated(r.lines.line - 1)
	r.rows, r.state = nil, nil // the rest of them is missing
	r.lines.end()
	return true
}

// unfinished names what the next line must continue; empty: nothing.
func (r *Reader) unfinished() string {
	switch {
	case r.rows != nil:
		return "read of the desired state"
	case r.state != nil:
		return "state"
	}
	return ""
}

// nextFile opens the next source, or returns io.EOF.
func (r *Reader) nextFile() error {
	if what := r.unfinished(); what != "" {
		return r.WithPosition(fmt.Errorf("the file ends in the middle of a %s: its last line has more: true", what))
	}
	r.bytesRead += r.counter.n.Load()
	if r.current+1 == len(r.sources) {
		r.counter = nil
		return io.EOF
	}
	r.Close()
	r.current++
	h, err := r.open()
	if err != nil {
		return err
	}
	if err := r.checkOrder(h.Started); err != nil {
		return r.WithPosition(fmt.Errorf("the files are not in the order of time: %w", err))
	}
	if r.part > 0 && h.Part > r.part+1 {
		return r.WithPosition(fmt.Errorf(
			"the files are not in the order of time, or one is missing: part %d of a recording follows part %d", h.Part, r.part))
	}
	r.part = h.Part
	r.hasEvent, r.continues = false, !h.Restarted
	if h.Restarted { // nothing was received between the two parts
		r.inserted = append(r.inserted, Event{At: r.last, Type: TypeLink, Up: true, Gap: true})
		if r.leaderless { // a recorder starts only while there is a leader
			r.leaderless, r.inserted = false, append(r.inserted, Event{At: r.last, Type: TypeLeader})
		}
	}
	return nil
}

// checkOrder checks the time of an event against that of the one before it.
func (r *Reader) checkOrder(t time.Time) error {
	switch {
	case t.Before(r.last):
		return fmt.Errorf("the time %s is before that of the line before, %s",
			t.Format(time.RFC3339Nano), r.last.Format(time.RFC3339Nano))
	case t.Sub(r.last) > MaxGap:
		return fmt.Errorf("the time %s is more than %d hours after that of the line before",
			t.Format(time.RFC3339Nano), MaxGap/time.Hour)
	}
	r.last = t
	return nil
}

// parse reads a line of any type. complete is false if the next line continues the event.
func (r *Reader) parse(text []byte, e *Event) (complete bool, err error) {
	rows, without, ok := takeRows(text)
	if ok {
		text = without
	}
	return r.parseLine(text, rows, e)
}

// parseLine is parse for a line without the rows that takeRows has cut out.
func (r *Reader) parseLine(text []byte, rows []desired.App, e *Event) (complete bool, err error) {
	var l line
	if err := unmarshal(text, &l); err != nil {
		return false, err
	}
	kind, known := typeNames[l.Type]
	switch {
	case l.Type == "header":
		return false, errors.New("a second header: give the parts of a recording as separate files")
	case l.Type == "":
		return false, errors.New("the line has no type")
	case !known:
		return false, fmt.Errorf("unknown type %.40q: want nats, desired, link, leader, state or hold", l.Type)
	case l.T == nil:
		return false, errors.New("the line has no t")
	}
	*e = Event{At: l.T.UTC(), Type: kind}
	if err := checkTime(e.At); err != nil {
		return false, err
	}
	if r.rows != nil && kind != TypeDesired || r.state != nil && kind != TypeState {
		return false, fmt.Errorf("the line interrupts a %s", r.unfinished())
	}
	switch kind {
	case TypeNATS:
		return true, l.message(e)
	case TypeDesired:
		return r.desired(&l, rows, e)
	case TypeLink:
		if l.Up == nil {
			return false, errors.New("a link line needs up: true or false")
		}
		e.Up, e.Gap = *l.Up, l.Gap
	case TypeLeader:
		if (l.Change == nil || !*l.Change) != l.Lost {
			return false, errors.New("a leader line needs change: true, or lost: true")
		}
		e.Leaderless, e.CarriedOver, r.leaderless = l.Lost, l.Again && r.continues, l.Lost
	case TypeState:
		return r.stateLine(&l, e)
	case TypeHold:
		return true, l.hold(e)
	}
	return true, nil
}

func (l *line) message(e *Event) error {
	ways := 0
	for _, has := range []bool{l.Data != nil, l.Base64 != nil, l.Repeat != ""} {
		if has {
			ways++
		}
	}
	switch {
	case l.Subject == "" || len(l.Subject) > 1024:
		return errors.New("a nats line needs a subject of at most 1024 bytes")
	case ways != 1:
		return errors.New("a nats line needs one of data, base64 and repeat")
	case l.Repeat != "" && l.Subject != feed.SubjectHeartbeat:
		return errors.New("only a dea.heartbeat can be repeated")
	}
	e.Subject, e.Repeat = l.Subject, l.Repeat
	if e.Data = l.Data; l.Base64 != nil {
		e.Data = l.Base64
	}
	return nil
}

func (r *Reader) desired(l *line, rows []desired.App, e *Event) (complete bool, err error) {
	ways := 0
	for _, has := range []bool{l.Apps != nil, l.Error != "", l.Unchanged} {
		if has {
			ways++
		}
	}
	if ways != 1 {
		return false, errors.New("a desired line needs one of apps, error and unchanged")
	}
	e.Failed, e.Unchanged, e.CarriedOver = l.Error, l.Unchanged, l.Again && r.continues
	e.Began = e.At
	if l.Began != nil {
		e.Began = l.Began.UTC()
		if e.Began.After(e.At) || checkTime(e.Began) != nil {
			return false, errors.New("began is after t, or before 1970")
		}
	}
	if l.App != nil {
		return true, l.oneApp(rows, e)
	}
	if l.Apps == nil {
		if r.rows != nil {
			return false, fmt.Errorf("the line interrupts a %s", r.unfinished())
		}
		if l.Unchanged && !r.hasRead {
			return false, errors.New("the read cannot be unchanged: there is no complete read before it")
		}
		return true, nil
	}
	n := len(rows) + len(*l.Apps)
	if r.rows != nil {
		n += r.rowCount
	}
	if n > maxApps {
		return false, fmt.Errorf("a read of more than %d apps", maxApps)
	}
	for _, row := range *l.Apps {
		a, err := row.app()
		if err != nil {
			return false, err
		}
		rows = append(rows, a)
	}
	if l.More {
		r.rows, r.rowCount = append(r.rows, rows), n
		return false, nil
	}
	if r.rows != nil {
		rows = slices.Concat(append(r.rows, rows)...)
	}
	source := l.Source
	if source == "" {
		source = "recording"
	}
	if e.Read, err = desired.NewRead(source, rows); err != nil {
		return false, err
	}
	if slices.ContainsFunc(l.Unreadable, app.GUID.IsZero) {
		return false, errors.New("unreadable has an empty guid")
	}
	if len(l.Unreadable) > 0 {
		if e.Read, err = e.Read.WithUnreadable(l.Unreadable); err != nil {
			return false, err
		}
	}
	r.rows, r.hasRead = nil, true
	return true, nil
}
