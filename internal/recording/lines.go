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
	ahead  *ahead
	closer func()
	buf    []byte
	lent   bool   // buf is a buffer of ahead; else it is long
	long   []byte // for lines that do not fit into one
	from   int    // of what is not given out yet
	to     int    // end of what was read
	err    error
	line   int  // number of the line that next gave last
	open   bool // it has no end: the file ends within it, or its last line was written so
}

// newLineReader looks at the first bytes of in for whether it is compressed.
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
			return nil, fmt.Errorf("it begins as gzip does, but: %w", err)
		}
		plain = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderConcurrency(1)) // in ahead's goroutine alone: that costs the least
		if err != nil {
			return nil, fmt.Errorf("it begins as zstd does, but: %w", err)
		}
		plain, r.closer = z, z.Close
	}
	r.ahead = newAhead(plain, plain != io.Reader(b))
	return r, nil
}

// Lines splits what is read from in into lines, decompressing it if it is compressed. It gives each line without its end
// and with its number, from 1. A line is good until the next call. It ends at the first error, which tells its line.
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

// next gives the next line without its end. It is good until the next call. io.EOF is the end.
func (r *lineReader) next() ([]byte, error) {
	seen := r.from // up to here there is no end of line
	for {
		if n := bytes.IndexByte(r.buf[seen:r.to], '\n'); n >= 0 {
			text := r.buf[r.from : seen+n]
			r.from = seen + n + 1
			return r.give(text)
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
			return r.give(text)
		}
		seen -= r.from
		r.fill()
		seen += r.from
	}
}

// end gives no more lines.
func (r *lineReader) end() { r.from, r.err = r.to, io.EOF }

func (r *lineReader) give(text []byte) ([]byte, error) {
	r.line++
	if len(text) > MaxLine {
		return nil, errLong
	}
	return text, nil
}

// ErrTruncated says that a file ends early: who wrote it was killed, had no more room, or is still at it.
var ErrTruncated = errors.New("the file is truncated")

var errTruncated = fmt.Errorf("the compressed data ends early: %w", ErrTruncated)

var errLong = fmt.Errorf("the line is longer than %d MiB", MaxLine>>20)

// readError says why no more can be read.
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

// fill puts more behind what is not given out yet, which in most cases goes in front of the next chunk.
func (r *lineReader) fill() {
	c := <-r.ahead.full
	r.err = c.err
	left := r.buf[r.from:r.to]
	if len(left) <= aheadRoom {
		from := aheadRoom - len(left)
		copy(c.buf[from:], left)
		r.giveBack()
		r.buf, r.lent, r.from, r.to = c.buf, true, from, c.to
		return
	}
	if r.lent {
		r.long = append(r.long[:0], left...)
		r.giveBack()
	} else {
		r.long = r.long[:copy(r.long, left)]
	}
	more := c.buf[aheadRoom:c.to]
	r.long = append(withRoom(r.long, len(more)), more...)
	r.buf, r.lent = r.long, false
	r.from, r.to = 0, len(r.buf)
	r.ahead.free <- c.buf
}

// giveBack lets ahead read into buf again.
func (r *lineReader) giveBack() {
	if r.lent {
		r.ahead.free <- r.buf
	}
}

// withRoom gives s with room for n more. It doubles what is too small, where append copies large slices more often.
func withRoom[E any](s []E, n int) []E {
	if cap(s)-len(s) < n {
		s = slices.Grow(s, max(n, len(s)))
	}
	return s
}
