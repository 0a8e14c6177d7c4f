package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/desired"
)

// rowsPerLine keeps the lines of a read of the desired state well below MaxLine.
const rowsPerLine = 50_000

// WriterOptions say how a recording is written.
type WriterOptions struct {
	Header    Header        // Started and Part are set by the Writer
	MaxBytes  int64         // stored bytes after which another file is begun; 0: no limit
	MaxAge    time.Duration // by the events' times, after which another file is begun; 0: no limit
	Keep      int           // files of a recording in several: when there are more, the oldest is removed; 0: none is
	Anonymize bool          // replace guids and DEA ids, keeping equality; leave out all that hm does not need
}

// Writer writes a recording. With MaxBytes or MaxAge it is in several files: FILE.jsonl.zst becomes
// FILE.0001.jsonl.zst and so on, behind those that are there, each of which can be replayed by itself. It must be used by
// one goroutine at a time.
type Writer struct {
	opts   WriterOptions
	create func(part int) (io.WriteCloser, string, error)
	parts  *parts // nil: the recording is in one piece
	name   string // of the present file
	file   io.WriteCloser
	stored *countingWriter
	out    io.WriteCloser // compresses, or is stored
	flush  func() error
	part   int
	head   int64       // stored bytes of what the present file begins with
	hold   func() bool // asked whether a file that is full has to wait for Rotate; nil: it need not
	began  time.Time   // of the present file
	last   time.Time   // of the newest line
	up     *bool       // the link's newest state
	lost   bool        // no node leads
	begun  bool        // there was a file
	read   *desired.Read
	readAt time.Time // when it was begun
	digest feed.Digester
	deas   map[string]actual.Digest // what each DEA said last in this file
	said   map[actual.Digest]string // the same, by digest
	hide   *mask
	buf    []byte

	Stats WriterStats
}

// WriterStats count what was written.
type WriterStats struct {
	Lines, Heartbeats, Repeated, Reads, LeftOut int
	Bytes                                       int64 // stored
	Files                                       int
}

// WriteTo begins a recording in one piece, uncompressed, on out.
func WriteTo(out io.Writer, opts WriterOptions) *Writer {
	opts.MaxBytes, opts.MaxAge = 0, 0
	return newWriter(opts, func(int) (io.WriteCloser, string, error) { return keepOpen{out}, "", nil })
}

func newWriter(opts WriterOptions, create func(int) (io.WriteCloser, string, error)) *Writer {
	w := &Writer{opts: opts, create: create, digest: feed.NewDigester()}
	if opts.Anonymize {
		w.hide = newMask()
	}
	return w
}

// SetOrigin says which node the recording is of, and the settings that go into the headers. It has an effect on files that
// are begun later.
func (w *Writer) SetOrigin(node string, config map[string]string) {
	w.opts.Header.Node, w.opts.Header.Config = node, config
}

// DelayRotation has delay decide, when a file is full, whether the next one waits for Rotate. nil: it does not wait.
func (w *Writer) DelayRotation(delay func() bool) { w.hold = delay }

// LastTime is the time of the newest line.
func (w *Writer) LastTime() time.Time { return w.last }

// Begun reports whether a file was begun.
func (w *Writer) Begun() bool { return w.begun }

// IsLeaderless reports whether the newest line about a leader says that no node leads.
func (w *Writer) IsLeaderless() bool { return w.lost }

// Message records a message as it was heard.
func (w *Writer) Message(t time.Time, subject string, data []byte) error {
	if w.hide != nil {
		var ok bool
		if data, ok = w.hide.message(subject, data); !ok {
			w.Stats.LeftOut++
			return nil
		}
	}
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if subject == feed.SubjectHeartbeat && len(data) <= feed.MaxHeartbeat {
		w.Stats.Heartbeats++
		sum := w.digest.Sum(data)
		if dea, ok := w.said[sum]; ok {
			w.Stats.Repeated++
			return w.repeat(t, dea)
		}
		if hb, err := feed.DecodeHeartbeat(data); err == nil {
			delete(w.said, w.deas[hb.DEA])
			w.deas[hb.DEA], w.said[sum] = sum, hb.DEA
		}
	}
	return w.line(func(b []byte) []byte {
		b = fmt.Appendf(appendTime(b, t), `,"type":"nats","subject":%s,`, quoted(subject))
		switch {
		case !json.Valid(data) || len(data) > MaxLine-4096:
			data = data[:min(len(data), MaxLine/2)] // a message of this size is refused in any case
			b = append(b, `"base64":"`...)
			b = base64.StdEncoding.AppendEncode(b, data)
			return append(b, `"}`...)
		case bytes.ContainsAny(data, "\n\r"):
			var line bytes.Buffer
			_ = json.Compact(&line, data) // it is valid
			data = line.Bytes()
		}
		b = append(append(b, `"data":`...), bytes.TrimSpace(data)...)
		return append(b, '}')
	})
}

// Repeat records that a DEA said byte for byte what it had said last. It does nothing if this file does not have that.
func (w *Writer) Repeat(t time.Time, dea string) (done bool, err error) {
	if w.hide != nil {
		dea = w.hide.dea(dea)
	}
	if t, err = w.ready(t); err != nil {
		return false, err
	}
	if _, ok := w.deas[dea]; !ok {
		return false, nil
	}
	w.Stats.Heartbeats++
	w.Stats.Repeated++
	return true, w.repeat(t, dea)
}

func (w *Writer) repeat(t time.Time, dea string) error {
	return w.line(func(b []byte) []byte {
		return fmt.Appendf(appendTime(b, t), `,"type":"nats","subject":"dea.heartbeat","repeat":%s}`, quoted(dea))
	})
}

// Desired records the outcome of one attempt to read the desired state.
func (w *Writer) Desired(t, began time.Time, read desired.Read, readErr error) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	if began.After(t) {
		began = t
	}
	if readErr != nil {
		return w.line(func(b []byte) []byte {
			text := readErr.Error()
			if w.hide != nil {
				text = "the read failed"
			}
			return fmt.Appendf(appendBegan(b, t, began), `,"error":%s}`, quoted(text))
		})
	}
	w.Stats.Reads++
	if w.hide != nil {
		read = w.hide.read(read)
	}
	same := w.read != nil && sameRead(*w.read, read)
	w.read, w.readAt = &read, began
	if same {
		return w.line(func(b []byte) []byte {
			return append(appendBegan(b, t, began), `,"unchanged":true}`...)
		})
	}
	return w.rows(t, false)
}

func sameRead(a, b desired.Read) bool {
	if len(a.Apps) != len(b.Apps) || len(a.Unreadable) != len(b.Unreadable) {
		return false
	}
	for i := range a.Apps {
		if a.Apps[i] != b.Apps[i] {
			return false
		}
	}
	for i := range a.Unreadable {
		if a.Unreadable[i] != b.Unreadable[i] {
			return false
		}
	}
	return true
}

// rows writes the newest read.
func (w *Writer) rows(t time.Time, again bool) error {
	apps := w.read.Apps
	for {
		n := min(len(apps), rowsPerLine)
		rows := make([]appRow, n)
		for i := range n {
			rows[i] = rowOf(apps[i])
		}
		apps = apps[n:]
		l := line{T: &t, Type: "desired", Apps: &rows, More: len(apps) > 0, Again: again}
		if !w.readAt.Equal(t) {
			l.Began = &w.readAt
		}
		if !l.More {
			l.Unreadable, l.Source = w.read.Unreadable, w.read.Source
			if w.hide != nil {
				l.Source = ""
			}
		}
		if err := w.json(l); err != nil || len(apps) == 0 {
			return err
		}
	}
}

// Link records that NATS was lost or is back, or, with gap, that messages were lost while it was up.
func (w *Writer) Link(t time.Time, up, gap bool) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	w.up = &up
	return w.link(t, gap)
}

func (w *Writer) link(t time.Time, gap bool) error {
	return w.line(func(b []byte) []byte {
		b = fmt.Appendf(appendTime(b, t), `,"type":"link","up":%t`, *w.up)
		if gap {
			b = append(b, `,"gap":true`...)
		}
		return append(b, '}')
	})
}

// Leader records that another node leads.
func (w *Writer) Leader(t time.Time) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	w.lost = false
	return w.line(func(b []byte) []byte { return append(appendTime(b, t), `,"type":"leader","change":true}`...) })
}

// Leaderless records that no node leads, until Leader says that one does.
func (w *Writer) Leaderless(t time.Time) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	w.lost = true
	return w.leaderless(t, false)
}

func (w *Writer) leaderless(t time.Time, again bool) error {
	return w.json(line{T: &t, Type: "leader", Lost: true, Again: again})
}

func (w *Writer) line(text func([]byte) []byte) error {
	w.buf = append(text(w.buf[:0]), '\n')
	w.Stats.Lines++
	if _, err := w.out.Write(w.buf); err != nil {
		return fmt.Errorf("writing the recording %s: %w", w.name, err)
	}
	return nil
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, `{"t":"`...)
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendBegan(b []byte, t, began time.Time) []byte {
	b = append(appendTime(b, t), `,"type":"desired"`...)
	if began.Equal(t) {
		return b
	}
	return began.UTC().AppendFormat(append(b, `,"began":"`...), time.RFC3339Nano+`"`)
}
