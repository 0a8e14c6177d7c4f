package cluster

import (
	"errors"
	"fmt"

	"hm/raftfsm"
)

// Limits of one request to raft. Raft's own decoder has none. A version of hm that raises raftfsm.MaxEntry must lower
// maxAppend, or older nodes refuse its requests.
const (
	maxRequest       = maxAppend*raftfsm.MaxEntry + 1<<20 // bytes, before the body of a snapshot
	maxRequestValues = 1 << 15                            // an entry takes 12
	maxSnapshot      = 4 << 30                            // bytes; a fleet of 1,000,000 instances takes 64 MiB at most
)

// The numbers of the requests in raft's transport, and the fields that the scanner reads.
const (
	requestSnapshot = 2
	lastRequest     = 4

	fieldID      = "ID"
	fieldSize    = "Size"
	fieldEntries = "Entries"
)

// requestScanner checks the requests that a peer sends over a raft connection, byte by byte and ahead of raft's
// decoder. It fails when a request exceeds a limit, or when the certificate of the connection does not name the sender;
// raft never gets the whole request then. A request is a byte with its kind and a map in msgpack. After the map of a
// snapshot request, Size bytes of body follow.
type requestScanner struct {
	allow func(id string) error // whether the connection may send requests of a member; called once a request

	at       scanState
	kind     byte
	size     int // bytes of the request so far, without a body
	requests int // number of complete requests
	values   int
	body     uint64 // bytes of the body that are still to come

	head  []byte // of a value, if it is not complete
	skip  uint64 // bytes of a text that are still to come
	keep  bool   // whether the text is kept in text
	text  []byte
	open  [3]container // the request's map, the array of entries, an entry
	depth int          // number of open containers
	field string       // field of the request's map whose value comes next
	id    string       // of the sender
	data  int64        // the request's Size
}

type scanState uint8

const (
	betweenRequests scanState = iota
	inRequest
	inBody
)

// container is a list or a map. left is the number of values that are still to come; a field's name counts as a value.
type container struct{ left int }

// maxKept is the length limit of a text that the scanner keeps: the name of a field, or a member's id.
const maxKept = 255

// feed takes the next bytes of the connection.
func (m *requestScanner) feed(b []byte) error {
	for len(b) > 0 {
		switch m.at {
		case betweenRequests:
			if b[0] > lastRequest {
				return fmt.Errorf("a request to raft has the invalid kind %d", b[0])
			}
			*m = requestScanner{allow: m.allow, requests: m.requests, at: inRequest, kind: b[0], head: m.head[:0], text: m.text[:0]}
			b = b[1:]
		case inBody:
			n := min(m.body, uint64(len(b)))
			m.body -= n
			b = b[n:]
			if m.body == 0 {
				m.end()
			}
		case inRequest:
			n, err := m.value(b)
			if err != nil {
				return fmt.Errorf("a request to raft: %w", err)
			}
			b = b[n:]
		}
	}
	return nil
}

// unanswered is the number of bytes of the incomplete request that raft's decoder already has.
func (m *requestScanner) unanswered() int {
	if m.at == inRequest {
		return m.size
	}
	return 0
}

func (m *requestScanner) end() {
	m.at = betweenRequests
	m.requests++
}

// value takes some of b, the next bytes of a value, and says how many.
func (m *requestScanner) value(b []byte) (n int, err error) {
	if m.skip == 0 { // the head of a value
		m.head = append(m.head, b[0])
		if m.size++; m.size > maxRequest {
			return 0, errTooLong
		}
		if len(m.head) < headLength(m.head[0]) {
			return 1, nil
		}
		opened, err := m.begin()
		m.head = m.head[:0]
		if err != nil || opened || m.skip > 0 {
			return 1, err
		}
		return 1, m.complete()
	}
	n = int(min(m.skip, uint64(len(b))))
	if m.keep {
		m.text = append(m.text, b[:n]...)
	}
	m.skip -= uint64(n)
	m.size += n
	if m.skip > 0 {
		return n, nil
	}
	return n, m.complete()
}

var errTooLong = fmt.Errorf("it is longer than %d bytes", maxRequest)

// begin looks at the head of a value. It reports whether the value is a container that has something in it.
func (m *requestScanner) begin() (opened bool, err error) {
	if m.values++; m.values > maxRequestValues {
		return false, fmt.Errorf("it has more than %d values", maxRequestValues)
	}
	first := m.head[0]
	length := bigEndian(m.head[1:])
	switch {
	case first&0xf0 == 0x80:
		return m.push(uint64(first&0x0f), true)
	case first == 0xde || first == 0xdf:
		return m.push(length, true)
	case first&0xf0 == 0x90:
		return m.push(uint64(first&0x0f), false)
	case first == 0xdc || first == 0xdd:
		return m.push(length, false)
	}
	switch m.depth {
	case 0:
		return false, fmt.Errorf("it is not a map: it begins with %#02x", first)
	case 2:
		return false, errors.New("an entry is not a map") // raft would panic at an entry that is nil
	}
	switch {
	case first&0xe0 == 0xa0:
		err = m.start(uint64(first&0x1f), true)
	case first >= 0xc4 && first <= 0xc6 || first >= 0xd9 && first <= 0xdb:
		err = m.start(length, true)
	case first >= 0xc7 && first <= 0xc9:
		err = m.start(bigEndian(m.head[1:len(m.head)-1]), false)
	case first >= 0xd4 && first <= 0xd8:
		err = m.start(1<<(first-0xd4), false)
	case first == 0xc1:
		err = errors.New("the byte 0xc1 is not valid in msgpack")
	case m.depth == 1 && m.atKey():
		err = fmt.Errorf("the name of a field begins with %#02x: it is not a text", first)
	case m.depth == 1 && m.field == fieldSize:
		m.data, err = wholeNumber(m.head)
	case m.depth == 1 && m.field == fieldID:
		m.id = ""
	}
	return false, err
}

// start begins a text, bytes, or a value of an extension type.
func (m *requestScanner) start(length uint64, isText bool) error {
	if length > maxRequest-uint64(m.size) {
		return errTooLong
	}
	m.skip, m.text = length, m.text[:0]
	m.keep = m.depth == 1 && (m.atKey() || m.field == fieldID)
	switch {
	case !m.keep && (m.depth != 1 || m.field != fieldSize):
	case !isText || !m.keep:
		return fmt.Errorf("%s has a wrong type", m.field)
	case length > maxKept:
		return fmt.Errorf("the name of a field or the id of a member has %d bytes, at most %d are allowed",
			length, maxKept)
	}
	return nil
}

// atKey reports whether the present value is the name of a field of the request.
func (m *requestScanner) atKey() bool { return m.open[0].left%2 == 0 }

// push opens a container. It reports whether the container has something in it.
func (m *requestScanner) push(length uint64, isMap bool) (opened bool, err error) {
	switch {
	case m.depth == 0 && isMap:
	case m.depth == 1 && !isMap && !m.atKey() && m.field == fieldEntries:
	case m.depth == 2 && isMap:
	default:
		return false, errors.New("a list or map is in a wrong place")
	}
	if length > maxRequestValues {
		return false, fmt.Errorf("it has a list or map of %d values", length)
	}
	if isMap {
		length *= 2
	}
	if length == 0 && m.depth == 0 {
		return false, errors.New("it is empty")
	}
	m.open[m.depth] = container{int(length)}
	if length > 0 {
		m.depth++
	}
	return length > 0, nil
}

// complete ends a value, and every container whose last value it is.
func (m *requestScanner) complete() error {
	if m.depth == 1 && m.keep {
		if m.atKey() {
			m.field = string(m.text)
		} else {
			m.id = string(m.text)
		}
	}
	m.keep = false
	for m.depth > 0 {
		top := &m.open[m.depth-1]
		if top.left--; top.left > 0 {
			return nil
		}
		m.depth--
	}
	if m.allow != nil {
		if err := m.allow(m.id); err != nil {
			return err
		}
	}
	if m.kind != requestSnapshot {
		m.end()
		return nil
	}
	if m.data < 0 || m.data > maxSnapshot {
		return fmt.Errorf("a snapshot has %d bytes, at most %d are allowed", m.data, int64(maxSnapshot))
	}
	m.at, m.body = inBody, uint64(m.data)
	if m.body == 0 {
		m.end()
	}
	return nil
}
