package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/zeebo/xxh3"
)

// errDamaged marks what was read, or received, and is not what was written.
var errDamaged = errors.New("damaged")

// damageError is such a damage. Its text begins with what is damaged.
type damageError struct{ what string }

func (e *damageError) Error() string { return e.what }

// Is makes it errDamaged.
func (e *damageError) Is(target error) bool { return target == errDamaged }

func damagef(format string, args ...any) error { return &damageError{fmt.Sprintf(format, args...)} }

// damageText is the damage itself, without what was added to it on its way.
func damageText(err error) string {
	var d *damageError
	if errors.As(err, &d) {
		return d.what
	}
	return err.Error()
}

// A log entry carries its checksum in Extensions: a mark with a version, and the sum. The leader that makes the entry
// computes it; it travels with the entry, so that every node checks what it receives as well as what it reads. A
// stored value carries the same in front.
const (
	entryMark = "hme\x01"
	valueMark = "hmv\x01"
	sumSize   = 16
)

// sealEntry puts the checksum of an entry into it.
func sealEntry(l *raft.Log) {
	sum := entrySum(l)
	l.Extensions = append([]byte(entryMark), sum[:]...)
}

// verifyEntry checks an entry that was stored, or received, as number index.
func verifyEntry(index uint64, l *raft.Log) error {
	switch {
	case l.Index != index:
		return damagef("entry %d of the raft log says that it is entry %d", index, l.Index)
	case len(l.Extensions) != len(entryMark)+sumSize || string(l.Extensions[:len(entryMark)]) != entryMark:
		return damagef("entry %d of the raft log has no checksum", index)
	case entrySum(l) != [sumSize]byte(l.Extensions[len(entryMark):]):
		return damagef("entry %d of the raft log does not have its checksum", index)
	}
	return nil
}

// entrySum covers everything that raft and the state machine go by. AppendedAt is only told to people.
func entrySum(l *raft.Log) [sumSize]byte {
	var head [17]byte
	binary.LittleEndian.PutUint64(head[0:], l.Index)
	binary.LittleEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	return xxh3.Hash128Seed(l.Data, xxh3.Hash(head[:])).Bytes()
}

// sealValue gives what is stored for a value: the term, or the vote.
func sealValue(key, value []byte) []byte {
	sum := valueSum(key, value)
	b := make([]byte, 0, len(valueMark)+sumSize+len(value))
	return append(append(append(b, valueMark...), sum[:]...), value...)
}

// openValue gives the value of what sealValue gave.
func openValue(key, stored []byte) ([]byte, error) {
	if len(stored) < len(valueMark)+sumSize || string(stored[:len(valueMark)]) != valueMark {
		return nil, damagef("the stored value %q has no checksum", key)
	}
	value := stored[len(valueMark)+sumSize:]
	if valueSum(key, value) != [sumSize]byte(stored[len(valueMark):]) {
		return nil, damagef("the stored value %q does not have its checksum", key)
	}
	return value, nil
}

func valueSum(key, value []byte) [sumSize]byte {
	return xxh3.Hash128Seed(value, xxh3.Hash(key)).Bytes()
}
