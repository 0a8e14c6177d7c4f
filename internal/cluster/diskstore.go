package cluster

import (
	"bytes"

	"github.com/hashicorp/raft"
)

// FirstIndex is part of raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) {
	defer d.end(d.begin("reading the log"))
	return d.store.FirstIndex()
}

// LastIndex is part of raft.LogStore.
func (d *disk) LastIndex() (uint64, error) {
	defer d.end(d.begin("reading the log"))
	return d.store.LastIndex()
}

// GetLog is part of raft.LogStore.
func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	defer d.end(d.begin("reading the log"))
	return d.store.GetLog(index, entry)
}

// StoreLog is part of raft.LogStore.
func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

// StoreLogs is part of raft.LogStore.
func (d *disk) StoreLogs(entries []*raft.Log) error {
	return d.write("storing entries", false, func() error { return d.store.StoreLogs(entries) })
}

// DeleteRange is part of raft.LogStore. It is optional: raft deletes the entries another time.
func (d *disk) DeleteRange(from, to uint64) error {
	return d.write("deleting entries", true, func() error { return d.store.DeleteRange(from, to) })
}

// Set is part of raft.StableStore. It writes nothing if the same value is stored already, as at each start of raft.
func (d *disk) Set(key, value []byte) error {
	if stored, err := d.Get(key); err == nil && bytes.Equal(stored, value) {
		return nil
	}
	what := "storing a vote"
	if string(key) == valueTerm {
		what = "storing a term"
	}
	return d.must(what, func() error { return d.store.Set(key, value) })
}

// SetUint64 is part of raft.StableStore. It writes nothing if the same value is stored already.
func (d *disk) SetUint64(key []byte, value uint64) error {
	if stored, err := d.GetUint64(key); err == nil && stored == value {
		return nil
	}
	return d.must("storing a term", func() error { return d.store.SetUint64(key, value) })
}

// Get is part of raft.StableStore.
func (d *disk) Get(key []byte) ([]byte, error) {
	defer d.end(d.begin("reading a vote"))
	return d.store.Get(key)
}

// GetUint64 is part of raft.StableStore.
func (d *disk) GetUint64(key []byte) (uint64, error) {
	defer d.end(d.begin("reading a term"))
	return d.store.GetUint64(key)
}
