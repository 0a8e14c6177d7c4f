package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// frameVersion is the version of the messages and replies between peers. It rises only for a change that older nodes
// would misunderstand. A field that they may ignore needs no new version.
const frameVersion = 1

// The versions of what nodes store and send to each other; see package formats.
const (
	MessageVersion  = frameVersion
	ChecksumVersion = 1 // the last byte of entryMark and of valueMark, and the digit in sumMark
	RaftProtocol    = int(raft.ProtocolVersionMax)
)

// A frame is a head of eight bytes and a body of JSON. The head is the letters "hm", the version, a zero byte, and the
// length of the body in four bytes, big-endian. It is the same in every version, so that nodes of different versions
// notice the difference.
const (
	frameHead = 8
	maxFrame  = 64 << 10 // bytes of a body
)

// frameVersionError says that a peer uses another version.
type frameVersionError struct{ theirs uint8 }

func (e *frameVersionError) Error() string {
	return fmt.Sprintf("the peer uses version %d of the messages between peers, this node uses version %d: run versions of hm that can talk to each other",
		e.theirs, frameVersion)
}

func writeFrame(w io.Writer, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("a message to a peer has %d bytes, at most %d are allowed", len(b), maxFrame)
	}
	head := [frameHead]byte{'h', 'm', frameVersion}
	binary.BigEndian.PutUint32(head[4:], uint32(len(b)))
	_, err = w.Write(append(head[:], b...))
	return err
}

// readFrame reads a frame and gives its body. The error is io.EOF only if there is no further frame. If the frame has
// another version, it is read to its end and the error is a *frameVersionError.
func readFrame(r io.Reader) ([]byte, error) {
	var head [frameHead]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("a peer's message ends early: %w", err)
		}
		return nil, err
	}
	if head[0] != 'h' || head[1] != 'm' {
		return nil, fmt.Errorf("a peer's message begins with % x, not with \"hm\": the peer is not hm, or a version of hm that is too old",
			head[:4])
	}
	size := binary.BigEndian.Uint32(head[4:])
	if size == 0 || size > maxFrame {
		return nil, fmt.Errorf("a peer's message has %d bytes, 1 to %d are allowed", size, maxFrame)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("a peer's message ends early: %w", err)
	}
	if head[2] != frameVersion {
		return nil, &frameVersionError{head[2]}
	}
	return body, nil
}
