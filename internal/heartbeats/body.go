package heartbeats

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"hm/actual/feed"
)

const (
	maxMemory = 256 << 20 // bytes of all bodies that are being received or handled
	firstRoom = 32 << 10  // bytes of room that a body gets at first, if it does not say how large it is
)

var errNoMemory = errors.New("too many large heartbeats arrive at a time")

// memory bounds the bytes of the bodies under way. It counts what has arrived, not what a client promises.
type memory struct {
	used atomic.Int64
	most int64
}

// read reads a body of a given length, -1 if unknown, up to feed.MaxHeartbeat. release must be called when the body is no
// longer needed, whatever the error.
func (m *memory) read(r io.Reader, length int64) (body []byte, release func(), err error) {
	held := int64(0)
	release = func() { m.used.Add(-held) }
	reserve := func(n int) error {
		if m.used.Add(int64(n)) > m.most {
			m.used.Add(-int64(n))
			return errNoMemory
		}
		held += int64(n)
		return nil
	}
	if length > feed.MaxHeartbeat {
		return nil, release, fmt.Errorf("%w: the body has %d bytes, at most %d are allowed", feed.ErrTooLarge, length, feed.MaxHeartbeat)
	}
	room := firstRoom
	if length >= 0 {
		room = min(int(length)+1, 2*firstRoom) // one more, for the read that finds the end
	}
	if err := reserve(room); err != nil {
		return nil, release, err
	}
	body = make([]byte, 0, room)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > feed.MaxHeartbeat:
			return nil, release, fmt.Errorf("%w: the body has more than %d bytes", feed.ErrTooLarge, feed.MaxHeartbeat)
		case errors.Is(err, io.EOF):
			return body, release, nil
		case err != nil:
			return nil, release, fmt.Errorf("reading the body after %d bytes: %w", len(body), err)
		}
		if len(body) == cap(body) {
			more := min(cap(body), feed.MaxHeartbeat+1-cap(body))
			if err := reserve(more); err != nil {
				return nil, release, err
			}
			body = append(make([]byte, 0, cap(body)+more), body...)
		}
	}
}
