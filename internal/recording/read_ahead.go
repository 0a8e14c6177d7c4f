package recording

import (
	"io"
	"sync"
)

const (
	aheadChunk  = 512 << 10
	aheadChunks = 4
	aheadRoom   = 64 << 10 // in front of each chunk, for the line that the chunk before leaves unfinished
)

// ahead reads, and so decompresses, before it is asked to, in a goroutine of its own and at most aheadChunks chunks.
type ahead struct {
	full chan chunk
	free chan []byte // buffers of aheadRoom+aheadChunk bytes
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// chunk is what was read at once: buf[aheadRoom:to]. err is why it is the last one.
type chunk struct {
	buf []byte
	to  int
	err error
}

// newAhead begins to read. whole has each chunk filled, which is for what is read from memory mostly; without it a chunk
// is what one call of Read gives, so that nothing that is there has to wait for what is not.
func newAhead(in io.Reader, whole bool) *ahead {
	a := &ahead{full: make(chan chunk, aheadChunks), free: make(chan []byte, aheadChunks), stop: make(chan struct{}), done: make(chan struct{})}
	for range aheadChunks {
		a.free <- nil // made when first needed: most recordings are short
	}
	go func() {
		defer close(a.done)
		for {
			select {
			case <-a.stop:
				return
			case buf := <-a.free:
				c := read(in, buf, whole)
				a.full <- c // there is room: no more buffers are about
				if c.err != nil {
					return
				}
			}
		}
	}()
	return a
}

// read fills a buffer, or puts in what comes at once.
func read(in io.Reader, buf []byte, whole bool) chunk {
	if buf == nil {
		buf = make([]byte, aheadRoom+aheadChunk)
	}
	c := chunk{buf: buf, to: aheadRoom}
	for empty := 0; c.err == nil && len(buf)-c.to >= aheadChunk/2; {
		var n int
		n, c.err = in.Read(buf[c.to:])
		c.to += n
		if n > 0 {
			if empty = 0; !whole {
				break
			}
		} else if empty++; empty == 100 && c.err == nil { // a reader that gives nothing and no error for so long is broken
			c.err = io.ErrNoProgress
		}
	}
	return c
}

// close ends the goroutine and waits for it.
func (a *ahead) close() {
	a.once.Do(func() { close(a.stop) })
	<-a.done
}
