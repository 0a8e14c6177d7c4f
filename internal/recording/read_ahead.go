package recording

import (
	"io"
	"sync"
)

const (
	chunkSize = 512 << 10
	maxChunks = 4
	chunkRoom = 64 << 10 // before each chunk, for the unfinished line of the chunk before it
)

// readAhead reads, and so decompresses, up to maxChunks chunks in a goroutine of its own before they are needed.
type readAhead struct {
	full chan chunk
	free chan []byte // buffers of chunkRoom+chunkSize bytes
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// chunk is buf[chunkRoom:to]. err is why it is the last one.
type chunk struct {
	buf []byte
	to  int
	err error
}

// newReadAhead begins to read. With whole it fills each chunk, which suits a decompressor. Without whole a chunk is
// what one call of Read returns, so that lines of a slow source are not delayed.
func newReadAhead(in io.Reader, whole bool) *readAhead {
	a := &readAhead{
		full: make(chan chunk, maxChunks), free: make(chan []byte, maxChunks),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for range maxChunks {
		a.free <- nil // made when first needed: most recordings are short
	}
	go func() {
		defer close(a.done)
		for {
			select {
			case <-a.stop:
				return
			case buf := <-a.free:
				c := readChunk(in, buf, whole)
				a.full <- c // does not block: there are no more buffers
				if c.err != nil {
					return
				}
			}
		}
	}()
	return a
}

// readChunk fills a buffer, or reads once.
func readChunk(in io.Reader, buf []byte, whole bool) chunk {
	if buf == nil {
		buf = make([]byte, chunkRoom+chunkSize)
	}
	c := chunk{buf: buf, to: chunkRoom}
	for empty := 0; c.err == nil && len(buf)-c.to >= chunkSize/2; {
		var n int
		n, c.err = in.Read(buf[c.to:])
		c.to += n
		if n > 0 {
			if empty = 0; !whole {
				break
			}
		} else if empty++; empty == 100 && c.err == nil { // the reader is broken
			c.err = io.ErrNoProgress
		}
	}
	return c
}

// close ends the goroutine and waits for it.
func (a *readAhead) close() {
	a.once.Do(func() { close(a.stop) })
	<-a.done
}
