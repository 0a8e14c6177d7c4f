package raftfsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrNewer says that a newer version of hm wrote something that this version does not know.
var ErrNewer = errors.New("a newer hm wrote it")

// The fields of entry.proto that CheckKinds and EntryTime read.
const (
	fieldAt        protowire.Number = 1 // of Entry
	fieldRecords   protowire.Number = 2 // of Entry
	fieldKind      protowire.Number = 1 // of Rec
	fieldIgnorable protowire.Number = 2
)

// CheckKinds finds out whether this version knows, or may skip, every kind of record in an encoded entry. If not, the
// error is an ErrNewer that names the kind. It is quick because it leaves the records as they are. About bytes that are
// no entry it says nothing: DecodeEntry does.
func CheckKinds(entry []byte) error {
	return eachField(entry, func(n protowire.Number, t protowire.Type, v []byte) error {
		if n != fieldRecords || t != protowire.BytesType {
			return nil
		}
		rec, _ := protowire.ConsumeBytes(v)
		kind, ignorable := uint64(0), false
		_ = eachField(rec, func(n protowire.Number, t protowire.Type, v []byte) error {
			if t == protowire.VarintType {
				x, _ := protowire.ConsumeVarint(v)
				switch n {
				case fieldKind:
					kind = x
				case fieldIgnorable:
					ignorable = x != 0
				}
			}
			return nil
		})
		if kind > uint64(MaxKind) && !ignorable {
			return fmt.Errorf("it has a record of kind %d, this version of hm knows kinds up to %d: %w", kind, MaxKind, ErrNewer)
		}
		return nil
	})
}

// eachField calls fn with each field of a message, and its encoded value, until the message or fn ends it.
func eachField(b []byte, fn func(protowire.Number, protowire.Type, []byte) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return nil
		}
		if err := fn(number, kind, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
