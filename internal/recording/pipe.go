package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Sources returns the sources for the files and pipes with the given names, and for "-" one for stdin. Pipes can be
// read only once. A read of a pipe ends with ctx.
func Sources(ctx context.Context, stdin io.Reader, names ...string) ([]Source, error) {
	var all []Source
	usesStdin := false
	for _, name := range names {
		if name == "-" {
			if usesStdin {
				return nil, errors.New("- is given twice: standard input can be read only once")
			}
			usesStdin = true
			withoutClose := struct{ io.Reader }{stdin}
			all = append(all, pipeSource(ctx, "standard input", func() (io.Reader, error) { return withoutClose, nil }))
			continue
		}
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			open := func() (io.Reader, error) { return os.Open(name) } // blocks until there is a writer
			all = append(all, pipeSource(ctx, name, open))
			continue
		}
		file, err := Files(name)
		if err != nil {
			return nil, err
		}
		all = append(all, file...)
	}
	return all, nil
}

// ReadOnce reports whether the source can be read only once.
func (s Source) ReadOnce() bool { return s.peek != nil }

// ReadHeader reads the header of a recording. A source that can be read only once can still be read afterwards.
func ReadHeader(sources ...Source) (Header, error) {
	if len(sources) > 0 && sources[0].ReadOnce() {
		first := sources[0]
		first.Open = first.peek
		sources = []Source{first}
	}
	r, err := NewReader(sources...)
	if err != nil {
		return Header{}, err
	}
	defer r.Close()
	return r.Header(), nil
}

// pipeSource returns a source that can be read only once.
func pipeSource(ctx context.Context, name string, open func() (io.Reader, error)) Source {
	p := &pipe{ctx: ctx, open: open, chunks: make(chan []byte)}
	return Source{
		Name: name,
		peek: func() (io.ReadCloser, error) { return p.reader(true), nil },
		Open: func() (io.ReadCloser, error) {
			if p.opened {
				return nil, fmt.Errorf("%s can be read only once", name)
			}
			p.opened = true
			return p.reader(false), nil
		},
	}
}

// pipe has several readers, one after the other. Those that peek leave all that they have read to the next one. The
// pipe is read in a goroutine of its own, so that a reader can be closed, or end with its context, while a read blocks.
type pipe struct {
	ctx    context.Context
	open   func() (io.Reader, error)
	begin  sync.Once
	chunks chan []byte
	err    error  // why there are no more chunks; valid once chunks is closed
	peeked []byte // what readers that peek have read
	opened bool   // by a reader that does not peek
}

const pipeChunk = 64 << 10 // the capacity of a pipe on Linux

// readAll reads until the end, an error, or the end of the context.
func (p *pipe) readAll() {
	defer close(p.chunks)
	var in io.Reader
	if in, p.err = p.open(); p.err != nil {
		return
	}
	if c, ok := in.(io.Closer); ok {
		defer c.Close()
	}
	for p.err == nil {
		b := make([]byte, pipeChunk)
		var n int
		n, p.err = in.Read(b)
		if n == 0 {
			continue
		}
		select {
		case p.chunks <- b[:n]:
		case <-p.ctx.Done():
			p.err = context.Cause(p.ctx)
		}
	}
}

func (p *pipe) reader(peeks bool) io.ReadCloser {
	p.begin.Do(func() { go p.readAll() })
	r := &pipeReader{pipe: p, peeks: peeks, left: p.peeked, closed: make(chan struct{})}
	if !peeks {
		p.peeked = nil
	}
	return r
}

type pipeReader struct {
	*pipe
	peeks  bool
	left   []byte // of what the pipe has given
	closed chan struct{}
	close  sync.Once
}

func (r *pipeReader) Read(b []byte) (int, error) {
	if len(r.left) == 0 {
		select {
		case <-r.closed:
			return 0, os.ErrClosed
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		case c, more := <-r.chunks:
			if !more {
				return 0, r.err
			}
			r.left = c
			if r.peeks {
				r.peeked = append(r.peeked, c...)
			}
		}
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *pipeReader) Close() error {
	r.close.Do(func() { close(r.closed) })
	return nil
}
