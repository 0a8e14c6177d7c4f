package commands

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// ID identifies a command.
type ID [16]byte

// IsZero reports whether id names no command.
func (id ID) IsZero() bool { return id == ID{} }

// NewID derives the id of a command from its target, its reason and when it was scheduled. So two nodes, or a node
// and a replay, give the same id to the same decision. The id has the form of a version 8 UUID (RFC 9562).
func NewID(c Command) ID {
	b := make([]byte, 0, 160)
	b = append(b, byte(c.Action), byte(c.Reason))
	b = binary.BigEndian.AppendUint32(b, c.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(c.CreatedAt))
	b = c.App.Droplet.AppendWire(b)
	b = c.App.Version.AppendWire(b)
	b = c.Instance.AppendWire(b)
	sum := sha256.Sum256(b)
	id := ID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads an id in the form of a UUID. The case of its letters does not count.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("%.40q is not a command id: it must look like a UUID", s)
	}
	plain := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(plain)); err != nil {
		return ID{}, fmt.Errorf("%.40q is not a command id: %w", s, err)
	}
	return id, nil
}

// String gives id in the form of a UUID, as messages carry it.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
