package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"hm/internal/app"
)

// PeerInfo is what a node tells its peers about itself (I1). It is not recorded.
type PeerInfo struct {
	API              string   `json:"api,omitempty"`                // address of its HTTP API
	NATSUp           bool     `json:"nats_up,omitempty"`            // its own NATS link is up
	AppliedIndex     uint64   `json:"applied,omitempty"`            // newest entry that it has applied
	Kinds            uint32   `json:"kinds,omitempty"`              // highest entry kind that it knows
	DesiredReadBegan app.Time `json:"desired_read_began,omitempty"` // hm time at which the newest complete read of the desired state began
	DesiredReadEnded app.Time `json:"desired_read_ended,omitempty"` // hm time at which it was recorded; 0 if another node read
	DesiredReadApps  int      `json:"desired_read_apps,omitempty"`  // how many apps that read held
	DesiredReadError string   `json:"desired_read_error,omitempty"` // why the newest attempt failed; empty if it did not
	Gate             string   `json:"gate,omitempty"`               // "open", or why its gate is closed
	Version          string   `json:"version,omitempty"`            // of its program
}

// message is one frame on a connection between peers: four bytes of length, big-endian, and JSON. The receiver
// answers each with a reply.
type message struct {
	From  string    `json:"from"`
	State string    `json:"state"` // leader, follower or candidate
	Term  uint64    `json:"term"`
	Blank bool      `json:"blank,omitempty"` // its log holds nothing but the first entry; see joining
	Disk  string    `json:"disk,omitempty"`  // why its disk takes nothing in; empty if it does
	Last  mark      `json:"last,omitzero"`   // how far its log reaches; see memory
	Known mark      `json:"known,omitzero"`  // how far the receiver's log reached, as the sender remembers it
	Info  *PeerInfo `json:"info,omitempty"`  // nil until SetInfo was called
}

// reply is ten bytes: a code, 1 if the receiver follows the sender in its term or else 0, and the receiver's term,
// big-endian. By it the sender notices a dead link at once and not when TCP does, and a leader whom it leads.
type reply struct {
	stranger bool // the sender is no member, as the receiver knows them; nothing else counts then
	follows  bool
	term     uint64
}

const (
	maxFrame = 64 << 10
	maxText  = 1 << 10

	ackByte = 6  // ASCII ACK
	nakByte = 21 // ASCII NAK: stranger
)

func writeReply(w io.Writer, r reply) error {
	b := [10]byte{0: ackByte}
	if r.stranger {
		b[0] = nakByte
	}
	if r.follows {
		b[1] = 1
	}
	binary.BigEndian.PutUint64(b[2:], r.term)
	_, err := w.Write(b[:])
	return err
}

func readReply(r io.Reader) (reply, error) {
	var b [10]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return reply{}, fmt.Errorf("no reply: %w", err)
	}
	if b[0] != ackByte && b[0] != nakByte || b[1] > 1 {
		return reply{}, fmt.Errorf("the reply begins with %#02x %#02x: this is no cluster port of hm", b[0], b[1])
	}
	return reply{b[0] == nakByte, b[1] == 1, binary.BigEndian.Uint64(b[2:])}, nil
}

func writeMessage(w io.Writer, m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a message to the peers takes %d bytes, %d are allowed", len(body), maxFrame)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func readMessage(r io.Reader) (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxFrame {
		return message{}, fmt.Errorf("a peer's message of %d bytes: 1 to %d are allowed", size, maxFrame)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return message{}, fmt.Errorf("a peer's message ends early: %w", err)
	}
	return decodeMessage(body)
}

// decodeMessage reads a message's JSON. Unknown fields are a newer peer's and are passed over.
func decodeMessage(body []byte) (message, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return message{}, fmt.Errorf("a peer's message: %w", err)
	}
	if err := checkID(m.From); err != nil {
		return message{}, fmt.Errorf("a peer's message: from %w", err)
	}
	switch m.State {
	case stateLeader, stateFollower, stateCandidate:
	default:
		return message{}, fmt.Errorf("a peer's message: state %.40q is none of leader, follower, candidate", m.State)
	}
	if len(m.Disk) > maxText {
		return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
	}
	if i := m.Info; i != nil {
		if len(i.API) > maxText || len(i.Version) > maxText || len(i.Gate) > maxText || len(i.DesiredReadError) > maxText {
			return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
		}
		if i.DesiredReadBegan < 0 || i.DesiredReadApps < 0 || i.DesiredReadApps > math.MaxInt32 {
			return message{}, errors.New("a peer's message: a number is out of its range")
		}
	}
	return m, nil
}
