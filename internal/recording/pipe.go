package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Sources gives the sources that play what is named one after the other: files, pipes and the like, and for - what
// stdin gives. Other than files, pipes can be played only once, and are waited for no longer than ctx.
func Sources(ctx context.Context, stdin io.Reader, names ...string) ([]Source, error) {
	var all []Source
	taken := false
	for _, name := range names {
		if name == "-" {
			if taken {
				return nil, errors.New("- is named twice; standard input can be read only once")
			}
			taken = true
			all = append(all, once(ctx, "standard input", func() (io.Reader, error) { return struct{ io.Reader }{stdin}, nil })) // not to be closed
			continue
		}
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			all = append(all, once(ctx, name, func() (io.Reader, error) { return os.Open(name) })) // which waits for who writes
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

// Once reports whether the source can be played only once.
func (s Source) ReadOnce() bool { return s.look != nil }

// ReadHeader looks at the header of a recording. Sources that can be played only once still can be.
func ReadHeader(sources ...Source) (Header, error) {
	if len(sources) > 0 && sources[0].ReadOnce() {
		first := sources[0]
		first.Open = first.look
		sources = []Source{first}
	}
	r, err := NewReader(sources...)
	if err != nil {
		return Header{}, err
	}
	defer r.Close()
	return r.Header(), nil
}

// once gives a source of what can be read only once.
func once(ctx context.Context, name string, open func() (io.Reader, error)) Source {
	p := &pipe{ctx: ctx, open: open, chunks: make(chan []byte)}
	return Source{
		Name: name,
		look: func() (io.ReadCloser, error) { return p.reader(true), nil },
		Open: func() (io.ReadCloser, error) {
			if p.played {
				return nil, fmt.Errorf("%s can be read only once", name)
			}
			p.played = true
			return p.reader(false), nil
		},
	}
}

// pipe is what several readers read, one after the other: those that only look leave to the next one all that they
// have read. It is read in a goroutine of its own, so that a reader can be closed, or end with its context, while the
// pipe gives nothing.
type pipe struct {
	ctx    context.Context
	open   func() (io.Reader, error)
	begin  sync.Once
	chunks chan []byte
	err    error // why there are no more; good when chunks is closed
	seen   []byte
	played bool
}

const pipeChunk = 64 << 10 // what a pipe of Linux holds

// pump reads until there is no more, or nobody wants it any more.
func (p *pipe) pump() {
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

func (p *pipe) reader(looks bool) io.ReadCloser {
	p.begin.Do(func() { go p.pump() })
	r := &pipeReader{pipe: p, looks: looks, left: p.seen, closed: make(chan struct{})}
	if !looks {
		p.seen = nil
	}
	return r
}

type pipeReader struct {
	*pipe
	looks  bool
	left   []byte // of what was read
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
			if r.looks {
				r.seen = append(r.seen, c...)
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
