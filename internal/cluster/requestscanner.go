package cluster

import (
	"errors"
	"fmt"

	"hm/raftfsm"
)

// What a request of raft's may hold. Raft's own decoder takes whatever it is sent, without end.
// A version of hm that raises raftfsm.MaxEntry must lower maxAppend, or its entries do not reach older nodes.
const (
	maxRequest       = maxAppend*raftfsm.MaxEntry + 1<<20 // bytes, before the body of a snapshot
	maxRequestValues = 1 << 15                            // an entry takes 12
	maxSnapshot      = 4 << 30                            // bytes; a fleet of 1,000,000 instances takes 64 MiB at most
)

// The numbers that raft's transport gives its requests, and the fields that the meter looks at.
const (
	requestSnapshot = 2
	lastRequest     = 4

	fieldID      = "ID"
	fieldSize    = "Size"
	fieldEntries = "Entries"
)

// meter follows the requests that a peer sends over a connection of raft's, byte by byte and ahead of raft's decoder.
// It ends the connection when a request grows beyond its bounds, or comes from somebody whom the connection's
// certificate does not name, before raft has all of it. A request is a byte that gives its kind and a map in msgpack;
// the request of a snapshot has Size bytes of body behind it.
type requestScanner struct {
	allow func(id string) error // whether the connection may speak for a member; called once a request

	at       scanState
	kind     byte
	size     int // bytes of the request so far, without a body
	requests int // that came in whole
	values   int
	body     uint64 // bytes of a snapshot that are still to come

	head  []byte // of a value, if it is not complete
	skip  uint64 // bytes of a text that are still to come
	keep  bool   // that text is wanted, in text
	text  []byte
	open  [3]container // the request's map, the array of entries, an entry
	depth int
	field string // whose value comes next, of the request's map
	id    string
	data  int64 // the request's Size
}

type scanState uint8

const (
	betweenRequests scanState = iota
	inRequest
	inBody
)

// container is a list or a map of which left values are still to come; the name of a field is one.
type container struct{ left int }

// maxKept is how long a text may be that the meter keeps: the name of a field, or a member's id.
const maxKept = 255

// feed takes in what was read from the connection.
func (m *requestScanner) feed(b []byte) error {
	for len(b) > 0 {
		switch m.at {
		case betweenRequests:
			if b[0] > lastRequest {
				return fmt.Errorf("raft has no request of the kind %d", b[0])
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

// unanswered is how many bytes of the request that comes in next raft's decoder has taken in already.
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

// value takes in some of b, the next bytes of a value, and says how many.
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
		return false, fmt.Errorf("it is no map: it begins with %#02x", first)
	case 2:
		return false, errors.New("an entry is no map") // raft would not survive one that is nil
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
		err = errors.New("the byte 0xc1 is no msgpack")
	case m.depth == 1 && m.atKey():
		err = fmt.Errorf("the name of a field begins with %#02x: it is no text", first)
	case m.depth == 1 && m.field == fieldSize:
		m.data, err = wholeNumber(m.head)
	case m.depth == 1 && m.field == fieldID:
		m.id = ""
	}
	return false, err
}

// start begins a text, or bytes, or a value of a type that msgpack does not know.
func (m *requestScanner) start(length uint64, isText bool) error {
	if length > maxRequest-uint64(m.size) {
		return errTooLong
	}
	m.skip, m.text = length, m.text[:0]
	m.keep = m.depth == 1 && (m.atKey() || m.field == fieldID)
	switch {
	case !m.keep && (m.depth != 1 || m.field != fieldSize):
	case !isText || !m.keep:
		return fmt.Errorf("%s is of a type that it cannot have", m.field)
	case length > maxKept:
		return fmt.Errorf("the name of a field, or of a member, is %d bytes long", length)
	}
	return nil
}

// atKey reports whether the value at hand is the name of a field of the request.
func (m *requestScanner) atKey() bool { return m.open[0].left%2 == 0 }

func (m *requestScanner) push(length uint64, isMap bool) (opened bool, err error) {
	switch {
	case m.depth == 0 && isMap:
	case m.depth == 1 && !isMap && !m.atKey() && m.field == fieldEntries:
	case m.depth == 2 && isMap:
	default:
		return false, errors.New("a list or map is where none can be")
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

// complete ends a value, and every container of which it is the last.
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
		return fmt.Errorf("a snapshot of %d bytes: at most %d are allowed", m.data, int64(maxSnapshot))
	}
	m.at, m.body = inBody, uint64(m.data)
	if m.body == 0 {
		m.end()
	}
	return nil
}
