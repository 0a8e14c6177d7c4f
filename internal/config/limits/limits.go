// Package limits holds the limits of configuration values that more than one package checks: the configuration when it
// is read, and the package that uses the value. So what the one accepts, the other accepts as well.
package limits

import (
	"errors"
	"fmt"
	"time"
)

// Limits of the timeouts in raft.*.
const (
	MinRaftTimeout      = 10 * time.Millisecond
	MaxRaftTimeout      = time.Minute
	MinSnapshotInterval = 10 * time.Millisecond
)

// MaxNodeID is the longest node id, in bytes.
const MaxNodeID = 64

// NodeID returns nil if id can be the id of a node: 1 to MaxNodeID letters, digits, '-', '_' and '.'. Such an id can be
// part of a NATS subject, of raft.peers, and of a file name. An error completes the sentence "node.id ...".
func NodeID(id string) error {
	switch {
	case id == "":
		return errors.New("is empty")
	case len(id) > MaxNodeID:
		return fmt.Errorf("is %d bytes long, at most %d are allowed", len(id), MaxNodeID)
	case id == "." || id == "..":
		return errors.New("is the name of a directory")
	}
	for _, c := range []byte(id) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("contains the byte %#02x: only letters, digits, '-', '_' and '.' are allowed", c)
		}
	}
	return nil
}
