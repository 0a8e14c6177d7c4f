package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/zeebo/xxh3"

	"hm/raftfsm"
)

// errDamaged says that data that was read or received is not what was written.
var errDamaged = errors.New("damaged")

// damageError is an errDamaged with a text that says what is damaged.
type damageError struct{ what string }

func (e *damageError) Error() string { return e.what }

// Is makes it errDamaged.
func (e *damageError) Is(target error) bool { return target == errDamaged }

func damagef(format string, args ...any) error { return &damageError{fmt.Sprintf(format, args...)} }

// damageText gives the text of the damageError in err, without the errors that wrap it.
func damageText(err error) string {
	var d *damageError
	if errors.As(err, &d) {
		return d.what
	}
	return err.Error()
}

// A log entry has its checksum in Extensions: a mark with a version, and the sum. The leader that makes the entry
// computes it. It travels with the entry, so that every node checks what it receives and what it reads. A stored value
// has the same in front. A node that finds a later version than its own says so, and does not take it for damage.
const (
	entryMark = "hme\x01"
	valueMark = "hmv\x01"
	sumSize   = 16
)

// sealEntry adds the checksum to an entry.
func sealEntry(l *raft.Log) {
	sum := entrySum(l)
	l.Extensions = append([]byte(entryMark), sum[:]...)
}

// verifyEntry checks an entry that was stored or received as entry index.
func verifyEntry(index uint64, l *raft.Log) error {
	switch {
	case l.Index != index:
		return damagef("entry %d of the Raft log has the number %d", index, l.Index)
	case newerMark(l.Extensions, entryMark):
		return fmt.Errorf("entry %d of the Raft log has a checksum of version %d, this version of hm knows version %d: %w",
			index, l.Extensions[len(entryMark)-1], entryMark[len(entryMark)-1], raftfsm.ErrNewer)
	case len(l.Extensions) != len(entryMark)+sumSize || string(l.Extensions[:len(entryMark)]) != entryMark:
		return damagef("entry %d of the Raft log has no checksum", index)
	case entrySum(l) != [sumSize]byte(l.Extensions[len(entryMark):]):
		return damagef("entry %d of the Raft log does not match its checksum", index)
	}
	return nil
}

// newerMark reports whether stored begins with the same mark of a newer version.
func newerMark(stored []byte, mark string) bool {
	at := len(mark) - 1
	return len(stored) > at && string(stored[:at]) == mark[:at] && stored[at] > mark[at]
}

// entrySum covers all fields that raft and the state machine use. AppendedAt is only for people.
func entrySum(l *raft.Log) [sumSize]byte {
	var head [17]byte
	binary.LittleEndian.PutUint64(head[0:], l.Index)
	binary.LittleEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	return xxh3.Hash128Seed(l.Data, xxh3.Hash(head[:])).Bytes()
}

// sealValue gives the stored form of a value (the term or the vote): with its checksum.
func sealValue(key, value []byte) []byte {
	sum := valueSum(key, value)
	b := make([]byte, 0, len(valueMark)+sumSize+len(value))
	return append(append(append(b, valueMark...), sum[:]...), value...)
}

// openValue reads the stored form that sealValue made.
func openValue(key, stored []byte) ([]byte, error) {
	if newerMark(stored, valueMark) {
		return nil, fmt.Errorf("the stored value %q has a checksum of version %d, this version of hm knows version %d: %w",
			key, stored[len(valueMark)-1], valueMark[len(valueMark)-1], raftfsm.ErrNewer)
	}
	if len(stored) < len(valueMark)+sumSize || string(stored[:len(valueMark)]) != valueMark {
		return nil, damagef("the stored value %q has no checksum", key)
	}
	value := stored[len(valueMark)+sumSize:]
	if valueSum(key, value) != [sumSize]byte(stored[len(valueMark):]) {
		return nil, damagef("the stored value %q does not match its checksum", key)
	}
	return value, nil
}

func valueSum(key, value []byte) [sumSize]byte {
	return xxh3.Hash128Seed(value, xxh3.Hash(key)).Bytes()
}
