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

// The files of a recording: how they begin and end, and what each needs so that it can be replayed by itself.

// Create begins a recording at path. A path that ends in .gz or .zst gives a compressed file. Create never overwrites a
// file. The file is created with the first event.
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
		return nil, fmt.Errorf("%s exists already: a recording never overwrites a file", path)
	}
	return newWriter(opts, func(int) (io.WriteCloser, string, error) { return createFile(path) }), nil
}

// checkEnding refuses names that look like those of compressed files and are not.
func checkEnding(path string) error {
	ending := filepath.Ext(path)
	switch strings.ToLower(ending) {
	case ".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".lzma", ".br", ".zip", ".7z", ".z":
		if ending != ".gz" && ending != ".zst" {
			return fmt.Errorf("%s: unknown ending %s: a compressed recording ends in .gz or .zst", path, ending)
		}
	}
	return nil
}

func createFile(name string) (io.WriteCloser, string, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%s exists already: a recording never overwrites a file", name)
	}
	return f, name, err
}

// ready makes sure that there is a file that is not full. It returns the time for the next line: t, or the time of the
// newest line if that is later.
func (w *Writer) ready(t time.Time) (time.Time, error) {
	t = t.UTC().Round(0)
	if t.Before(w.last) {
		t = w.last
	}
	if w.full(t) && (w.delay == nil || !w.delay()) {
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

// full reports whether the file has reached its size or its age.
func (w *Writer) full(t time.Time) bool {
	if w.file == nil || !w.Rotates() {
		return false
	}
	return w.opts.MaxBytes > 0 && w.stored.n-w.startBytes >= w.opts.MaxBytes ||
		w.opts.MaxAge > 0 && t.Sub(w.began) >= w.opts.MaxAge
}

// Rotate begins the next file with a snapshot of the state at t, so that the files before it are not needed.
func (w *Writer) Rotate(t time.Time, snapshot []byte) error {
	t = later(t.UTC().Round(0), w.last)
	if w.mask != nil {
		var err error
		if snapshot, err = w.mask.snapshot(snapshot); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	w.last = t
	return w.begin(t, snapshot)
}

// begin opens the next file and writes its header and what the file before it ended with.
func (w *Writer) begin(t time.Time, snapshot []byte) error {
	w.part++
	file, name, err := w.create(w.part)
	if err != nil {
		return fmt.Errorf("beginning a recording: %w", err)
	}
	w.file, w.name, w.began = file, name, t
	w.stored, w.startBytes = &countingWriter{out: file}, 0
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
	w.digests, w.byDigest = map[string]actual.Digest{}, map[actual.Digest]string{}
	format, h := Format, w.opts.Header
	if w.opts.Anonymize {
		h.Node = ""
	}
	l := line{
		Type: "header", Format: &format, Started: &t, Note: h.Note, Node: h.Node, ID: h.ID, Anon: w.opts.Anonymize,
	}
	if w.Rotates() {
		l.Part, l.Anew = w.part, !w.begun && w.part > 1 // an earlier recorder wrote the other parts
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
	first := !w.begun
	w.begun = true
	if first {
		return nil
	}
	return w.carryOver(t, snapshot)
}

// carryOver writes what the file before ended with.
func (w *Writer) carryOver(t time.Time, snapshot []byte) error {
	if snapshot != nil {
		if err := w.snapshot(t, snapshot); err != nil {
			return err
		}
	}
	if w.linkUp != nil && !*w.linkUp {
		if err := w.link(t, false); err != nil {
			return err
		}
	}
	if w.leaderless {
		if err := w.noLeader(t, true); err != nil {
			return err
		}
	}
	if w.read != nil {
		if err := w.rows(t, true); err != nil {
			return err
		}
	}
	return w.excludeStart()
}

// excludeStart excludes what is stored so far from the size of the file.
func (w *Writer) excludeStart() error {
	if err := w.Flush(); err != nil {
		return err
	}
	w.startBytes = w.stored.n
	return nil
}

// Flush writes what is buffered to the file.
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

// Close ends the recording. Without any event it has only a header.
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

// Rotates reports whether the recording can have several parts.
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
