package recording

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// lineReader splits a stream, compressed or not, into lines.
type lineReader struct {
	ahead  *readAhead
	closer func()
	buf    []byte // buf[from:to] was read and not returned yet
	from   int
	to     int
	lent   bool   // buf belongs to ahead; else it is long
	long   []byte // for lines that do not fit into a buffer of ahead
	err    error
	line   int  // number of the newest line
	open   bool // the newest line has no end: the file ends within it, or was written so
}

// newLineReader recognizes by the first bytes of in whether it is compressed.
func newLineReader(in io.Reader) (*lineReader, error) {
	r := &lineReader{closer: func() {}}
	b := bufio.NewReaderSize(in, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, readError(err)
	}
	var plain io.Reader = b
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("the file begins as gzip does, but: %w", err)
		}
		plain = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		// It decompresses in the goroutine of ahead, which is cheaper than several goroutines.
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("the file begins as zstd does, but: %w", err)
		}
		plain, r.closer = z, z.Close
	}
	r.ahead = newReadAhead(plain, plain != io.Reader(b))
	return r, nil
}

// Lines calls each with the lines of in, which may be compressed, and with their numbers from 1. A line comes without
// its end and is valid until the next call. Lines ends at the first error and returns it as an *Error without a file.
func Lines(in io.Reader, each func(number int, text []byte) error) error {
	lines, err := newLineReader(in)
	if err != nil {
		return err
	}
	defer lines.close()
	for {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = each(lines.line, text)
		}
		if err != nil {
			return &Error{Line: lines.line, Err: err}
		}
	}
}

func (r *lineReader) close() {
	r.ahead.close()
	r.closer()
}

// next returns the next line without its end. It is valid until the next call. io.EOF is the end.
func (r *lineReader) next() ([]byte, error) {
	seen := r.from // there is no end of line before it
	for {
		if n := bytes.IndexByte(r.buf[seen:r.to], '\n'); n >= 0 {
			text := r.buf[r.from : seen+n]
			r.from = seen + n + 1
			return r.counted(text)
		}
		seen = r.to
		switch {
		case seen-r.from > MaxLine:
			r.line++
			return nil, errLong
		case r.err != nil:
			if !errors.Is(r.err, io.EOF) {
				r.line++
				return nil, readError(r.err)
			}
			if r.from == r.to {
				return nil, io.EOF
			}
			text := r.buf[r.from:r.to]
			r.from, r.open = r.to, true
			return r.counted(text)
		}
		seen -= r.from
		r.fill()
		seen += r.from
	}
}

// end skips the remaining lines.
func (r *lineReader) end() { r.from, r.err = r.to, io.EOF }

func (r *lineReader) counted(text []byte) ([]byte, error) {
	r.line++
	if len(text) > MaxLine {
		return nil, errLong
	}
	return text, nil
}

// ErrTruncated says that a file ends early: its recorder was killed, had no disk space left, or still writes it.
var ErrTruncated = errors.New("the file is truncated")

var errTruncated = fmt.Errorf("the compressed data ends early: %w", ErrTruncated)

var errLong = fmt.Errorf("the line is longer than %d MiB", MaxLine>>20)

// readError describes an error of the file that is read.
func readError(err error) error {
	var imported *Error
	switch {
	case errors.As(err, &imported):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	}
	return fmt.Errorf("reading: %w", err)
}

// fill appends the next chunk to what was not returned yet. In most cases that is short and is copied before the chunk.
func (r *lineReader) fill() {
	c := <-r.ahead.full
	r.err = c.err
	left := r.buf[r.from:r.to]
	if len(left) <= chunkRoom {
		from := chunkRoom - len(left)
		copy(c.buf[from:], left)
		r.returnBuffer()
		r.buf, r.lent, r.from, r.to = c.buf, true, from, c.to
		if cap(r.long) > maxChunks*chunkSize { // it was for a line of a read, and few lines are like that
			r.long = nil
		}
		return
	}
	if r.lent {
		r.long = append(r.long[:0], left...)
		r.returnBuffer()
	} else {
		r.long = r.long[:copy(r.long, left)]
	}
	more := c.buf[chunkRoom:c.to]
	r.long = append(withRoom(r.long, len(more)), more...)
	r.buf, r.lent = r.long, false
	r.from, r.to = 0, len(r.buf)
	r.ahead.free <- c.buf
}

// returnBuffer lets ahead use buf again.
func (r *lineReader) returnBuffer() {
	if r.lent {
		r.ahead.free <- r.buf
	}
}

// withRoom returns s with room for n more. It doubles the capacity; append grows large slices in smaller steps.
func withRoom[E any](s []E, n int) []E {
	if cap(s)-len(s) < n {
		s = slices.Grow(s, max(n, len(s)))
	}
	return s
}
