package recording

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"hm/actual"
)

// The files of a recording: their beginning, their end, and what each needs to stand by itself.

// Create begins a recording at path, whose ending says how it is compressed: .jsonl, .jsonl.gz or .jsonl.zst (or just
// .gz, .zst). It never overwrites a file. Nothing is written before the first event.
func Create(path string, opts WriterOptions) (*Writer, error) {
	if err := checkEnding(path); err != nil {
		return nil, err
	}
	if opts.MaxBytes > 0 || opts.MaxAge > 0 {
		p, err := findParts(path)
		if err != nil {
			return nil, err
		}
		w := newWriter(opts, func(part int) (io.WriteCloser, string, error) { return createFile(p.name(part)) })
		w.parts, w.part = p, p.last()
		return w, nil
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists already; a recording never overwrites a file", path)
	}
	return newWriter(opts, func(int) (io.WriteCloser, string, error) { return createFile(path) }), nil
}

// checkEnding refuses the names of files that would be thought to be compressed and would not be.
func checkEnding(path string) error {
	ending := filepath.Ext(path)
	switch strings.ToLower(ending) {
	case ".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".lzma", ".br", ".zip", ".7z", ".z":
		if ending != ".gz" && ending != ".zst" {
			return fmt.Errorf("%s: a recording is compressed if its name ends in .gz or .zst, which %s is not", path, ending)
		}
	}
	return nil
}

func createFile(name string) (io.WriteCloser, string, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%s exists already; a recording never overwrites a file", name)
	}
	return f, name, err
}

// ready gives t, or the time of the newest line if that is later, after it has made sure that there is a file.
func (w *Writer) ready(t time.Time) (time.Time, error) {
	t = t.UTC().Round(0)
	if t.Before(w.last) {
		t = w.last
	}
	if w.full(t) && (w.hold == nil || !w.hold()) {
		if err := w.end(); err != nil {
			return t, err
		}
	}
	if w.file == nil {
		if err := w.begin(t, nil); err != nil {
			return t, err
		}
	}
	w.last = t
	return t, nil
}

// full reports whether the file that is open has reached its size or its age.
func (w *Writer) full(t time.Time) bool {
	if w.file == nil || !w.Rotates() {
		return false
	}
	return w.opts.MaxBytes > 0 && w.stored.n-w.head >= w.opts.MaxBytes || w.opts.MaxAge > 0 && t.Sub(w.began) >= w.opts.MaxAge
}

// Rotate begins the next file, with the snapshot of what is recorded at t, which the events before are not needed for.
func (w *Writer) Rotate(t time.Time, snapshot []byte) error {
	t = later(t.UTC().Round(0), w.last)
	if w.hide != nil {
		var err error
		if snapshot, err = w.hide.snapshot(snapshot); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	w.last = t
	return w.begin(t, snapshot)
}

// begin opens the next file and writes what it needs to stand by itself.
func (w *Writer) begin(t time.Time, snapshot []byte) error {
	w.part++
	file, name, err := w.create(w.part)
	if err != nil {
		return fmt.Errorf("beginning a recording: %w", err)
	}
	w.file, w.name, w.began = file, name, t
	w.stored, w.head = &countingWriter{out: file}, 0
	w.Stats.Files++
	switch {
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewWriter(w.stored, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("beginning a recording: %w", err)
		}
		w.out, w.flush = z, z.Flush
	case strings.HasSuffix(name, ".gz"):
		z := gzip.NewWriter(w.stored)
		w.out, w.flush = z, z.Flush
	default:
		w.out, w.flush = w.stored, func() error { return nil }
	}
	w.deas, w.said = map[string]actual.Digest{}, map[actual.Digest]string{}
	format, h := Format, w.opts.Header
	if w.opts.Anonymize {
		h.Node = ""
	}
	l := line{Type: "header", Format: &format, Started: &t, Note: h.Note, Node: h.Node, ID: h.ID, Anon: w.opts.Anonymize}
	if w.Rotates() {
		l.Part, l.Anew = w.part, !w.begun && w.part > 1 // behind those of another recorder
		if err := w.parts.add(w.part, w.opts.Keep); err != nil {
			return err
		}
	}
	if len(h.Config) > 0 {
		if l.Config, err = json.Marshal(h.Config); err != nil {
			return fmt.Errorf("beginning a recording: %w", err)
		}
	}
	if err := w.json(l); err != nil {
		return err
	}
	w.Stats.Lines--
	again := w.begun
	w.begun = true
	if !again {
		return nil
	}
	return w.goOn(t, snapshot)
}

// goOn writes what the file before ended with.
func (w *Writer) goOn(t time.Time, snapshot []byte) error {
	if snapshot != nil {
		if err := w.snapshot(t, snapshot); err != nil {
			return err
		}
	}
	if w.up != nil && !*w.up {
		if err := w.link(t, false); err != nil {
			return err
		}
	}
	if w.lost {
		if err := w.leaderless(t, true); err != nil {
			return err
		}
	}
	if w.read != nil {
		if err := w.rows(t, true); err != nil {
			return err
		}
	}
	return w.discount()
}

// discount has what is stored so far not count for the size of the file.
func (w *Writer) discount() error {
	if err := w.Flush(); err != nil {
		return err
	}
	w.head = w.stored.n
	return nil
}

// Flush hands what is buffered over to the file.
func (w *Writer) Flush() error {
	if w.file == nil {
		return nil
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("writing the recording %s: %w", w.name, err)
	}
	return nil
}

func (w *Writer) end() error {
	err := w.out.Close()
	if e := w.file.Close(); err == nil {
		err = e
	}
	w.Stats.Bytes += w.stored.n
	w.file = nil
	if err != nil {
		return fmt.Errorf("writing the recording %s: %w", w.name, err)
	}
	return nil
}

// Close ends the recording. One without any event is written as a header alone.
func (w *Writer) Close() error {
	if w.file == nil && w.begun {
		return nil
	}
	if w.file == nil {
		if _, err := w.ready(time.Now()); err != nil {
			return err
		}
	}
	return w.end()
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// Rotates reports whether the recording may be in several files.
func (w *Writer) Rotates() bool { return w.parts != nil }

type countingWriter struct {
	out io.Writer
	n   int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *countingWriter) Close() error { return nil }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
