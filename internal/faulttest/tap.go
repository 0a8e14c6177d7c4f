package faulttest

import (
	"bytes"
	"strconv"
	"sync"
	"time"
)

// tap reads what clients send to a NATS server over a proxy, and finds the messages that they publish.
type tap struct {
	now     func() time.Duration
	publish func(published)

	mu    sync.Mutex
	conns map[uint64]*tappedConn
}

// published is a message that a client sent.
type published struct {
	At      time.Duration
	LinkAge time.Duration // how long ago the client began to speak on this connection
	Subject string
	Data    []byte
}

type tappedConn struct {
	opened time.Duration
	rest   []byte // what was sent of an operation that is not complete
	lost   bool   // it is not understood any more
}

const maxOperation = 8 << 20

func newTap(now func() time.Duration, publish func(published)) *tap {
	return &tap{now: now, publish: publish, conns: map[uint64]*tappedConn{}}
}

// inspect is for tcpproxy.Options.Inspect.
func (t *tap) inspect(connection uint64, toTarget bool, b []byte) {
	if !toTarget {
		return
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[connection]
	if c == nil {
		c = &tappedConn{opened: now}
		t.conns[connection] = c
	}
	if c.lost {
		return
	}
	c.rest = append(c.rest, b...)
	for {
		n, subject, data, ok := operation(c.rest)
		switch {
		case !ok || len(c.rest) > maxOperation:
			c.lost, c.rest = true, nil
			return
		case n == 0:
			return
		case subject != "":
			t.publish(published{At: now, LinkAge: now - c.opened, Subject: subject, Data: bytes.Clone(data)})
		}
		c.rest = c.rest[n:]
	}
}

// operation reads the first operation of a NATS client: how long it is, 0 if there is more to come, and, of a PUB or
// HPUB, the subject and the payload without headers. ok is false if it cannot be one.
func operation(b []byte) (n int, subject string, data []byte, ok bool) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, "", nil, true
	}
	words := bytes.Fields(b[:end])
	end += 2
	if len(words) == 0 {
		return end, "", nil, true
	}
	headers := 0
	switch verb := string(bytes.ToUpper(words[0])); {
	case verb != "PUB" && verb != "HPUB":
		return end, "", nil, true
	case len(words) < 3:
		return 0, "", nil, false
	case verb == "HPUB":
		var err error
		if headers, err = strconv.Atoi(string(words[len(words)-2])); err != nil {
			return 0, "", nil, false
		}
	}
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || size < headers || headers < 0 {
		return 0, "", nil, false
	}
	if len(b) < end+size+2 {
		return 0, "", nil, true
	}
	return end + size + 2, string(words[1]), b[end+headers : end+size], true
}
