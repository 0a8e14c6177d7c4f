package cluster

import (
	"encoding/binary"

	"github.com/hashicorp/raft"
)

// checkedValues is a stable store for raft's term and vote, in which every value has a checksum.
type checkedValues struct{ inner raft.StableStore }

// The names under which raft stores its term and its vote. It stores no other values.
const (
	valueTerm     = "CurrentTerm"
	valueVoteTerm = "LastVoteTerm"
	valueVoteFor  = "LastVoteCand"
)

// Set stores a value.
func (c checkedValues) Set(key, value []byte) error {
	return guarded(func() error { return c.inner.Set(key, sealValue(key, value)) })
}

// Get reads a value.
func (c checkedValues) Get(key []byte) (value []byte, err error) {
	err = guarded(func() error {
		stored, err := c.inner.Get(key)
		if err == nil {
			value, err = openValue(key, stored)
		}
		return err
	})
	return value, err
}

// SetUint64 stores a number.
func (c checkedValues) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 reads a number.
func (c checkedValues) GetUint64(key []byte) (uint64, error) {
	value, err := c.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, damagef("the stored value %q has %d bytes, and a number has 8", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
