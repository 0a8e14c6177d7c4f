package heartbeats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"hm/actual/feed"
)

// Two nodes speak over one connection, which the node that tells has opened. The other one first sends its greeting: the
// version and the key of its digests. Then requests go in one direction, replies in the other, both in any number at a
// time. All numbers are big-endian.
//
//	greeting  "hmb", version (1), key (32)
//	request   kind (1), number (8), deadline (8), length (4), payload
//	reply     kind (1), number (8), clock (8)
//
// The clock is that of the receiver, in nanoseconds since it sent the greeting. The deadline is a time on the same clock:
// the sender takes it from the newest reply. So no two clocks need to agree, and what lay in a buffer is never too young.

const relayVersion = 1

// The kinds of request.
const (
	asksDigest byte = 1 // the payload is the digest of a heartbeat
	asksBody   byte = 2 // the payload is a heartbeat
)

// The kinds of reply.
const (
	saysClock   byte = iota // it answers no request, and only gives the clock
	saysTaken               // the receiver has the heartbeat
	saysWanted              // the receiver does not know the digest: it wants the body
	saysLate                // the deadline was over: the receiver has dropped the heartbeat
	saysRefused             // the receiver cannot read the heartbeat
	replyKinds
)

const (
	greetingLen      = 3 + 1 + 32
	requestHeaderLen = 1 + 8 + 8 + 4
	replyLen         = 1 + 8 + 8
)

var errRelay = errors.New("the peer's message cannot be read")

type request struct {
	kind     byte
	number   uint64
	deadline int64
	payload  []byte
}

type reply struct {
	kind   byte
	number uint64
	clock  int64
}

func writeGreeting(w io.Writer, key feed.DigesterKey) error {
	_, err := w.Write(append([]byte{'h', 'm', 'b', relayVersion}, key[:]...))
	return err
}

func readGreeting(r io.Reader) (key feed.DigesterKey, err error) {
	var b [greetingLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return key, err
	}
	if string(b[:3]) != "hmb" || b[3] != relayVersion {
		return key, fmt.Errorf("%w: it begins with %q, and not with version %d of the greeting", errRelay, b[:4], relayVersion)
	}
	copy(key[:], b[4:])
	return key, nil
}

func writeRequest(w io.Writer, q request) error {
	b := append(make([]byte, 0, requestHeaderLen+16), q.kind)
	b = binary.BigEndian.AppendUint64(b, q.number)
	b = binary.BigEndian.AppendUint64(b, uint64(q.deadline))
	b = binary.BigEndian.AppendUint32(b, uint32(len(q.payload)))
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, err := w.Write(q.payload)
	return err
}

// readRequest reads a request. The payload is not used again by later calls.
func readRequest(r io.Reader) (q request, err error) {
	var b [requestHeaderLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return q, err
	}
	q = request{kind: b[0], number: binary.BigEndian.Uint64(b[1:]), deadline: int64(binary.BigEndian.Uint64(b[9:]))}
	length := binary.BigEndian.Uint32(b[17:])
	switch {
	case q.kind == asksDigest && length == uint32(len(feed.Digest{})):
	case q.kind == asksBody && length <= feed.MaxHeartbeat:
	default:
		return q, fmt.Errorf("%w: it is of kind %d and has %d bytes", errRelay, q.kind, length)
	}
	q.payload = make([]byte, length)
	if _, err := io.ReadFull(r, q.payload); err != nil {
		return q, fmt.Errorf("%w: it ends early: %w", errRelay, err)
	}
	return q, nil
}

func writeReply(w io.Writer, p reply) error {
	b := append(make([]byte, 0, replyLen), p.kind)
	b = binary.BigEndian.AppendUint64(b, p.number)
	_, err := w.Write(binary.BigEndian.AppendUint64(b, uint64(p.clock)))
	return err
}

func readReply(r io.Reader) (p reply, err error) {
	var b [replyLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return p, err
	}
	p = reply{kind: b[0], number: binary.BigEndian.Uint64(b[1:]), clock: int64(binary.BigEndian.Uint64(b[9:]))}
	if p.kind >= replyKinds || p.clock < 0 {
		return p, fmt.Errorf("%w: a reply is of kind %d, with the clock at %d", errRelay, p.kind, p.clock)
	}
	return p, nil
}
