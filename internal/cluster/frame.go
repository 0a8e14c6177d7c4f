package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// frameVersion is the version of what peers say to each other, messages and replies. It rises only when a node of the
// version before would misunderstand: a field that such a node may pass over needs no new version.
const frameVersion = 1

// A frame is eight bytes and a body of JSON: the letters "hm", the version, a byte that is 0, and the length of the
// body in four bytes, big-endian. These eight bytes are the same in every version, so that two nodes of different
// versions can tell each other so.
const (
	frameHead = 8
	maxFrame  = 64 << 10 // bytes of a body
)

// frameVersionError says that a peer speaks another version.
type frameVersionError struct{ theirs uint8 }

func (e *frameVersionError) Error() string {
	return fmt.Sprintf("the peer speaks version %d of the messages between peers, this node version %d: run versions of hm on both that can talk to each other",
		e.theirs, frameVersion)
}

func writeFrame(w io.Writer, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("a message to the peers takes %d bytes, %d are allowed", len(b), maxFrame)
	}
	head := [frameHead]byte{'h', 'm', frameVersion}
	binary.BigEndian.PutUint32(head[4:], uint32(len(b)))
	_, err = w.Write(append(head[:], b...))
	return err
}

// readFrame reads a frame's body. The error is io.EOF only if there is no next frame, and a *frameVersionError if the
// frame, which is then read to its end, is of another version.
func readFrame(r io.Reader) ([]byte, error) {
	var head [frameHead]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("a peer's message ends early: %w", err)
		}
		return nil, err
	}
	if head[0] != 'h' || head[1] != 'm' {
		return nil, fmt.Errorf("a peer's message begins with % x, not with \"hm\": the peer is no hm, or one of before messages had a version", head[:4])
	}
	size := binary.BigEndian.Uint32(head[4:])
	if size == 0 || size > maxFrame {
		return nil, fmt.Errorf("a peer's message of %d bytes: 1 to %d are allowed", size, maxFrame)
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
