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

	"hm/desired"
	"hm/internal/app"
)

// Source is one file of a recording.
type Source struct {
	Name string // for errors
	Open func() (io.ReadCloser, error)
	Size int64 // bytes as stored, 0 if unknown; for the progress

	// Cut, if not nil, takes a file that ends early for what it has. It is told behind which line that was.
	OnTruncated func(line int)

	look func() (io.ReadCloser, error) // like Open, for who looks at the header; nil if that may be opened many times
}

// Files gives the sources that play the files at paths one after the other.
func Files(paths ...string) ([]Source, error) {
	var all []Source
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("opening a recording: %w", err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("opening a recording: %s is a directory; name its files in the order of time", p)
		}
		all = append(all, Source{Name: p, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(p) }})
	}
	return all, nil
}

// Text gives a source that is in memory.
func Text(name string, data []byte) Source {
	return Source{Name: name, Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// Reader reads the events of a recording, which may be in several files. Errors are of type *Error.
type Reader struct {
	sources []Source
	at      int // in sources
	file    io.ReadCloser
	counted *countingReader
	lines   *lineReader
	header  Header    // of the first file
	number  int       // of the present part, if it has one
	last    time.Time // of the newest event
	begun   bool      // an event of the present file was given
	again   bool      // the present file begins with what the one before ended with
	read    bool      // a complete read was given
	lost    bool      // no node leads
	anew    []Event   // to be given before those of the present file, which goes on after a time of which nothing is known
	live    bool      // from a running node: the state may come again
	part    []desired.App
	state   []byte // of a state that goes on in the next line
	done    int64  // stored bytes of the files that are behind
	year    yearCache
}

// NewReader opens a recording and reads its header. The caller must close it.
func NewReader(sources ...Source) (*Reader, error) {
	if len(sources) == 0 {
		return nil, errors.New("no recording is named")
	}
	r := &Reader{sources: sources}
	h, err := r.open()
	if err != nil {
		r.Close()
		return nil, err
	}
	r.header, r.number, r.last = h, h.Part, h.Started
	return r, nil
}

// AllowStates lets lines of the recorded state come anywhere, as in the recording that a running node sends.
func (r *Reader) AllowStates() { r.live = true }

// Header is the header of the first file.
func (r *Reader) Header() Header { return r.header }

// Started is when the recording was begun.
func (r *Reader) Started() time.Time { return r.header.Started }

// Line is the number of the newest line in its file.
func (r *Reader) Line() int { return r.lines.line }

// BytesRead is how many stored bytes have been read, of all files together.
func (r *Reader) BytesRead() int64 {
	if r.counted == nil {
		return r.done
	}
	return r.done + r.counted.n.Load()
}

// Close closes the file that is open, whose reader may be waiting for more of it.
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

// countingReader counts what is read, which a decompressor may do in a goroutine of its own.
type countingReader struct {
	in io.Reader
	n  atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// open opens the present source and reads its header.
func (r *Reader) open() (Header, error) {
	s := r.sources[r.at]
	file, err := s.Open()
	if err != nil {
		return Header{}, &Error{File: s.Name, Err: err}
	}
	r.file, r.counted = file, &countingReader{in: file}
	if r.lines, err = newLineReader(r.counted); err != nil {
		return Header{}, r.WithPosition(err)
	}
	text, err := r.lines.next()
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is empty; a recording begins with a header")
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

// WithPosition adds to an error the file and the line of the newest event. An *Error stays as it is.
func (r *Reader) WithPosition(err error) error {
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	line := 1
	if r.lines != nil {
		line = max(r.lines.line, 1)
	}
	return &Error{File: r.sources[r.at].Name, Line: line, Err: err}
}

func parseHeader(text []byte) (Header, error) {
	var l line
	if err := unmarshal(text, &l); err != nil {
		return Header{}, fmt.Errorf("this is no recording: %w", err)
	}
	switch {
	case l.Type != "header":
		return Header{}, fmt.Errorf("this is no recording: its first line is of type %.40q, not header", l.Type)
	case l.Format == nil:
		return Header{}, errors.New("the header has no format")
	case *l.Format != Format:
		return Header{}, fmt.Errorf("the recording's format is %d; this version of hm reads format %d", *l.Format, Format)
	case l.Started == nil:
		return Header{}, errors.New("the header has no started")
	}
	h := Header{Started: l.Started.UTC(), Part: l.Part, Note: l.Note, Node: l.Node, ID: l.ID, Restarted: l.Anew, Anonymized: l.Anon}
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
	if errors.As(err, &syntax) && bytes.IndexFunc(text[:min(len(text), 512)], func(c rune) bool { return c == 0xfffd || c < ' ' && c != '\t' && c != '\r' }) >= 0 {
		return errors.New("binary data, not JSON")
	}
	return err
}

// Next reads the next event into e; io.EOF is the end of the last file.
func (r *Reader) Next(e *Event) error {
	for {
		if len(r.anew) > 0 {
			*e, r.anew = r.anew[0], r.anew[1:]
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
			if err = r.cut(err); err == nil {
				continue
			}
			return r.WithPosition(err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if r.lines.open && !json.Valid(text) {
			if r.cut(ErrTruncated) == nil {
				continue
			}
			_, err := r.parse(text, e)
			return r.WithPosition(fmt.Errorf("%w, and no line follows: %w", cmp.Or(err, errUnended), ErrTruncated))
		}
		complete := r.quick(text, e)
		if !complete {
			if complete, err = r.parse(text, e); err != nil {
				return r.WithPosition(err)
			}
		}
		if err := r.order(e.At); err != nil {
			return r.WithPosition(err)
		}
		if complete {
			r.begun = true
			return nil
		}
	}
}

var errUnended = errors.New("the line has no end")

// cut takes the file to end where it ends early, if that is allowed. Else it gives the error back.
func (r *Reader) cut(err error) error {
	s := r.sources[r.at]
	if s.OnTruncated == nil || !errors.Is(err, ErrTruncated) {
		return err
	}
	s.OnTruncated(r.lines.line - 1)
	r.part, r.state = nil, nil // what was to go on is not there
	r.lines.end()
	return nil
}

// within tells what goes on in the next line, if anything.
func (r *Reader) within() string {
	switch {
	case r.part != nil:
		return "read of the desired state"
	case r.state != nil:
		return "state"
	}
	return ""
}

// nextFile goes on with the next source, or says io.EOF.
func (r *Reader) nextFile() error {
	if within := r.within(); within != "" {
		return r.WithPosition(fmt.Errorf("the file ends within a %s: more is true on its last line", within))
	}
	r.done += r.counted.n.Load()
	if r.at+1 == len(r.sources) {
		r.counted = nil
		return io.EOF
	}
	r.Close()
	r.at++
	h, err := r.open()
	if err != nil {
		return err
	}
	if err := r.order(h.Started); err != nil {
		return r.WithPosition(fmt.Errorf("the files are not in the order of time: %w", err))
	}
	if r.number > 0 && h.Part > r.number+1 {
		return r.WithPosition(fmt.Errorf("the files are not in the order of time, or one is missing: part %d of a recording follows part %d", h.Part, r.number))
	}
	r.number = h.Part
	r.begun, r.again = false, !h.Restarted
	if h.Restarted {
		r.anew = append(r.anew, Event{At: r.last, Type: TypeLink, Up: true, Gap: true})
		if r.lost { // a recording is begun only where somebody leads
			r.lost, r.anew = false, append(r.anew, Event{At: r.last, Type: TypeLeader})
		}
	}
	return nil
}

// order holds the times against each other.
func (r *Reader) order(t time.Time) error {
	switch {
	case t.Before(r.last):
		return fmt.Errorf("its time %s is before that of the line before, %s", t.Format(time.RFC3339Nano), r.last.Format(time.RFC3339Nano))
	case t.Sub(r.last) > MaxGap:
		return fmt.Errorf("its time %s is more than %d hours after that of the line before", t.Format(time.RFC3339Nano), MaxGap/time.Hour)
	}
	r.last = t
	return nil
}

// parse reads a line of any kind. complete is false for a part of a read that more parts follow.
func (r *Reader) parse(text []byte, e *Event) (complete bool, err error) {
	rows, without, ok := takeRows(text)
	if ok {
		text = without
	}
	return r.parseLine(text, rows, e)
}

// parseLine is parse for a line from which rows were taken, if any.
func (r *Reader) parseLine(text []byte, rows []desired.App, e *Event) (complete bool, err error) {
	var l line
	if err := unmarshal(text, &l); err != nil {
		return false, err
	}
	kind, known := typeWords[l.Type]
	switch {
	case l.Type == "header":
		return false, errors.New("a second header; give the parts of a recording as files of their own")
	case l.Type == "":
		return false, errors.New("it has no type")
	case !known:
		return false, fmt.Errorf("type %.40q is none of nats, desired, link, leader, state, hold", l.Type)
	case l.T == nil:
		return false, errors.New("it has no t")
	}
	*e = Event{At: l.T.UTC(), Type: kind}
	if err := checkTime(e.At); err != nil {
		return false, err
	}
	if r.part != nil && kind != TypeDesired || r.state != nil && kind != TypeState {
		return false, fmt.Errorf("it comes between the lines of one %s", r.within())
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
		e.Leaderless, e.CarriedOver, r.lost = l.Lost, l.Again && r.again, l.Lost
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
	case l.Repeat != "" && l.Subject != "dea.heartbeat":
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
	e.Failed, e.Unchanged, e.CarriedOver = l.Error, l.Unchanged, l.Again && r.again
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
		if r.part != nil {
			return false, errors.New("it comes between the lines of one read of the desired state")
		}
		if l.Unchanged && !r.read {
			return false, errors.New("a read cannot be unchanged: no complete one came before it")
		}
		return true, nil
	}
	if len(r.part)+len(rows)+len(*l.Apps) > maxApps {
		return false, fmt.Errorf("a read of more than %d apps", maxApps)
	}
	if r.part == nil {
		r.part = rows
	} else {
		r.part = append(withRoom(r.part, len(rows)), rows...)
	}
	for _, row := range *l.Apps {
		a, err := row.app()
		if err != nil {
			return false, err
		}
		r.part = append(r.part, a)
	}
	if l.More {
		if r.part == nil {
			r.part = []desired.App{}
		}
		return false, nil
	}
	source := l.Source
	if source == "" {
		source = "recording"
	}
	if e.Read, err = desired.NewRead(source, r.part); err != nil {
		return false, err
	}
	if slices.ContainsFunc(l.Unreadable, app.GUID.IsZero) {
		return false, errors.New("unreadable holds an empty guid")
	}
	if len(l.Unreadable) > 0 {
		if e.Read, err = e.Read.WithUnreadable(l.Unreadable); err != nil {
			return false, err
		}
	}
	r.part, r.read = nil, true
	return true, nil
}
