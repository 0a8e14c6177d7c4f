package commands

import (
	"crypto/sha256"
	"encoding/binary"
)

// NewID derives a command's id from what it is about and when it was scheduled, so that two nodes, or a replay,
// that come to the same decision give it the same name. It has the form of a version 8 UUID (RFC 9562).
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
