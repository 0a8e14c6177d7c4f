package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/desired"
)

// rowsPerLine keeps the lines of a read of the desired state below MaxLine.
const rowsPerLine = 50_000

// WriterOptions say how a recording is written.
type WriterOptions struct {
	Header    Header        // the Writer sets Started and Part
	MaxBytes  int64         // stored bytes after which the next part is begun; 0: no limit
	MaxAge    time.Duration // by the events' times, after which the next part is begun; 0: no limit
	Keep      int           // parts to keep: the oldest are removed; 0: all
	Anonymize bool          // replace guids and DEA ids, equal ones by equal ones; leave out all that hm does not need
}

// Writer writes a recording. With MaxBytes or MaxAge it is in several parts: FILE.jsonl.zst becomes FILE.0001.jsonl.zst
// and so on, after the existing ones. Each part can be replayed by itself. Only one goroutine at a time may use a
// Writer.
type Writer struct {
	opts   WriterOptions
	create func(part int) (io.WriteCloser, string, error)
	parts  *parts // nil: the recording is in one file
	mask   *mask  // nil: the recording has the real names
	begun  bool   // there was a file

	name       string // of the current file
	file       io.WriteCloser
	stored     *countingWriter
	out        io.WriteCloser // compresses to stored, or is stored
	flush      func() error
	part       int
	startBytes int64       // stored bytes of what the file begins with, which do not count for MaxBytes
	delay      func() bool // see DelayRotation
	began      time.Time   // time of the first line of the file
	buf        []byte

	last       time.Time     // time of the newest line
	linkUp     *bool         // the newest state of the link; nil: unknown
	leaderless bool          // no node leads
	read       *desired.Read // the newest complete read
	readBegan  time.Time

	// The newest heartbeat of each DEA in this file.
	digester feed.Digester
	digests  map[string]actual.Digest
	byDigest map[actual.Digest]string

	Stats WriterStats
}

// WriterStats count what was written.
type WriterStats struct {
	Lines      int // without the headers
	Heartbeats int
	Repeated   int // of the heartbeats, those that repeat the DEA's newest one
	Reads      int // complete reads of the desired state
	LeftOut    int // messages that cannot be anonymized
	Bytes      int64
	Files      int
}

// WriteTo begins a recording in one file, uncompressed, on out.
func WriteTo(out io.Writer, opts WriterOptions) *Writer {
	opts.MaxBytes, opts.MaxAge = 0, 0
	return newWriter(opts, func(int) (io.WriteCloser, string, error) { return keepOpen{out}, "", nil })
}

func newWriter(opts WriterOptions, create func(int) (io.WriteCloser, string, error)) *Writer {
	w := &Writer{opts: opts, create: create, digester: feed.NewDigester()}
	if opts.Anonymize {
		w.mask = newMask()
	}
	return w
}

// SetOrigin sets the recorded node and its settings in the headers of the files that are begun later.
func (w *Writer) SetOrigin(node string, config map[string]string) {
	w.opts.Header.Node, w.opts.Header.Config = node, config
}

// DelayRotation sets a function that is called when a file is full. As long as it returns true, the Writer continues
// the file and leaves it to the caller to call Rotate. nil, the default, begins the next file at once.
func (w *Writer) DelayRotation(delay func() bool) { w.delay = delay }

// LastTime returns the time of the newest line.
func (w *Writer) LastTime() time.Time { return w.last }

// Begun reports whether a file was begun.
func (w *Writer) Begun() bool { return w.begun }

// IsLeaderless reports whether no node leads, by the newest line about it.
func (w *Writer) IsLeaderless() bool { return w.leaderless }

// Message records a message as it was received.
func (w *Writer) Message(t time.Time, subject string, data []byte) error {
	if w.mask != nil {
		var ok bool
		if data, ok = w.mask.message(subject, data); !ok {
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
		digest := w.digester.Sum(data)
		if dea, ok := w.byDigest[digest]; ok {
			w.Stats.Repeated++
			return w.repeat(t, dea)
		}
		if hb, err := feed.DecodeHeartbeat(data); err == nil {
			delete(w.byDigest, w.digests[hb.DEA])
			w.digests[hb.DEA], w.byDigest[digest] = digest, hb.DEA
		}
	}
	return w.line(func(b []byte) []byte {
		b = fmt.Appendf(appendTime(b, t), `,"type":"nats","subject":%s,`, quoted(subject))
		switch {
		case !json.Valid(data) || len(data) > MaxLine-4096:
			data = data[:min(len(data), MaxLine/2)] // hm refuses a message of this size in any case
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

// Repeat records that the newest heartbeat of a DEA was received again, byte for byte. It does nothing and returns
// false if this file does not have that heartbeat.
func (w *Writer) Repeat(t time.Time, dea string) (done bool, err error) {
	if w.mask != nil {
		dea = w.mask.dea(dea)
	}
	if t, err = w.ready(t); err != nil {
		return false, err
	}
	if _, ok := w.digests[dea]; !ok {
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

// Desired records the outcome of a read of the desired state.
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
			if w.mask != nil {
				text = "the read failed"
			}
			return fmt.Appendf(appendBegan(b, t, began), `,"error":%s}`, quoted(text))
		})
	}
	w.Stats.Reads++
	if w.mask != nil {
		read = w.mask.read(read)
	}
	same := w.read != nil && sameRead(*w.read, read)
	w.read, w.readBegan = &read, began
	if same {
		return w.line(func(b []byte) []byte {
			return append(appendBegan(b, t, began), `,"unchanged":true}`...)
		})
	}
	return w.rows(t, false)
}

func sameRead(a, b desired.Read) bool {
	return slices.Equal(a.Apps, b.Apps) && slices.Equal(a.Unreadable, b.Unreadable) &&
		desired.FilterOf(a.Source) == desired.FilterOf(b.Source)
}

// rows writes the newest complete read.
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
		if !w.readBegan.Equal(t) {
			l.Began = &w.readBegan
		}
		if !l.More {
			l.Unreadable, l.Source = w.read.Unreadable, w.read.Source
			if w.mask != nil {
				if l.Source = ""; desired.FilterOf(w.read.Source) != "" {
					l.Source = desired.Anonymous(w.read.Source) // hm leaves alone what has no row
				}
			}
		}
		if err := w.json(l); err != nil || len(apps) == 0 {
			return err
		}
	}
}

// Link records that the NATS link is down or up, or, with gap, that messages were lost while it was up.
func (w *Writer) Link(t time.Time, up, gap bool) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	w.linkUp = &up
	return w.link(t, gap)
}

func (w *Writer) link(t time.Time, gap bool) error {
	return w.line(func(b []byte) []byte {
		b = fmt.Appendf(appendTime(b, t), `,"type":"link","up":%t`, *w.linkUp)
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
	w.leaderless = false
	return w.line(func(b []byte) []byte { return append(appendTime(b, t), `,"type":"leader","change":true}`...) })
}

// Leaderless records that no node leads, until Leader says that one does.
func (w *Writer) Leaderless(t time.Time) error {
	t, err := w.ready(t)
	if err != nil {
		return err
	}
	w.leaderless = true
	return w.noLeader(t, false)
}

func (w *Writer) noLeader(t time.Time, again bool) error {
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
